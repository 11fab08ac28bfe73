package pass_test

import (
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

// TestAfterWarmUp holds that a policy that sets something else, such as retention,
// does not end the snapshots after warm-ups, and that one with a schedule has only
// the snapshots of its schedule unless it asks for both.
func TestAfterWarmUp(t *testing.T) {
	t.Parallel()
	daily := v1alpha1.Schedule{Schedule: "@daily"}
	for name, tt := range map[string]struct {
		policy *v1alpha1.SnapshotPolicy
		want   bool
	}{
		"no policy":       {nil, false},
		"empty":           {&v1alpha1.SnapshotPolicy{}, true},
		"retention alone": {&v1alpha1.SnapshotPolicy{Retention: v1alpha1.Retention{KeepLast: 3}}, true},
		"a schedule":      {&v1alpha1.SnapshotPolicy{Schedule: daily}, false},
		"both":            {&v1alpha1.SnapshotPolicy{Schedule: daily, AfterWarmUp: new(true)}, true},
		"none":            {&v1alpha1.SnapshotPolicy{AfterWarmUp: new(false)}, false},
		"on a schedule":   {&v1alpha1.SnapshotPolicy{Schedule: daily, AfterWarmUp: new(false)}, false},
		"after warm-ups":  {&v1alpha1.SnapshotPolicy{AfterWarmUp: new(true)}, true},
	} {
		cache := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Snapshots: tt.policy}}
		if got := pass.AfterWarmUp(cache); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
