package writer

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/conditions"
	plan "gocache.dev/operator/internal/plan/writer"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// fresh is a GoCache with a PVC that was never warmed.
func fresh() *turn {
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci", CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
	cache.Status.Storage.VolumeName = "v1"
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci", UID: "u1"}}
	pvc.Spec.VolumeName = "v1"
	return &turn{cache: cache, Observed: pass.Observed{Now: now, Stored: cache.DeepCopy(), PVC: pvc}}
}

// accept is a request that was accepted, and is stored.
func accept(t *turn, action v1alpha1.RequestAction) {
	t.cache.Status.Request = &v1alpha1.RequestStatus{Name: "r", UID: "u", Action: action, Outcome: v1alpha1.RequestAccepted, Time: metav1.NewTime(now)}
	t.Stored = t.cache.DeepCopy()
}

// TestNext holds which action is started, and what each one waits for.
func TestNext(t *testing.T) {
	warmed := func(t *turn) {
		begin, end := metav1.NewTime(now.Add(-2*time.Minute)), metav1.NewTime(now.Add(-time.Minute))
		t.cache.Status.WarmUp = v1alpha1.WarmUpStatus{
			Run: "r1", Outcome: v1alpha1.RunSucceeded, LastSuccessRun: "r1", PersistentVolumeClaimUID: "u1",
			StartTime: &begin, CompletionTime: &end, LastSuccessTime: &end, Inputs: t.inputs(),
		}
		t.Stored = t.cache.DeepCopy()
	}
	for name, tt := range map[string]struct {
		change func(*turn)
		next   plan.Action
		waits  plan.Action
		on     string
	}{
		"never warmed": {func(*turn) {}, plan.WarmUp, "", ""},
		"no PVC":       {func(t *turn) { t.PVC = nil }, "", plan.WarmUp, "the PVC to be created"},
		"a volume that is being replaced": {func(t *turn) {
			t.cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}, "", plan.WarmUp, "the volume to be replaced"},
		"no proxy": {func(t *turn) { t.ProxyMissing = "ModProxy p does not exist" }, "", plan.WarmUp, "ModProxy p"},
		"a snapshot that is being created": {func(t *turn) {
			t.Snapshots = []v1alpha1.CacheSnapshot{{ObjectMeta: metav1.ObjectMeta{Name: "s"}}}
			t.Snapshots[0].Status.StartTime = &metav1.Time{Time: now}
		}, "", plan.WarmUp, "CacheSnapshot s"},
		"warmed":                   {warmed, "", "", ""},
		"a check before a warm-up": {func(t *turn) { t.ProxyMissing = "no"; accept(t, v1alpha1.RequestCheckIntegrity) }, "", plan.Integrity, "the first warm-up"},
		"a check on request":       {func(t *turn) { warmed(t); accept(t, v1alpha1.RequestCheckIntegrity) }, plan.Integrity, "", ""},
		"a request that is not stored yet": {func(t *turn) {
			warmed(t)
			accept(t, v1alpha1.RequestCheckIntegrity)
			t.Stored.Status.Request = nil
		}, "", "", ""},
		"a cleanup of a Corrupt volume": {func(t *turn) {
			t.cache.Spec.Cleanup = &v1alpha1.Cleanup{}
			t.cache.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v1"}
			t.cache.Status.Integrity.Verdict = v1alpha1.VerdictCorrupt
			warmed(t)
			accept(t, v1alpha1.RequestCleanup)
		}, "", plan.Cleanup, "corrupt"},
	} {
		turn := fresh()
		tt.change(turn)
		action, _ := turn.next()
		if got := nameOf(action); got != tt.next {
			t.Errorf("%s: next is %q, want %q", name, got, tt.next)
		}
		if got := turn.out.Waits[tt.waits]; tt.waits != "" && !strings.Contains(got, tt.on) || tt.waits == "" && len(turn.out.Waits) > 0 {
			t.Errorf("%s: waits %v, want %s for %q", name, turn.out.Waits, tt.waits, tt.on)
		}
	}
}

func nameOf(a action) plan.Action {
	if a == nil {
		return ""
	}
	return a.name()
}

// TestWaitForPerson holds that only what a person can repair is waited for.
func TestWaitForPerson(t *testing.T) {
	turn := fresh()
	if err := turn.waitForPerson(plan.Integrity, errors.New("timeout")); err == nil || len(turn.out.Waits) > 0 {
		t.Errorf("error %v, waits %v", err, turn.out.Waits)
	}
	stalled := &conditions.StalledError{Reason: v1alpha1.ReasonInvalidSpec, Message: "no such key"}
	if err := turn.waitForPerson(plan.Integrity, stalled); err != nil || turn.out.Waits[plan.Integrity] != "no such key" || turn.out.Wake != pass.Interval {
		t.Errorf("error %v, waits %v, wake %s", err, turn.out.Waits, turn.out.Wake)
	}
	for request, want := range map[v1alpha1.RequestAction]string{v1alpha1.RequestCheckIntegrity: "no such key", v1alpha1.RequestReportFailure: "no such key", v1alpha1.RequestWarmUp: ""} {
		if got := turn.out.RequestWaitsFor(request); got != want {
			t.Errorf("request %s waits for %q, want %q", request, got, want)
		}
	}
}
