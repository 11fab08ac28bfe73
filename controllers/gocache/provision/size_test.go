package provision

import (
	"context"
	"errors"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

// TestSizeOf holds what size a PVC is asked to have: never less than it has, and not
// more where its class forbids that, or while a snapshot of it is created.
func TestSizeOf(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	pending := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "vs", CreationTimestamp: metav1.NewTime(now)}}
	pending.Spec.Source.PersistentVolumeClaimName = ptr.To("ci")
	grown := func(c *v1alpha1.GoCache, o *pass.Observed) {
		c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("3Gi")}
		o.Stored = c.DeepCopy()
	}
	larger := func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Size = resource.MustParse("2Gi") }
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		rigid  bool // the class does not expand
		also   client.Object
		want   string
		wakes  time.Duration
	}{
		"as it is":             {func(*v1alpha1.GoCache, *pass.Observed) {}, false, nil, "1Gi", 0},
		"less":                 {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Size = resource.MustParse("512Mi") }, false, nil, "1Gi", 0},
		"more":                 {larger, false, nil, "2Gi", 0},
		"more, and no class":   {larger, true, nil, "1Gi", time.Minute},
		"less, and no class":   {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Size = resource.MustParse("512Mi") }, true, nil, "1Gi", 0},
		"grown":                {grown, false, nil, "3Gi", 0},
		"more with a snapshot": {larger, false, pending, "1Gi", 15 * time.Second},
		"grown, and not stored": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("3Gi")}
		}, false, nil, "1Gi", 0},
		"more, of one that has no volume": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			larger(c, o)
			o.PVC.Spec.VolumeName, o.PVC.Status.Phase = "", corev1.ClaimPending
		}, true, pending, "2Gi", 0},
	} {
		cache, o := bound()
		cache.Namespace, cache.Status.Storage.Growth = "n", nil
		o.Stored = cache.DeepCopy()
		tt.change(cache, &o)
		objects := []client.Object{&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, AllowVolumeExpansion: ptr.To(!tt.rigid)}}
		if tt.also != nil {
			objects = append(objects, tt.also)
		}
		var out Result
		got, err := Reconciler{Live: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()}.sizeOf(t.Context(), cache, o, &out)
		if err != nil || got.String() != tt.want || out.Wake != tt.wakes || (out.NotExpandable != "") != (tt.rigid && tt.wakes > 0) {
			t.Errorf("%s: %s, %v, %+v", name, got.String(), err, out)
		}
	}
	cache, o := bound()
	larger(cache, &o)
	fails := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("for a moment")
		},
	})
	if _, err := (Reconciler{Live: fails}).sizeOf(t.Context(), cache, o, &Result{}); err == nil {
		t.Error("a class that cannot be read is taken for one that expands")
	}
}

// TestBeingCreated holds that an expansion waits for a snapshot that is young.
func TestBeingCreated(t *testing.T) {
	for name, tt := range map[string]struct {
		age     time.Duration
		created bool
		want    string
	}{"young": {time.Minute, false, "s"}, "created": {time.Minute, true, ""}, "at the limit": {10 * time.Minute, false, ""}, "before the limit": {10*time.Minute - time.Second, false, "s"}} {
		s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "s", CreationTimestamp: metav1.NewTime(now.Add(-tt.age))}}
		if tt.created {
			s.Status.CreationTime = ptr.To(metav1.NewTime(now))
		}
		if got := beingCreated(pass.Observed{Now: now, Snapshots: []v1alpha1.CacheSnapshot{s}}); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
