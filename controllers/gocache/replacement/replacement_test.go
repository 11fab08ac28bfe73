package replacement

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// onFast is a warmed GoCache on a bound PVC of class fast.
func onFast() (*v1alpha1.GoCache, pass.Observed) {
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}
	size := resource.MustParse("1Gi")
	cache.Spec.Storage.Size = size
	cache.Status.Storage = v1alpha1.CacheStorageStatus{VolumeName: "v1", AppliedClass: "fast", AppliedSize: &size}
	cache.Status.WarmUp = v1alpha1.WarmUpStatus{Run: "r1", LastSuccessRun: "r1", PersistentVolumeClaimUID: "u1"}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci", UID: "u1"}}
	pvc.Spec.VolumeName, pvc.Status.Phase = "v1", corev1.ClaimBound
	return cache, pass.Observed{Now: now, Stored: cache.DeepCopy(), PVC: pvc}
}

// TestDueMigration holds when a volume is moved: when the spec asks for another
// class or for less, there is something to move, and the last attempt is long ago.
func TestDueMigration(t *testing.T) {
	toSlow := func(c *v1alpha1.GoCache) { c.Spec.Storage.StorageClassName = ptr.To("slow") }
	failed := func(c *v1alpha1.GoCache, ago time.Duration) {
		toSlow(c)
		c.Status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{
			Reason: v1alpha1.ReplacementMigration, StorageClassName: "slow", Size: ptr.To(resource.MustParse("1Gi")), Failure: "no",
			CompletionTime: metav1.NewTime(now.Add(-ago)),
		}
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache)
		due    bool
		waits  string
	}{
		"as applied":      {func(*v1alpha1.GoCache) {}, false, ""},
		"another class":   {toSlow, true, ""},
		"nameless class":  {func(c *v1alpha1.GoCache) { c.Spec.Storage.StorageClassName = ptr.To("") }, false, ""},
		"less":            {func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("512Mi") }, true, ""},
		"more":            {func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("2Gi") }, false, ""},
		"never warmed":    {func(c *v1alpha1.GoCache) { toSlow(c); c.Status.WarmUp = v1alpha1.WarmUpStatus{} }, false, "the first warm-up"},
		"failed just now": {func(c *v1alpha1.GoCache) { failed(c, time.Minute) }, false, ""},
		"failed long ago": {func(c *v1alpha1.GoCache) { failed(c, 2*retryAfter) }, true, ""},
	} {
		cache, o := onFast()
		tt.change(cache)
		a := attempt{Observed: o, cache: cache}
		intent, err := a.dueMigration(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if (intent != nil) != tt.due {
			t.Errorf("%s: intent %+v, want %v", name, intent, tt.due)
		}
		if u := a.out.Unfulfilled; (u != nil) != (tt.waits != "") || u != nil && !strings.Contains(u.WaitsFor, tt.waits) {
			t.Errorf("%s: unfulfilled %+v, want %q", name, u, tt.waits)
		}
	}
}

// TestRevoked holds that a replacement ends when what asked for it is taken back,
// unless the PVC has lost its volume: then there is no way back.
func TestRevoked(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		want   string
	}{
		"asked for still": {func(*v1alpha1.GoCache, *pass.Observed) {}, ""},
		"another restore": {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Restore.RequestID = "2" }, "spec.restore was changed"},
		"no restore":      {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Restore = nil }, "spec.restore was changed"},
		"too late":        {func(c *v1alpha1.GoCache, o *pass.Observed) { c.Spec.Restore, o.PVC = nil, nil }, ""},
		"a rollback that is no longer wanted": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.VolumeReplacement.Reason = v1alpha1.ReplacementRollback
		}, "spec.integrity.onCorrupt"},
	} {
		cache, o := onFast()
		cache.Spec.Restore = &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: "s"}, RequestID: "1"}
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{
			Reason: v1alpha1.ReplacementRestore, PreviousVolume: "v1", Restore: cache.Spec.Restore.DeepCopy(),
		}
		tt.change(cache, &o)
		a := attempt{Observed: o, cache: cache}
		if got := a.revoked(cache.Status.VolumeReplacement); got == "" && tt.want != "" || !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestStatus holds the condition Ready during and after a replacement.
func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.GoCache)
		u       *Unfulfilled
		reason  string // empty: nothing
		stalled bool
	}{
		"none":  {func(*v1alpha1.GoCache) {}, nil, "", false},
		"begun": {func(c *v1alpha1.GoCache) { c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{} }, nil, v1alpha1.ReasonReplacingVolume, false},
		"consumers": {func(c *v1alpha1.GoCache) {
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Consumers: []string{"p"}}
		}, nil, v1alpha1.ReasonWaitingForConsumers, false},
		"suspended before it touched the PVC": {func(c *v1alpha1.GoCache) {
			c.Spec.Suspend, c.Status.VolumeReplacement = true, &v1alpha1.VolumeReplacementStatus{}
		}, nil, "", false},
		"refused":                {func(*v1alpha1.GoCache) {}, &Unfulfilled{Reason: v1alpha1.ReplacementRestore, Refused: "no"}, v1alpha1.ReasonNotRestorable, true},
		"waits":                  {func(*v1alpha1.GoCache) {}, &Unfulfilled{Reason: v1alpha1.ReplacementRestore, WaitsFor: "it"}, v1alpha1.ReasonWaiting, false},
		"a migration that waits": {func(*v1alpha1.GoCache) {}, &Unfulfilled{Reason: v1alpha1.ReplacementMigration, WaitsFor: "it"}, "", false},
		"failed": {func(c *v1alpha1.GoCache) {
			c.Spec.Restore = &v1alpha1.Restore{}
			c.Status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{Reason: v1alpha1.ReplacementRestore, Failure: "no"}
		}, nil, v1alpha1.ReasonVolumeReplacementFailed, true},
		"failed, and no longer asked for": {func(c *v1alpha1.GoCache) {
			c.Status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{Reason: v1alpha1.ReplacementRestore, Failure: "no"}
		}, nil, "", false},
	} {
		cache, o := onFast()
		tt.change(cache)
		fact := Status(cache, o, tt.u)
		if fact == nil {
			fact = &Fact{}
		}
		if fact.Reason != tt.reason || fact.Stalled != tt.stalled {
			t.Errorf("%s: %+v, want %s, stalled %v", name, fact, tt.reason, tt.stalled)
		}
	}
}
