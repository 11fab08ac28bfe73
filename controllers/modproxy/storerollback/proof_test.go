package storerollback

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// proxy has an instance whose store is checked, and one of a server that is not known.
func proxy() *v1alpha1.ModProxy {
	return &v1alpha1.ModProxy{Spec: v1alpha1.ModProxySpec{Instances: []v1alpha1.ProxyInstance{
		{Name: "blue", Weight: 100, Storage: &v1alpha1.InstanceStorage{}},
		{Name: "custom", Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom}},
	}}}
}

// TestProve holds that an instance is intact only by what was found out after there
// was reason to expect it, and that what is Corrupt or not known is none.
func TestProve(t *testing.T) {
	streak := func(o failover.Outcome, minute int) prober.Streaks {
		return prober.Streaks{failover.Checksum: {Outcome: o, Last: at(minute), Message: "other checksum"}}
	}
	report := func(o integrity.Outcome, minute int) *prober.StoreReport {
		return &prober.StoreReport{Verdict: &integrity.Verdict{Verdict: o, Message: "3 modules"}, Began: at(minute)}
	}
	const modules, store = "the reference modules", "a check of the whole store"
	for name, tt := range map[string]struct {
		instance string
		found    prober.Observation
		want     Proof
	}{
		"both after it":                      {"blue", prober.Observation{Streaks: streak(failover.Passed, 1), Store: report(integrity.Intact, 1)}, Proof{Intact: true}},
		"no reference modules":               {"blue", prober.Observation{Store: report(integrity.Intact, 1)}, Proof{Intact: true}},
		"nothing is known":                   {"blue", prober.Observation{}, Proof{Waits: store}},
		"probed before it":                   {"blue", prober.Observation{Streaks: streak(failover.Passed, 0), Store: report(integrity.Intact, 1)}, Proof{Waits: modules}},
		"wrong, before it":                   {"blue", prober.Observation{Streaks: streak(failover.Failed, 0), Store: report(integrity.Intact, 1)}, Proof{Waits: modules}},
		"wrong, after it":                    {"blue", prober.Observation{Streaks: streak(failover.Failed, 1), Store: report(integrity.Intact, 1)}, Proof{Wrong: "other checksum"}},
		"probed without an outcome":          {"blue", prober.Observation{Streaks: streak(failover.Unknown, 1), Store: report(integrity.Intact, 1)}, Proof{Waits: modules}},
		"the check began before it":          {"blue", prober.Observation{Streaks: streak(failover.Passed, 1), Store: report(integrity.Intact, 0)}, Proof{Waits: store}},
		"Corrupt by a check before it":       {"blue", prober.Observation{Store: report(integrity.OutcomeCorrupt, -1)}, Proof{Waits: store}},
		"Corrupt by a check after it":        {"blue", prober.Observation{Store: report(integrity.OutcomeCorrupt, 1)}, Proof{Wrong: "3 modules"}},
		"inconclusive":                       {"blue", prober.Observation{Store: report(integrity.Inconclusive, 1)}, Proof{Waits: store + " that is not inconclusive: 3 modules"}},
		"no check has ended":                 {"blue", prober.Observation{Store: &prober.StoreReport{Began: at(1)}}, Proof{Waits: store}},
		"a store that cannot be checked":     {"custom", prober.Observation{Streaks: streak(failover.Passed, 1)}, Proof{Intact: true}},
		"and whose modules were not probed":  {"custom", prober.Observation{Streaks: streak(failover.Passed, 0)}, Proof{Waits: modules}},
		"an instance that is not probed yet": {"blue", prober.Observation{Streaks: prober.Streaks{failover.Checksum: {}}, Store: report(integrity.Intact, 1)}, Proof{Waits: modules}},
	} {
		o := pass.Observed{Found: map[string]prober.Observation{tt.instance: tt.found}}
		if got := Prove(proxy(), o, tt.instance, noon); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestNeededSince holds that what was found out before a request, or before the store
// was replaced, does not count.
func TestNeededSince(t *testing.T) {
	quarantined := v1alpha1.InstanceStatus{Name: "blue", Quarantined: &v1alpha1.Quarantine{}}
	request := func(action v1alpha1.RequestAction, argument string, outcome v1alpha1.RequestOutcome) *v1alpha1.RequestStatus {
		return &v1alpha1.RequestStatus{Action: action, Argument: argument, Outcome: outcome, Time: metav1.NewTime(noon)}
	}
	replaced := func(verified *metav1.Time) v1alpha1.InstanceStatus {
		return v1alpha1.InstanceStatus{Name: "blue", Rollback: &v1alpha1.StoreRollbackStatus{ReplacedTime: ptr.To(metav1.NewTime(at(5))), VerifiedTime: verified}}
	}
	for name, tt := range map[string]struct {
		request  *v1alpha1.RequestStatus
		instance v1alpha1.InstanceStatus
		want     time.Time
	}{
		"nothing":                {nil, quarantined, time.Time{}},
		"requested":              {request(v1alpha1.RequestReinstate, "blue", v1alpha1.RequestAccepted), quarantined, noon.Add(time.Second)},
		"requested for another":  {request(v1alpha1.RequestReinstate, "green", v1alpha1.RequestAccepted), quarantined, time.Time{}},
		"another action":         {request(v1alpha1.RequestFailback, "blue", v1alpha1.RequestAccepted), quarantined, time.Time{}},
		"refused":                {request(v1alpha1.RequestReinstate, "blue", v1alpha1.RequestRefused), quarantined, time.Time{}},
		"not quarantined":        {request(v1alpha1.RequestReinstate, "blue", v1alpha1.RequestAccepted), v1alpha1.InstanceStatus{Name: "blue"}, time.Time{}},
		"replaced":               {nil, replaced(nil), at(5).Add(time.Second)},
		"replaced and verified":  {nil, replaced(ptr.To(metav1.NewTime(at(9)))), time.Time{}},
		"a rollback has begun":   {nil, v1alpha1.InstanceStatus{Name: "blue", Rollback: &v1alpha1.StoreRollbackStatus{}}, time.Time{}},
		"of an unknown instance": {nil, v1alpha1.InstanceStatus{Name: "green"}, time.Time{}},
	} {
		p := proxy()
		p.Status.Request, p.Status.Instances = tt.request, []v1alpha1.InstanceStatus{tt.instance}
		if got := NeededSince(p, "blue"); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestFullyServing(t *testing.T) {
	for name, tt := range map[string]struct {
		status  v1alpha1.InstanceStatus
		arrived bool
		want    bool
	}{
		"its whole weight": {v1alpha1.InstanceStatus{Name: "blue", DesiredWeight: 100}, true, true},
		"a part of it":     {v1alpha1.InstanceStatus{Name: "blue", DesiredWeight: 99}, true, false},
		"not read back":    {v1alpha1.InstanceStatus{Name: "blue", DesiredWeight: 100}, false, false},
		"quarantined":      {v1alpha1.InstanceStatus{Name: "blue", DesiredWeight: 100, Quarantined: &v1alpha1.Quarantine{}}, true, false},
		"not in the spec":  {v1alpha1.InstanceStatus{Name: "green", DesiredWeight: 100}, true, false},
	} {
		if got := fullyServing(proxy(), pass.Observed{Arrived: tt.arrived}, &tt.status); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestEvents holds that each step of a rollback is reported once, with the time since
// the instance was quarantined.
func TestEvents(t *testing.T) {
	on := func(minute int) *metav1.Time { return ptr.To(metav1.NewTime(at(minute))) }
	type status = v1alpha1.StoreRollbackStatus
	quarantined := metav1.NewTime(noon)
	for name, tt := range map[string]struct {
		was, is *status
		want    []string // reasons, and a part of the text
	}{
		"none":                  {nil, nil, nil},
		"ended":                 {&status{QuarantinedTime: quarantined}, nil, nil},
		"postponed":             {nil, &status{QuarantinedTime: quarantined, NotBefore: on(9), Message: "postponed"}, []string{"RollbackPostponed|was postponed"}},
		"still postponed":       {&status{QuarantinedTime: quarantined, NotBefore: on(9)}, &status{QuarantinedTime: quarantined, NotBefore: on(9)}, nil},
		"begun":                 {nil, &status{QuarantinedTime: quarantined, Attempt: 1, Snapshot: "s-1"}, []string{"RollbackStarted|CacheSnapshot s-1"}},
		"begun without one":     {nil, &status{QuarantinedTime: quarantined, Attempt: 1}, []string{"RollbackStarted|an empty store"}},
		"begun again":           {&status{QuarantinedTime: quarantined, Attempt: 1}, &status{QuarantinedTime: quarantined, Attempt: 2}, []string{"RollbackStarted|"}},
		"goes on":               {&status{QuarantinedTime: quarantined, Attempt: 1}, &status{QuarantinedTime: quarantined, Attempt: 1}, nil},
		"replaced":              {&status{QuarantinedTime: quarantined, Attempt: 1}, &status{QuarantinedTime: quarantined, Attempt: 1, ReplacedTime: on(2)}, []string{"StoreReplaced|2m0s after"}},
		"verified":              {&status{QuarantinedTime: quarantined, Attempt: 1, ReplacedTime: on(2)}, &status{QuarantinedTime: quarantined, Attempt: 1, ReplacedTime: on(2), VerifiedTime: on(3)}, []string{"RollbackVerified|3m0s after"}},
		"proven without one":    {&status{QuarantinedTime: quarantined}, &status{QuarantinedTime: quarantined, VerifiedTime: on(3)}, nil},
		"completed":             {&status{QuarantinedTime: quarantined, Attempt: 1}, &status{QuarantinedTime: quarantined, Attempt: 1, CompletionTime: on(4)}, []string{"RollbackCompleted|4m0s after"}},
		"failed":                {&status{QuarantinedTime: quarantined, Attempt: 1}, &status{QuarantinedTime: quarantined, Attempt: 2, Failed: true, Message: "no snapshot"}, []string{"RollbackFailed|no snapshot"}},
		"still failed":          {&status{QuarantinedTime: quarantined, Failed: true}, &status{QuarantinedTime: quarantined, Failed: true}, nil},
		"quarantined once more": {&status{QuarantinedTime: metav1.NewTime(at(-60)), Attempt: 1, CompletionTime: on(-50)}, &status{QuarantinedTime: quarantined, Attempt: 1}, []string{"RollbackStarted|"}},
	} {
		recorder := events.NewFakeRecorder(10)
		event.Record(recorder, proxy(), Events("blue", tt.was, tt.is))
		close(recorder.Events)
		var got []string
		for e := range recorder.Events {
			got = append(got, e)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
			continue
		}
		for i, want := range tt.want {
			reason, text, _ := strings.Cut(want, "|")
			if !strings.Contains(got[i], " "+reason+" ") || !strings.Contains(got[i], text) || !strings.Contains(got[i], "blue") {
				t.Errorf("%s: %s, want %s", name, got[i], want)
			}
		}
	}
}
