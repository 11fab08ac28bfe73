package modproxy

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/scrape"
)

// TestCount holds that what happened to a proxy is counted once.
func TestCount(t *testing.T) {
	const label = "TestCount" // no proxy of another test has it
	now := metav1.NewTime(time.Unix(1_700_000_000, 0))
	before, after := &v1alpha1.ModProxy{}, &v1alpha1.ModProxy{}
	before.Status.Instances = []v1alpha1.InstanceStatus{{Name: "a"}, {Name: "b", Quarantined: &v1alpha1.Quarantine{}}}
	after.Status = v1alpha1.ModProxyStatus{
		LastWeightChange: &v1alpha1.WeightChangeStatus{DetectedTime: &now, ConfirmedTime: ptr.To(metav1.NewTime(now.Add(time.Second)))},
		Instances: []v1alpha1.InstanceStatus{
			{
				Name: "a", Quarantined: &v1alpha1.Quarantine{Reason: label}, FailingProbes: []v1alpha1.FailingProbe{{Kind: label}},
				StoreCheck: &v1alpha1.StoreCheckStatus{Verdict: label, CompletionTime: now, Withdrawn: 2},
			},
			{Name: "b"},
		},
	}
	unlabelled := []string{
		"gocache_modproxy_weight_changes_total", "gocache_modproxy_weight_change_duration_seconds",
		"gocache_modproxy_reinstatements_total", "gocache_modproxy_withdrawn_entries_total",
	}
	was := map[string]float64{}
	for _, name := range unlabelled {
		was[name] = scrape.Value(t, metrics.Registry, name)
	}
	count(before, after)
	count(after, after)
	for name, labels := range map[string][]string{
		"gocache_modproxy_quarantines_total":    {"reason", label},
		"gocache_modproxy_probe_failures_total": {"probe", label},
		"gocache_modproxy_store_checks_total":   {"verdict", label},
	} {
		if got := scrape.Value(t, metrics.Registry, name, labels...); got != 1 {
			t.Errorf("%s%v is %v, want 1", name, labels, got)
		}
	}
	for _, name := range unlabelled { // no parallel test runs meanwhile
		want := was[name] + 1
		if name == "gocache_modproxy_withdrawn_entries_total" {
			want++
		}
		if got := scrape.Value(t, metrics.Registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestStateOf holds that an instance has one state, the worst that applies.
func TestStateOf(t *testing.T) {
	t.Parallel()
	for want, i := range map[string]v1alpha1.InstanceStatus{
		"Serving":      {Healthy: true, Serving: true},
		"Ready":        {Healthy: true},
		"Unhealthy":    {Serving: true},
		"OutOfService": {Healthy: true, OutOfService: true},
		"Quarantined":  {OutOfService: true, Quarantined: &v1alpha1.Quarantine{}},
	} {
		if got := stateOf(&i); got != want {
			t.Errorf("%+v is %s, want %s", i, got, want)
		}
	}
}
