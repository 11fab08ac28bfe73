package snapshots

import (
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
	cache.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: true}
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
