package pass

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
)

// TestSchedulesOfAll holds that each part of the spec has its own schedule, that all that
// are invalid are named, and that none is scheduled without one.
func TestSchedulesOfAll(t *testing.T) {
	of := func(texts [4]string) *v1alpha1.GoCache {
		s := func(i int) v1alpha1.Schedule {
			return v1alpha1.Schedule{Schedule: texts[i], Jitter: &metav1.Duration{Duration: time.Hour}}
		}
		c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
		c.Spec.WarmUp, c.Spec.Integrity = &v1alpha1.WarmUp{Schedule: s(0)}, &v1alpha1.CacheIntegrity{Schedule: s(1)}
		c.Spec.Cleanup, c.Spec.Snapshots = &v1alpha1.Cleanup{Schedule: s(2)}, &v1alpha1.SnapshotPolicy{Schedule: s(3)}
		return c
	}
	plans := func(s Schedules) []*schedule.Plan {
		return []*schedule.Plan{s.WarmUp, s.Integrity, s.Cleanup, s.Snapshots}
	}
	last := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for i, field := range []string{"warmUp", "integrity", "cleanup", "snapshots"} {
		texts := [4]string{"@yearly", "@yearly", "@yearly", "@yearly"}
		texts[i] = "@daily"
		s := ParseSchedules(of(texts))
		if s.Invalid != nil {
			t.Fatal(s.Invalid)
		}
		for j, p := range plans(s) {
			if due, _ := p.Due(last, last.Add(26*time.Hour)); due != (i == j) {
				t.Errorf("%s is daily: schedule %d is due: %t", field, j, due)
			}
		}
		texts[i] = "nonsense"
		s = ParseSchedules(of(texts))
		if s.Invalid == nil || !strings.HasPrefix(s.Invalid.Error(), "spec."+field+".schedule") || plans(s)[i] != nil {
			t.Errorf("%s is invalid: %v", field, s.Invalid)
		}
	}
	s := ParseSchedules(of([4]string{"a", "b", "c", "d"}))
	if lines := strings.Split(s.Invalid.Error(), "\n"); len(lines) != 4 {
		t.Errorf("all are invalid: %q", lines)
	}
	if s := ParseSchedules(&v1alpha1.GoCache{}); s.Invalid != nil || slices.ContainsFunc(plans(s), func(p *schedule.Plan) bool { return p != nil }) {
		t.Errorf("without any: %+v", s)
	}
	same := plans(ParseSchedules(of([4]string{"@daily", "@daily", "@daily", "@daily"})))
	at := map[time.Time]bool{}
	for _, p := range same {
		for m := range 26 * 60 {
			if due, _ := p.Due(last, last.Add(time.Duration(m)*time.Minute)); due {
				at[last.Add(time.Duration(m)*time.Minute)] = true
				break
			}
		}
	}
	if len(at) != 4 {
		t.Errorf("with a jitter, all are due at %v", at)
	}
}

// TestPolicyAndLayers holds what a GoCache without a policy has, and which layers it has.
func TestPolicyAndLayers(t *testing.T) {
	c := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Layers: []v1alpha1.CacheLayer{v1alpha1.LayerModules}}}
	if !Has(c, v1alpha1.LayerModules) || Has(c, v1alpha1.LayerBuild) {
		t.Errorf("layers %v", c.Spec.Layers)
	}
	if got := SnapshotPolicy(c); got == nil || got.VolumeSnapshotClassName != nil || got.Schedule.Schedule != "" {
		t.Errorf("without a policy: %+v", got)
	}
	policy := &v1alpha1.SnapshotPolicy{}
	if c.Spec.Snapshots = policy; SnapshotPolicy(c) != policy {
		t.Error("another policy than that of the spec")
	}
}
