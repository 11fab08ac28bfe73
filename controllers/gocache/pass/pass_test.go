package pass

import (
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestEarliestWakeUpWins holds that parts together wake a pass at the earliest
// time that any of them asks for.
func TestEarliestWakeUpWins(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var all, never, late, early Result
	late.WakeIn(time.Hour)
	early.WakeAt(now, now.Add(time.Minute))
	early.WakeAt(now, time.Time{})
	for _, r := range []Result{never, late, early, never} {
		all.Add(r)
	}
	if all.Wake != time.Minute {
		t.Errorf("wakes in %s, want 1m", all.Wake)
	}
	if all.WakeAt(now, now.Add(-time.Hour)); all.Wake != time.Second {
		t.Errorf("what is overdue wakes in %s, want 1s", all.Wake)
	}
}

// TestContent holds what a PVC holds, by what was warmed and what was restored.
func TestContent(t *testing.T) {
	const none = v1alpha1.VolumeReplacementReason("")
	for name, tt := range map[string]struct {
		warmed          string // UID of the PVC
		content         v1alpha1.VolumeReplacementReason
		volume          string
		fresh, restored bool
		neverWarmed     bool
	}{
		"nothing":                {"", none, "", false, false, true},
		"warmed":                 {"u1", none, "", false, false, false},
		"another was warmed":     {"u0", none, "", true, false, true},
		"restored":               {"u0", v1alpha1.ReplacementRestore, "v1", false, true, false},
		"restored, never warmed": {"", v1alpha1.ReplacementRestore, "v1", false, true, false},
		"restored, warmed since": {"u1", v1alpha1.ReplacementRestore, "v1", false, false, false},
		"another was restored":   {"u0", v1alpha1.ReplacementRestore, "v0", true, false, true},
		"migrated is no restore": {"u0", v1alpha1.ReplacementMigration, "v1", true, false, true},
	} {
		cache := &v1alpha1.GoCache{}
		if tt.warmed != "" {
			cache.Status.WarmUp = v1alpha1.WarmUpStatus{Run: "r1", PersistentVolumeClaimUID: tt.warmed}
		}
		if tt.content != none {
			cache.Status.Content = &v1alpha1.ContentStatus{Reason: tt.content, VolumeName: tt.volume}
		}
		o := Observed{PVC: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{UID: "u1"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v1"}}}
		if fresh, restored, never := o.NewVolume(cache), o.Restored(cache), o.NeverWarmed(cache); fresh != tt.fresh || restored != tt.restored || never != tt.neverWarmed {
			t.Errorf("%s: new %v, restored %v, never warmed %v; want %v, %v, %v", name, fresh, restored, never, tt.fresh, tt.restored, tt.neverWarmed)
		}
	}
}

// TestParseSchedules holds that an invalid schedule is named and hinders no other.
func TestParseSchedules(t *testing.T) {
	cache := &v1alpha1.GoCache{}
	cache.Spec.WarmUp = &v1alpha1.WarmUp{Schedule: v1alpha1.Schedule{Schedule: "nonsense"}}
	cache.Spec.Cleanup = &v1alpha1.Cleanup{Schedule: v1alpha1.Schedule{Schedule: "@daily"}}
	s := ParseSchedules(cache)
	if s.WarmUp != nil || s.Cleanup == nil || s.Invalid == nil || !strings.Contains(s.Invalid.Error(), "spec.warmUp.schedule") {
		t.Errorf("schedules %+v", s)
	}
}

// TestPreviousEnd holds that the volume that was replaced is kept for the declared
// time, and a week longer at most while the offered snapshot may depend on it.
func TestPreviousEnd(t *testing.T) {
	made := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const week = 168 * time.Hour
	for name, tt := range map[string]struct {
		keep    *metav1.Duration
		offered string
		want    time.Duration
	}{
		"default":                      {nil, "of-new", week},
		"declared":                     {&metav1.Duration{Duration: time.Hour}, "of-new", time.Hour},
		"offered is of it":             {nil, "of-old", 2 * week},
		"declared, and offered of it":  {&metav1.Duration{Duration: time.Hour}, "of-old", time.Hour + week},
		"nothing is offered":           {nil, "", week},
		"offered one is not known":     {nil, "gone", week},
		"offered one's volume unknown": {nil, "unknown", week},
	} {
		o := Observed{Previous: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(made)}}}
		o.Previous.Spec.VolumeName = "old"
		for _, s := range []struct{ name, volume string }{{"of-new", "new"}, {"of-old", "old"}, {"unknown", ""}} {
			c := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
			c.Status.Source = &v1alpha1.SourceRecord{VolumeName: s.volume}
			o.Snapshots = append(o.Snapshots, c)
		}
		cache := &v1alpha1.GoCache{}
		cache.Spec.Storage.VolumeReplacement.KeepPrevious = tt.keep
		cache.Status.LatestVerifiedSnapshot = tt.offered
		if got := o.PreviousEnd(cache).Sub(made); got != tt.want {
			t.Errorf("%s: kept for %s, want %s", name, got, tt.want)
		}
	}
}

// TestPlatform holds that a cache is built for the platform of the manager where its
// spec names none, as in a cluster of one architecture, and stays what it is when the
// manager moves to a node of another one.
func TestPlatform(t *testing.T) {
	own := "linux/" + runtime.GOARCH
	for name, tt := range map[string]struct{ spec, status, want string }{
		"that of the manager": {"", "", own},
		"that of the spec":    {"linux/riscv64", own, "linux/riscv64"},
		"what it was":         {"", "linux/s390x", "linux/s390x"},
	} {
		cache := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Platform: tt.spec}, Status: v1alpha1.GoCacheStatus{Platform: tt.status}}
		if got := Platform(cache); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
