package modproxy

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/faults"
)

// TestRottenStore holds that wrong bytes in a store convict although the
// instance serves right ones so far, with evidence, and once.
func TestRottenStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	if c := find(w.get(), "blue").StoreCheck; c == nil || c.Verdict != v1alpha1.VerdictIntact || c.Modules != 3 {
		t.Errorf("the last check is %+v", c)
	}
	w.blue.rotten = true
	w.now = w.now.Add(time.Hour)
	w.blue.check(w.now)
	w.tick(1)
	w.weights(0, 100)
	blue := find(w.get(), "blue")
	if blue.Quarantined == nil || blue.Quarantined.Reason != v1alpha1.ReasonStoreCorrupt || !strings.Contains(blue.Quarantined.Message, "v1.0.0.zip: contents differ") {
		t.Errorf("blue is convicted of %+v", blue.Quarantined)
	}
	if blue.StoreCheck.Verdict != v1alpha1.VerdictCorrupt || blue.StoreCheck.Message == "" {
		t.Errorf("the last check is %+v", blue.StoreCheck)
	}
	w.restart(faults.Point{})
	w.tick(5)
	w.weights(0, 100)
	if said := w.said(); strings.Count(said, "InstanceQuarantined") != 1 {
		t.Errorf("events: %s", said)
	}
	// A later check that finds nothing does not acquit by itself.
	w.blue.rotten = false
	w.blue.check(w.now)
	w.tick(3)
	if !w.convicted("blue") {
		t.Error("it was acquitted although nobody mended the store")
	}
}

// TestCheckThatCannotTell holds that it neither convicts nor acquits.
func TestCheckThatCannotTell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.vague = true
	w.blue.check(w.now)
	w.tick(2)
	w.weights(100, 100)
	if c := find(w.get(), "blue").StoreCheck; c == nil || c.Verdict != v1alpha1.VerdictInconclusive || c.Message != "cannot read" {
		t.Errorf("the last check is %+v", c)
	}
	w.blue.wrong = true
	w.tick(3)
	w.blue.wrong = false
	w.request("failback=blue#1")
	w.tick(5)
	w.answered("failback=blue#1", v1alpha1.RequestAccepted, "that can tell: cannot read")
	if !w.convicted("blue") {
		t.Error("a check that could not tell acquitted it")
	}
}

// TestReportedStore holds that with onCorrupt: Report wrong bytes are said and
// nobody is taken out.
func TestReportedStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(func(s *v1alpha1.ModProxySpec) { s.Integrity.OnCorrupt = v1alpha1.StoreReport })
	if _, agent, _ := w.pod("goproxy-blue"); !strings.Contains(strings.Join(agent.Command, " "), "--interval "+checkInterval.String()+" ") {
		t.Errorf("without a schedule the agent runs %s, want a check every %s", agent.Command, checkInterval)
	}
	w.blue.rotten = true
	w.blue.check(w.now)
	w.tick(2)
	w.weights(100, 100)
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue")
}

// TestScheduledChecks holds that the stores are checked when they are due, as
// slowly as is declared, once per start, and again by a manager that starts
// anew only if nobody did.
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
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Integrity.Schedule.Schedule = "now and then" })
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.integrity")
	w.weights(100, 100)
}

// TestRequestedChecks holds that the request integrity checks all stores and
// tells how that ended.
func TestRequestedChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.green.rotten = true
	w.request("integrity#1")
	w.answered("integrity#1", v1alpha1.RequestAccepted, "waiting for the check of the store of blue")
	w.tick(3)
	w.answered("integrity#1", v1alpha1.RequestSucceeded, "blue: Intact, green: Corrupt")
	if w.blue.checks != 2 || !w.convicted("green") {
		t.Errorf("blue was checked %d times; green is %+v", w.blue.checks, find(w.get(), "green"))
	}
	w.request("integrity=blue#2")
	w.answered("integrity=blue#2", v1alpha1.RequestRefused, "takes no argument")
}
