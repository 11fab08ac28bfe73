package modproxy

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/testing/faults"
)

// TestRottenStore holds that corrupt content in a store quarantines its instance
// although that serves intact content so far, with evidence, and once.
func TestRottenStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	if c := pass.Instance(w.get(), "blue").StoreCheck; c == nil || c.Verdict != v1alpha1.VerdictIntact || c.Modules != 3 {
		t.Errorf("the last check is %+v", c)
	}
	w.blue.rotten = true
	w.now = w.now.Add(time.Hour)
	w.blue.check(w.now)
	w.tick(1)
	w.weights(0, 100)
	blue := pass.Instance(w.get(), "blue")
	if blue.Quarantined == nil || blue.Quarantined.Reason != v1alpha1.ReasonStoreCorrupt || !strings.Contains(blue.Quarantined.Message, "v1.0.0.zip: contents differ") {
		t.Errorf("blue is convicted of %+v", blue.Quarantined)
	}
	if blue.StoreCheck.Verdict != v1alpha1.VerdictCorrupt || blue.StoreCheck.Message == "" {
		t.Errorf("the last check is %+v", blue.StoreCheck)
	}
	w.restart(faults.Point{})
	w.tick(5)
	w.weights(0, 100)
	if recorded := w.recorded(); strings.Count(recorded, "InstanceQuarantined") != 1 {
		t.Errorf("events: %s", recorded)
	}
	// A later check that finds nothing does not reinstate by itself.
	w.blue.rotten = false
	w.blue.check(w.now)
	w.tick(3)
	if !w.quarantined("blue") {
		t.Error("it was reinstated although the store was not repaired")
	}
}

// TestInconclusiveCheck holds that it neither quarantines nor reinstates.
func TestInconclusiveCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.vague = true
	w.blue.check(w.now)
	w.tick(2)
	w.weights(100, 100)
	if c := pass.Instance(w.get(), "blue").StoreCheck; c == nil || c.Verdict != v1alpha1.VerdictInconclusive || c.Message != "cannot read" {
		t.Errorf("the last check is %+v", c)
	}
	w.blue.wrong = true
	w.tick(3)
	w.blue.wrong = false
	w.request("reinstate-1", v1alpha1.RequestReinstate, "blue")
	w.tick(5)
	w.answered("reinstate-1", v1alpha1.RequestAccepted, "that is not inconclusive: cannot read")
	if !w.quarantined("blue") {
		t.Error("an inconclusive check reinstated it")
	}
}

// TestReportedStore holds that with onCorrupt: Report corrupt content is reported
// and no instance is quarantined.
func TestReportedStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(func(s *v1alpha1.ModProxySpec) { s.Integrity.OnCorrupt = v1alpha1.StoreReport })
	if _, agent, _ := w.pod("goproxy-blue"); !strings.Contains(strings.Join(agent.Command, " "), "--interval 24h0m0s ") {
		t.Errorf("without a schedule the agent runs %s, want a check every 24 h", agent.Command)
	}
	w.blue.rotten = true
	w.blue.check(w.now)
	w.tick(2)
	w.weights(100, 100)
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue: StoreCorrupt: ")
	w.columns("1/2", "blue (unhealthy),green")
}

// TestScheduledChecks holds that the stores are checked when they are due, as
// slowly as is declared, once per start, and again by a restarted
// manager only if that was not done.
func TestScheduledChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(func(s *v1alpha1.ModProxySpec) {
		s.Integrity = v1alpha1.StoreIntegrity{Schedule: v1alpha1.Schedule{Schedule: "@every 5m"}, BytesPerSecond: ptr.To(resource.MustParse("1Mi"))}
	})
	_, agent, _ := w.pod("goproxy-blue")
	if got := strings.Join(agent.Command, " "); !strings.Contains(got, "--interval 0s --bytes-per-second 1048576") {
		t.Errorf("the agent is told %s", got)
	}
	w.tick(10)
	if w.blue.checks != 1 {
		t.Errorf("checked %d times before it is due", w.blue.checks)
	}
	w.tick(25)
	if w.blue.checks != 2 || w.green.checks != 2 || !w.blue.unhurried {
		t.Errorf("checked %d and %d times, unhurried %v", w.blue.checks, w.green.checks, w.blue.unhurried)
	}
	w.restart(faults.Point{})
	w.tick(3)
	if w.blue.checks != 2 {
		t.Errorf("checked %d times: the restart asked for one", w.blue.checks)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Integrity.TimeZone = "Mars/Base" }) // which the API server cannot check
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.integrity")
	w.weights(100, 100)
}

// TestRequestedChecks holds that the request integrity checks all stores and
// is answered with the verdicts.
func TestRequestedChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.green.rotten = true
	w.request("integrity-1", v1alpha1.RequestCheckIntegrity)
	w.answered("integrity-1", v1alpha1.RequestAccepted, "waiting for the check of the store of blue")
	w.tick(3)
	w.answered("integrity-1", v1alpha1.RequestSucceeded, "blue: Intact, green: Corrupt")
	if w.blue.checks != 2 || !w.quarantined("green") {
		t.Errorf("blue was checked %d times; green is %+v", w.blue.checks, pass.Instance(w.get(), "green"))
	}
}

// TestWithdrawnEntries holds that a store whose check removed corrupt entries
// goes on to serve, and that this is reported with evidence, once.
func TestWithdrawnEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.withdrawn = true
	w.now = w.now.Add(time.Hour)
	w.blue.check(w.now)
	w.tick(3)
	w.weights(100, 100)
	c := pass.Instance(w.get(), "blue").StoreCheck
	if c == nil || c.Verdict != v1alpha1.VerdictIntact || c.Withdrawn != 1 || !strings.Contains(c.Message, "trust data says h1:good") {
		t.Errorf("the last check is %+v", c)
	}
	if recorded := w.recorded(); strings.Count(recorded, "EntriesWithdrawn") != 1 || !strings.Contains(recorded, "Warning EntriesWithdrawn") || !strings.Contains(recorded, "h1:evil") {
		t.Errorf("events: %s", recorded)
	}
	w.blue.check(w.now)
	w.tick(2)
	if c := pass.Instance(w.get(), "blue").StoreCheck; c.Withdrawn != 0 || c.Message != "" {
		t.Errorf("the next check is %+v", c)
	}
}

// TestWithdrawalIsAskedFor holds when the agents remove corrupt entries: not where
// they could not be fetched again, nor where the policy is only to report.
func TestWithdrawalIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change    func(*v1alpha1.ModProxySpec)
		withdraws bool
	}{
		"by default": {func(*v1alpha1.ModProxySpec) {}, true},
		"offline":    {func(s *v1alpha1.ModProxySpec) { s.Upstream = &v1alpha1.ProxyUpstream{Proxy: "off"} }, false},
		"reported":   {func(s *v1alpha1.ModProxySpec) { s.Integrity.OnCorrupt = v1alpha1.StoreReport }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.proxy(tt.change)
			w.settle()
			_, agent, _ := w.pod("goproxy-blue")
			if got := strings.Contains(strings.Join(agent.Command, " "), "--withdraw"); got != tt.withdraws {
				t.Errorf("the agent is told %v", agent.Command)
			}
		})
	}
}

// TestContainedDamage holds that damage which no client is given takes out an
// instance, but not the last one.
func TestContainedDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.rotten, w.blue.contained = true, true
	w.now = w.now.Add(time.Hour)
	w.blue.check(w.now)
	w.tick(1)
	w.weights(0, 100)
	w.green.rotten, w.green.contained = true, true
	w.green.check(w.now)
	w.tick(3)
	w.weights(0, 100)
	if w.quarantined("green") {
		t.Error("the last instance was taken out for what it serves to nobody")
	}
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "green")
}

// TestOrdersNeedTheToken holds that each proxy has a token of its own, which its
// agents mount and its owner takes along, and that it is never created again.
func TestOrdersNeedTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	token := w.token()
	if len(token) < 20 {
		t.Fatalf("the token is %q", token)
	}
	var secret corev1.Secret
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy-agent"}, &secret))
	if !metav1.IsControlledBy(&secret, w.get()) {
		t.Errorf("it stays when the proxy goes: %+v", secret.OwnerReferences)
	}
	proxy, agent, pod := w.pod("goproxy-blue")
	mounts := func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/etc/gocache-agent" && m.ReadOnly })
	}
	if !mounts(agent) || mounts(proxy) || !strings.Contains(strings.Join(agent.Command, " "), "--token-file /etc/gocache-agent/token") {
		t.Errorf("the agent mounts it: %v, the server: %v; volumes %+v", mounts(agent), mounts(proxy), pod.Volumes)
	}
	w.restart(faults.Point{})
	w.request("integrity-1", v1alpha1.RequestCheckIntegrity)
	w.tick(3)
	w.answered("integrity-1", v1alpha1.RequestSucceeded, "blue: Intact")
	if again := w.token(); again != token {
		t.Errorf("the token was %q and is %q", token, again)
	}
}

// TestAnothersSecretIsLeft holds that a Secret of the name which is not the
// proxy's gives no orders.
func TestAnothersSecretIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(server.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy-agent"}, StringData: map[string]string{"token": "planted"},
	}))
	w.proxy()
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "goproxy-agent")
	checks := w.blue.checks
	w.request("integrity-1", v1alpha1.RequestCheckIntegrity)
	w.tick(3)
	if w.blue.checks != checks {
		t.Error("the agent was given an order with a token that somebody planted")
	}
}
