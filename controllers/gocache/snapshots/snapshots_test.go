package snapshots

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// warmed is a GoCache whose last warm-up succeeded on its PVC, with the policy
// to snapshot that.
func warmed() (*v1alpha1.GoCache, pass.Observed) {
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci", CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
	cache.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true)}
	cache.Status.WarmUp = v1alpha1.WarmUpStatus{Run: "r1", LastSuccessRun: "r1", PersistentVolumeClaimUID: "u1"}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci", UID: "u1"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v1"}}
	return cache, pass.Observed{Now: now, Stored: cache.DeepCopy(), PVC: pvc}
}

// TestDue holds what makes a snapshot due: content that was warmed and is still
// on the PVC, or a request.
func TestDue(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		due    bool
	}{
		"warmed":                {func(*v1alpha1.GoCache, *pass.Observed) {}, true},
		"taken already":         {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.SnapshottedRun = "r1" }, false},
		"not by policy":         {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Snapshots = nil }, false},
		"no PVC":                {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC = nil }, false},
		"another PVC":           {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC.UID = "u2" }, false},
		"a PVC that is deleted": {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC.DeletionTimestamp = &metav1.Time{Time: now} }, false},
		"restored since": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			o.PVC.UID = "u2"
			c.Status.Content = &v1alpha1.ContentStatus{Reason: v1alpha1.ReplacementRestore, VolumeName: "v1"}
		}, false},
		"requested": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Spec.Snapshots = nil
			c.Status.Request = &v1alpha1.RequestStatus{UID: "u", Action: v1alpha1.RequestSnapshot, Outcome: v1alpha1.RequestAccepted}
		}, true},
		"another request": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Spec.Snapshots = nil
			c.Status.Request = &v1alpha1.RequestStatus{UID: "u", Action: v1alpha1.RequestWarmUp, Outcome: v1alpha1.RequestAccepted}
		}, false},
	} {
		cache, o := warmed()
		tt.change(cache, &o)
		if due, _ := due(cache, o); (due != nil) != tt.due {
			t.Errorf("%s: due %+v, want %v", name, due, tt.due)
		}
	}
}

// TestRecordCreated holds that a snapshot that was created is not due again, and
// that the request is answered.
func TestRecordCreated(t *testing.T) {
	cache, o := warmed()
	cache.Status.Request = &v1alpha1.RequestStatus{UID: "u", Action: v1alpha1.RequestSnapshot, Outcome: v1alpha1.RequestAccepted}
	for range 3 { // the request, and the warm-up
		if due, _ := due(cache, o); due != nil {
			recordCreated(cache, o, *due)
		}
	}
	if due, _ := due(cache, o); due != nil {
		t.Errorf("due again: %+v", due)
	}
	if last := cache.Status.Request; last.Outcome != v1alpha1.RequestSucceeded {
		t.Errorf("answer %+v", last)
	}
}

// replaced is a GoCache whose volume v0 was replaced by v1 some time ago, with the
// snapshot that is offered of v0.
func replaced(ago time.Duration) (*v1alpha1.GoCache, pass.Observed) {
	cache, o := warmed()
	cache.Status.SnapshottedRun = "r1"
	cache.Status.LatestVerifiedSnapshot = "ci-1"
	o.Previous = &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci-previous", CreationTimestamp: metav1.NewTime(now.Add(-ago))}}
	o.Previous.Spec.VolumeName = "v0"
	o.Snapshots = []v1alpha1.CacheSnapshot{of("ci-1", "v0", metav1.ConditionTrue)}
	return cache, o
}

func of(name, volumeName string, verified metav1.ConditionStatus) v1alpha1.CacheSnapshot {
	s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}}}
	s.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci", VolumeName: volumeName}
	if verified == metav1.ConditionTrue {
		s.Status.Verification.Verdict = v1alpha1.VerdictIntact
	}
	s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.VerifiedCondition, Status: verified, Reason: "Test"}}
	return s
}

// TestPresentVolumeIsSnapshotted holds that the volume that a replacement put in
// place gets a snapshot before the previous volume is deleted, on which the offered
// snapshot may depend.
func TestPresentVolumeIsSnapshotted(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		ago    time.Duration
		change func(*v1alpha1.GoCache, *pass.Observed)
		due    bool
		next   time.Time
	}{
		"just replaced":    {time.Hour, nil, false, now.Add(84*time.Hour - time.Hour)},
		"half of the time": {4 * day, nil, true, time.Time{}},
		"kept for an hour": {30 * time.Minute, func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Spec.Storage.VolumeReplacement.KeepPrevious = &metav1.Duration{Duration: time.Hour}
		}, true, time.Time{}},
		"offered is present": {4 * day, func(_ *v1alpha1.GoCache, o *pass.Observed) { o.Snapshots[0] = of("ci-1", "v1", metav1.ConditionTrue) }, false, time.Time{}},
		"one is on its way": {4 * day, func(_ *v1alpha1.GoCache, o *pass.Observed) {
			o.Snapshots = append(o.Snapshots, of("ci-2", "v1", metav1.ConditionUnknown))
		}, false, time.Time{}},
		"one of the previous volume is on its way": {4 * day, func(_ *v1alpha1.GoCache, o *pass.Observed) {
			o.Snapshots = append(o.Snapshots, of("ci-2", "v0", metav1.ConditionUnknown))
		}, true, time.Time{}},
		"no policy":       {4 * day, func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Snapshots = nil }, false, time.Time{}},
		"nothing is kept": {4 * day, func(_ *v1alpha1.GoCache, o *pass.Observed) { o.Previous = nil }, false, time.Time{}},
		"replaced again": {4 * day, func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}, false, time.Time{}},
	} {
		cache, o := replaced(tt.ago)
		if tt.change != nil {
			tt.change(cache, &o)
		}
		got, next := due(cache, o)
		if (got != nil) != tt.due || !next.Equal(tt.next) {
			t.Errorf("%s: due %+v, or at %s; want %v, or at %s", name, got, next, tt.due, tt.next)
		}
		if got == nil {
			continue
		}
		o.Snapshots = append(o.Snapshots, of(got.Name, "v1", metav1.ConditionFalse))
		if again, _ := due(cache, o); again != nil {
			t.Errorf("%s: due again, though it was created: %+v", name, again)
		}
	}
}

// TestAvailableNamesThePreviousVolume holds that the condition reports what keeps the
// previous volume, and until when.
func TestAvailableNamesThePreviousVolume(t *testing.T) {
	cache, o := replaced(time.Hour)
	end := now.Add(13*24*time.Hour + 23*time.Hour).Format(time.RFC3339)
	if got := Available(cache, o).Message; !strings.Contains(got, "PVC ci-previous is kept") || !strings.Contains(got, end) {
		t.Errorf("%q does not have the PVC, and %s", got, end)
	}
	o.Snapshots[0] = of("ci-1", "v1", metav1.ConditionTrue)
	if got := Available(cache, o).Message; strings.Contains(got, "previous") {
		t.Errorf("%q speaks of a volume that nothing depends on", got)
	}
}
