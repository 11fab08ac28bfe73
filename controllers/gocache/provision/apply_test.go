package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/testing/failing"
)

var errBroken = errors.New("the server is down")

// reconciler works on an API server with these objects, and a class that expands.
func reconciler(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) Reconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	objects = append(objects, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, AllowVolumeExpansion: ptr.To(true)})
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return Reconciler{Client: c, Live: c, FieldOwner: "test"}
}

// TestApplyPVC holds when the PVC is created, asked to grow, deleted and created again,
// or left as it is.
func TestApplyPVC(t *testing.T) {
	larger := func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("2Gi") }
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		want   string // its size; empty: there is none
		owned  bool
		event  string
	}{
		"there is none": {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC = nil }, "1Gi", false, ""},
		"it is deleted with its GoCache": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			o.PVC = nil
			c.Spec.Storage.DeletionPolicy = v1alpha1.DeletionDelete
		}, "1Gi", true, ""},
		"it is created on what is restored": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			o.PVC = nil
			c.Spec.Restore = &v1alpha1.Restore{RequestID: "1"}
		}, "", false, ""},
		"it exists, and is to be restored": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			larger(c)
			c.Spec.Restore = &v1alpha1.Restore{RequestID: "1"}
		}, "2Gi", false, ""},
		"its volume is being replaced": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			larger(c)
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}, "1Gi", false, ""},
		"it is being deleted": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			larger(c)
			o.PVC.DeletionTimestamp = &metav1.Time{Time: now}
		}, "1Gi", false, ""},
		"more is needed": {func(c *v1alpha1.GoCache, _ *pass.Observed) { larger(c) }, "2Gi", false, ""},
		"another class": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			larger(c)
			c.Spec.Storage.StorageClassName = ptr.To("slow")
		}, "2Gi", false, ""},
		"it never had a volume": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			larger(c)
			o.PVC.Spec.VolumeName, o.PVC.Status.Phase = "", corev1.ClaimPending
		}, "", false, "PVCDeleted"},
	} {
		cache, o := bound()
		cache.Namespace, cache.UID, cache.Spec.Storage.Growth = "n", "cache-uid", nil
		cache.Spec.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		o.PVC.Namespace, o.PVC.Labels = "n", map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
		o.Stored = cache.DeepCopy()
		existing := o.PVC.DeepCopy()
		tt.change(cache, &o)
		var objects []client.Object
		if o.PVC != nil {
			objects = append(objects, existing)
		}
		r := reconciler(t, interceptor.Funcs{}, objects...)
		if o.PVC != nil {
			o.PVC.ResourceVersion = "999"
		}
		var out Result
		if err := r.applyPVC(t.Context(), cache, o, &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pvc, err := read.Object[corev1.PersistentVolumeClaim](t.Context(), r.Live, "n", "ci")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if pvc != nil {
			size := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
			got = size.String()
			if name == "there is none" && (len(pvc.Spec.AccessModes) != 1 || pvc.Labels[v1alpha1.CacheLabel] != "ci" || pvc.Spec.StorageClassName != nil) {
				t.Errorf("%s: created %+v", name, pvc)
			}
			if class := ptr.Deref(pvc.Spec.StorageClassName, ""); o.PVC != nil && class != "fast" {
				t.Errorf("%s: class %q", name, class)
			}
		}
		if got != tt.want || (pvc != nil && metav1.IsControlledBy(pvc, cache)) != tt.owned {
			t.Errorf("%s: size %q, want %q; %+v", name, got, tt.want, pvc)
		}
		if text := fmt.Sprint(out.Events); !strings.Contains(text, tt.event) || (len(out.Events) > 0) != (tt.event != "") {
			t.Errorf("%s: events %s", name, text)
		}
	}
}

// TestApplyPVCFails holds that a refusal of growth is recorded, and any other error is
// returned.
func TestApplyPVCFails(t *testing.T) {
	failing := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return err
		}}
	}
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "ci", errors.New("quota"))
	for name, tt := range map[string]struct {
		err     error
		refused bool
	}{"refused": {quota, true}, "broken": {errBroken, false}} {
		cache, o := bound()
		cache.Namespace = "n"
		cache.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi")}
		o.Stored = cache.DeepCopy()
		o.PVC.Namespace = "n"
		r := reconciler(t, failing(tt.err))
		err := r.applyPVC(t.Context(), cache, o, &Result{})
		if refused := cache.Status.Storage.Growth.Refused != ""; refused != tt.refused || (err == nil) != tt.refused {
			t.Errorf("%s: %v, recorded %t", name, err, refused)
		}
	}
	cache, o := bound()
	cache.Namespace, cache.Spec.Storage.Size = "n", resource.MustParse("2Gi")
	r := reconciler(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errBroken
	}})
	if err := r.applyPVC(t.Context(), cache, o, &Result{}); !errors.Is(err, errBroken) {
		t.Errorf("a class that cannot be read: %v", err)
	}
	o.PVC.Spec.VolumeName, o.PVC.Status.Phase = "", corev1.ClaimPending
	r = reconciler(t, interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return errBroken }})
	var out Result
	if err := r.applyPVC(t.Context(), cache, o, &out); !errors.Is(err, errBroken) || len(out.Events) > 0 {
		t.Errorf("a PVC that cannot be deleted: %v, %v", err, out.Events)
	}
}

// TestPublishEnvironment holds that builds get their environment, and none that the
// operator does not have yet or that leads around a policy.
func TestPublishEnvironment(t *testing.T) {
	cache, o := bound()
	cache.Namespace, cache.UID = "n", "cache-uid"
	cache.Spec.Layers = []v1alpha1.CacheLayer{v1alpha1.LayerModules}
	cache.Spec.Environment = v1alpha1.Environment{MountPath: "/gocache", Fallback: v1alpha1.FallbackDirect, ProxyRef: &v1alpha1.LocalReference{Name: "goproxy"}}
	environment := func(r Reconciler, name string) map[string]string {
		cm, err := read.Object[corev1.ConfigMap](t.Context(), r.Live, "n", name)
		if err != nil {
			t.Fatal(err)
		}
		if cm == nil {
			return nil
		}
		if !metav1.IsControlledBy(cm, cache) || cm.Labels[v1alpha1.CacheLabel] != "ci" {
			t.Errorf("%+v", cm.ObjectMeta)
		}
		return cm.Data
	}
	o.ProxyMissing = "it has no address"
	r := reconciler(t, interceptor.Funcs{})
	if err := r.PublishEnvironment(t.Context(), cache, o); err != nil || environment(r, "ci-env") != nil {
		t.Errorf("without an address: %v", err)
	}
	o.ProxyMissing, o.Proxy = "", "http://goproxy.n.svc"
	if err := r.PublishEnvironment(t.Context(), cache, o); err != nil || environment(r, "ci-env")["GOPROXY"] != "http://goproxy.n.svc|direct" || environment(r, "ci-env-offline")["GOPROXY"] == environment(r, "ci-env")["GOPROXY"] {
		t.Errorf("%v, %v, %v", err, environment(r, "ci-env"), environment(r, "ci-env-offline"))
	}
	o.ProxyEnforces = true
	err := r.PublishEnvironment(t.Context(), cache, o)
	const want = "spec.environment.fallback Direct is left out of GOPROXY: the go command would get from it what the policy of ModProxy goproxy refuses. Set fallback to None, or the policy to DryRun"
	if stalled := conditions.Stalled(err); stalled == nil || stalled.Reason != v1alpha1.ReasonInvalidSpec || stalled.Message != want || environment(r, "ci-env")["GOPROXY"] != "http://goproxy.n.svc" {
		t.Errorf("beside a policy: %v, %v", err, environment(r, "ci-env"))
	}
	r = reconciler(t, interceptor.Funcs{Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
		return errBroken
	}})
	if err := r.PublishEnvironment(t.Context(), cache, o); !errors.Is(err, errBroken) {
		t.Errorf("a ConfigMap that cannot be written: %v", err)
	}
}

// TestReconcile holds that a part that fails does not keep the others from theirs.
func TestReconcile(t *testing.T) {
	cache, o := bound()
	cache.Namespace, cache.UID, cache.Spec.Environment.Fallback = "n", "cache-uid", v1alpha1.FallbackDirect
	cache.Spec.Environment.ProxyRef = &v1alpha1.LocalReference{Name: "goproxy"}
	o.ProxyEnforces, o.PVC = true, nil
	cache.Status.Storage.Growth = nil
	r := reconciler(t, interceptor.Funcs{})
	_, err := r.Reconcile(t.Context(), cache, o)
	pvc, readErr := read.Object[corev1.PersistentVolumeClaim](t.Context(), r.Live, "n", "ci")
	if conditions.Stalled(err) == nil || readErr != nil || pvc == nil {
		t.Errorf("%v, %v, PVC %v", err, readErr, pvc)
	}
	cache, o = bound()
	cache.Namespace = "n"
	r = reconciler(t, interceptor.Funcs{Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
		return errBroken
	}})
	if _, err := r.Reconcile(t.Context(), cache, o); !errors.Is(err, errBroken) || cache.Status.Storage.Growth == nil {
		t.Errorf("%v, growth %+v", err, cache.Status.Storage.Growth)
	}
}

// TestRecordGrowth holds that a size is recorded once, with what it is needed for, and
// that a refused one rests.
func TestRecordGrowth(t *testing.T) {
	before := metav1.NewTime(now.Add(-time.Minute))
	inodes := func(c *v1alpha1.GoCache) {
		c.Status.Storage.UsedPercent, c.Status.Storage.Inodes, c.Status.Storage.InodesUsed = ptr.To[int32](10), ptr.To[int64](100), ptr.To[int64](99)
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache)
		want   *v1alpha1.GrowthStatus
		wake   time.Duration
	}{
		"enough room": {func(c *v1alpha1.GoCache) { c.Status.Storage.UsedPercent = ptr.To[int32](10) }, nil, 0},
		"no rule":     {func(c *v1alpha1.GoCache) { c.Spec.Storage.Growth = nil }, nil, 0},
		"no capacity": {func(c *v1alpha1.GoCache) { c.Status.Storage.Capacity = nil }, nil, 0},
		"for bytes":   {func(*v1alpha1.GoCache) {}, &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: metav1.NewTime(now)}, 0},
		"for inodes":  {inodes, &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: metav1.NewTime(now), Inodes: ptr.To[int64](100)}, 0},
		"recorded already": {func(c *v1alpha1.GoCache) {
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: before}
		},
			&v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: before}, 0},
		"another size": {func(c *v1alpha1.GoCache) {
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("1Gi"), Time: before}
		},
			&v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: metav1.NewTime(now)}, 0},
		"refused a minute ago": {func(c *v1alpha1.GoCache) {
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: before, Refused: "quota"}
		},
			&v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: before, Refused: "quota"}, 59 * time.Minute},
		"refused an hour ago": {func(c *v1alpha1.GoCache) {
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: metav1.NewTime(now.Add(-time.Hour)), Refused: "quota"}
		}, &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Time: metav1.NewTime(now)}, 0},
	} {
		cache, o := bound()
		tt.change(cache)
		var out Result
		recordGrowth(cache, o, &out)
		got := cache.Status.Storage.Growth
		if (got == nil) != (tt.want == nil) || out.Wake != tt.wake {
			t.Errorf("%s: %+v, wakes in %s", name, got, out.Wake)
		} else if got != nil && (got.Size.Cmp(tt.want.Size) != 0 || !got.Time.Equal(&tt.want.Time) || got.Refused != tt.want.Refused || ptr.Deref(got.Inodes, 0) != ptr.Deref(tt.want.Inodes, 0)) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestRecord holds what is recorded of the size and the class that the volume was made
// with.
func TestRecord(t *testing.T) {
	applied := func(text string) *resource.Quantity { return ptr.To(resource.MustParse(text)) }
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		want   string
	}{
		"as it is":                {func(*v1alpha1.GoCache, *pass.Observed) {}, "1Gi"},
		"the first time":          {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.Storage.AppliedSize = nil }, "1Gi"},
		"more, not asked for yet": {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Size = resource.MustParse("2Gi") }, "1Gi"},
		"more": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Spec.Storage.Size = resource.MustParse("2Gi")
			o.PVC.Spec.Resources = size("2Gi")
		}, "2Gi"},
		"less":                     {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Size = resource.MustParse("512Mi") }, "1Gi"},
		"the volume has grown":     {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC.Spec.Resources = size("3Gi") }, "1Gi"},
		"more was applied earlier": {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.Storage.AppliedSize = applied("2Gi") }, "2Gi"},
	} {
		cache, o := bound()
		tt.change(cache, &o)
		Record(cache, o)
		if s := cache.Status.Storage; s.AppliedSize == nil || s.AppliedSize.String() != tt.want || s.AppliedClass != "fast" || s.PersistentVolumeClaimName != "ci" || s.Capacity.String() != "1Gi" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	cache, o := bound()
	cache.Status.Storage.Inodes, cache.Status.Storage.Growth = ptr.To[int64](1), &v1alpha1.GrowthStatus{}
	if Record(cache, o); cache.Status.Storage.UsedPercent == nil || cache.Status.Storage.Inodes == nil || cache.Status.Storage.Growth == nil {
		t.Errorf("what was measured on the same volume is lost: %+v", cache.Status.Storage)
	}
	o.PVC.Spec.VolumeName = "v2"
	if Record(cache, o); cache.Status.Storage.Inodes != nil || cache.Status.Storage.Growth != nil {
		t.Errorf("what was measured on another volume is reported: %+v", cache.Status.Storage)
	}
	cache, o = bound()
	cache.Status.Storage = v1alpha1.CacheStorageStatus{}
	o.PVC.Spec.StorageClassName, o.PVC.Status.Phase = nil, corev1.ClaimPending
	if Record(cache, o); cache.Status.Storage.Capacity != nil || cache.Status.Storage.AppliedSize != nil || cache.Status.Storage.PersistentVolumeClaimName != "ci" {
		t.Errorf("a PVC without a volume has %+v", cache.Status.Storage)
	}
}

// TestEvents holds that growth is an event, and another volume is none.
func TestEvents(t *testing.T) {
	of := func(volume, capacity string) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{}
		c.Status.Storage = v1alpha1.CacheStorageStatus{PersistentVolumeClaimName: "ci", VolumeName: volume}
		if capacity != "" {
			c.Status.Storage.Capacity = ptr.To(resource.MustParse(capacity))
		}
		return c
	}
	for name, tt := range map[string]struct {
		before, after *v1alpha1.GoCache
		want          string
	}{
		"grown":            {of("v1", "1Gi"), of("v1", "2Gi"), "[{Normal StorageGrown Grow PVC ci has grown from 1Gi to 2Gi <nil>}]"},
		"the same":         {of("v1", "1Gi"), of("v1", "1Gi"), "[]"},
		"another volume":   {of("v1", "1Gi"), of("v2", "2Gi"), "[]"},
		"the first volume": {of("v1", ""), of("v1", "2Gi"), "[]"},
		"none any more":    {of("v1", "1Gi"), of("v1", ""), "[]"},
	} {
		if got := fmt.Sprint(Events(tt.before, tt.after)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestSnapshotPending holds that an expansion waits for a snapshot of the PVC that another
// client has requested, but not for long.
func TestSnapshotPending(t *testing.T) {
	for name, tt := range map[string]struct {
		age  time.Duration
		pvc  string
		want bool
	}{"young": {time.Minute, "ci", true}, "old": {11 * time.Minute, "ci", false}, "of another PVC": {time.Minute, "cd", false}} {
		s := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "vs", CreationTimestamp: metav1.NewTime(now.Add(-tt.age))}}
		s.Spec.Source.PersistentVolumeClaimName = ptr.To(tt.pvc)
		cache, o := bound()
		cache.Namespace = "n"
		if got, err := reconciler(t, interceptor.Funcs{}, s).snapshotPending(t.Context(), cache, o); err != nil || got != tt.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
	cache, o := bound()
	broken := reconciler(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errBroken
	}})
	if _, err := broken.snapshotPending(t.Context(), cache, o); !errors.Is(err, errBroken) {
		t.Errorf("snapshots that cannot be read: %v", err)
	}
}

// TestEachFailure holds that no call that fails is taken for one that succeeded.
func TestEachFailure(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.GoCache, *pass.Observed){
		"there is no PVC": func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC = nil },
		"it has to grow":  func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Size = resource.MustParse("2Gi") },
		"it never had a volume": func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Spec.Storage.Size = resource.MustParse("2Gi")
			o.PVC.Spec.VolumeName, o.PVC.Status.Phase = "", corev1.ClaimPending
		},
	} {
		calls := failing.Each(t, func() client.WithWatch {
			_, o := bound()
			o.PVC.Namespace, o.PVC.Labels = "n", map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
			return reconciler(t, interceptor.Funcs{}, o.PVC).Client.(client.WithWatch)
		}, func(c client.Client) error {
			cache, o := bound()
			cache.Namespace, cache.UID, cache.Spec.Storage.Growth = "n", "cache-uid", nil
			cache.Spec.Environment.MountPath, cache.Spec.Layers = "/gocache", []v1alpha1.CacheLayer{v1alpha1.LayerModules}
			cache.Spec.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
			o.PVC.Namespace, o.Stored = "n", cache.DeepCopy()
			change(cache, &o)
			_, err := (Reconciler{Client: c, Live: c, FieldOwner: "test"}).Reconcile(t.Context(), cache, o)
			return err
		})
		if len(calls) < 3 {
			t.Errorf("%s: calls %v", name, calls)
		}
	}
}
