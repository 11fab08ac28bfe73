package provision

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func size(text string) corev1.VolumeResourceRequirements {
	return corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(text)}}
}

// bound is a GoCache with a bound PVC of 1Gi, that is 90% full and may grow to
// 4Gi.
func bound() (*v1alpha1.GoCache, pass.Observed) {
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}
	cache.Spec.Storage.Size = resource.MustParse("1Gi")
	cache.Spec.Storage.Growth = &v1alpha1.StorageGrowth{UsedPercent: 80, Step: resource.MustParse("1Gi"), Limit: resource.MustParse("4Gi")}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci", UID: "u1"}}
	pvc.Spec.VolumeName, pvc.Spec.Resources, pvc.Spec.StorageClassName = "v1", size("1Gi"), ptr.To("fast")
	pvc.Status.Phase, pvc.Status.Capacity = corev1.ClaimBound, pvc.Spec.Resources.Requests
	o := pass.Observed{Now: now, Stored: cache.DeepCopy(), PVC: pvc}
	Record(cache, o)
	cache.Status.Storage.UsedPercent, cache.Status.Storage.MeasuredCapacity = ptr.To[int32](90), cache.Status.Storage.Capacity
	return cache, o
}

// TestOutdated holds that only a PVC which never had a volume is deleted and
// created again, and only when the spec asks for another one.
func TestOutdated(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *corev1.PersistentVolumeClaim)
		want   bool
	}{
		"the same": {func(*v1alpha1.GoCache, *corev1.PersistentVolumeClaim) {}, false},
		"another size": {func(c *v1alpha1.GoCache, _ *corev1.PersistentVolumeClaim) {
			c.Spec.Storage.Size = resource.MustParse("2Gi")
		}, true},
		"another class": {func(c *v1alpha1.GoCache, _ *corev1.PersistentVolumeClaim) {
			c.Spec.Storage.StorageClassName = ptr.To("slow")
		}, true},
		"the class that it has": {func(c *v1alpha1.GoCache, _ *corev1.PersistentVolumeClaim) {
			c.Spec.Storage.StorageClassName = ptr.To("fast")
		}, false},
		"another size, with volume": {func(c *v1alpha1.GoCache, p *corev1.PersistentVolumeClaim) {
			c.Spec.Storage.Size = resource.MustParse("2Gi")
			p.Spec.VolumeName = "v1"
		}, false},
		"another size, lost": {func(c *v1alpha1.GoCache, p *corev1.PersistentVolumeClaim) {
			c.Spec.Storage.Size = resource.MustParse("2Gi")
			p.Status.Phase = corev1.ClaimLost
		}, false},
	} {
		cache, o := bound()
		pvc := o.PVC
		pvc.Spec.VolumeName, pvc.Status.Phase = "", corev1.ClaimPending
		tt.change(cache, pvc)
		if got := outdated(cache, pvc); got != tt.want {
			t.Errorf("%s: outdated is %v", name, got)
		}
	}
}

// TestGrowthIsStoredFirst holds that a size is asked for only once it is stored,
// and not for a PVC whose volume is being replaced.
func TestGrowthIsStoredFirst(t *testing.T) {
	cache, o := bound()
	var out Result
	recordGrowth(cache, o, &out)
	if g := cache.Status.Storage.Growth; g == nil || g.Size.String() != "2Gi" {
		t.Fatalf("growth %+v, want 2Gi", g)
	}
	if got := grownSize(cache, o); got != nil {
		t.Errorf("asks for %s, which is not stored", got)
	}
	o.Stored = cache.DeepCopy()
	if got := grownSize(cache, o); got == nil || got.String() != "2Gi" {
		t.Errorf("asks for %v, want 2Gi", got)
	}
	cache, o = bound()
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
	if recordGrowth(cache, o, &out); cache.Status.Storage.Growth != nil {
		t.Error("asks a PVC to grow that is about to be replaced")
	}
}

// TestRefusedGrowth holds that a refusal of the grown size alone is recorded:
// another error is returned, and so is a refusal of what the spec asks for.
func TestRefusedGrowth(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "ci", errors.New("quota"))
	for name, tt := range map[string]struct {
		asked string
		err   error
		want  bool
	}{
		"refused":            {"2Gi", forbidden, true},
		"accepted":           {"2Gi", nil, false},
		"another error":      {"2Gi", errors.New("timeout"), false},
		"the spec's size":    {"1Gi", forbidden, false},
		"yet another size":   {"3Gi", forbidden, false},
		"refused as invalid": {"2Gi", apierrors.NewInvalid(schema.GroupKind{Kind: "PersistentVolumeClaim"}, "ci", nil), true},
	} {
		cache, o := bound()
		recordGrowth(cache, o, &Result{})
		o.Stored = cache.DeepCopy()
		got := recordRefusedGrowth(cache, o, resource.MustParse(tt.asked), tt.err)
		if recorded := cache.Status.Storage.Growth.Refused != ""; got != tt.want || recorded != tt.want {
			t.Errorf("%s: %v, recorded %v, want %v", name, got, recorded, tt.want)
		}
	}
}

// TestRecordAnotherVolume holds that what was measured on one volume is not
// reported of another.
func TestRecordAnotherVolume(t *testing.T) {
	cache, o := bound()
	other := o.PVC.DeepCopy()
	other.Spec.VolumeName = "v2"
	o.PVC = other
	Record(cache, o)
	if s := cache.Status.Storage; s.UsedPercent != nil || s.MeasuredCapacity != nil || s.VolumeName != "v2" {
		t.Errorf("storage %+v", s)
	}
	o.PVC = nil
	Record(cache, o)
	if s := cache.Status.Storage; s.VolumeName != "" || s.Capacity != nil {
		t.Errorf("storage without a PVC: %+v", s)
	}
	cache, o = bound()
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
	o.PVC = nil
	if Record(cache, o); cache.Status.Storage.AppliedClass != "fast" {
		t.Errorf("forgot what was applied, while the volume is being replaced: %+v", cache.Status.Storage)
	}
}

// TestGrowthWaitsForASnapshot holds that the PVC does not grow while a snapshot of it
// is being created, which both follow one warm-up, and that it does after a while.
func TestGrowthWaitsForASnapshot(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.CacheSnapshot)
		waits  bool
	}{
		"requested":            {func(*v1alpha1.CacheSnapshot) {}, true},
		"created":              {func(s *v1alpha1.CacheSnapshot) { s.Status.CreationTime = &metav1.Time{Time: now} }, false},
		"it does not succeed":  {func(s *v1alpha1.CacheSnapshot) { s.CreationTimestamp.Time = now.Add(-time.Hour) }, false},
		"it is being deleted":  {func(s *v1alpha1.CacheSnapshot) { s.DeletionTimestamp = &metav1.Time{Time: now} }, false},
		"it is Corrupt":        {func(s *v1alpha1.CacheSnapshot) { s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt }, false},
		"it was requested now": {func(s *v1alpha1.CacheSnapshot) { s.CreationTimestamp.Time = now.Add(time.Second) }, true},
	} {
		cache, o := bound()
		s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "ci-1", CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))}}
		tt.change(&s)
		o.Snapshots = []v1alpha1.CacheSnapshot{s}
		if got := beingCreated(o) != ""; got != tt.waits {
			t.Errorf("%s: waits %v, want %v", name, got, tt.waits)
		}
		if got := strings.Contains(Sufficient(cache, o).Message, "when CacheSnapshot ci-1 is created"); got != tt.waits {
			t.Errorf("%s: %q", name, Sufficient(cache, o).Message)
		}
	}
}
