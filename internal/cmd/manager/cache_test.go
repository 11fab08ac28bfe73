package manager

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/cached"
)

// foreign is a PVC of a CI runner, as a cluster has many: applied by a client
// that keeps what it applied, and bound.
func foreign(i int) *corev1.PersistentVolumeClaim {
	fields := &metav1.FieldsV1{}
	fields.SetRawString(strings.Repeat("{}", 200))
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ci", Name: fmt.Sprint("runner-work-", i), UID: types.UID(fmt.Sprint("uid-", i)), ResourceVersion: fmt.Sprint(i),
			Labels: map[string]string{"app": fmt.Sprint("runner-", i), "pipeline": fmt.Sprint(i)},
			Annotations: map[string]string{
				"kubectl.kubernetes.io/last-applied-configuration": fmt.Sprint(i, strings.Repeat("{\"apiVersion\":\"v1\"}", 50)),
				"pv.kubernetes.io/bind-completed":                  fmt.Sprint("yes", i),
			},
			Finalizers:    []string{"kubernetes.io/pvc-protection"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: fields}},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(fmt.Sprint("class-", i%7)),
			Resources:  corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
			VolumeName: fmt.Sprint("pvc-", i),
		},
		Status: corev1.PersistentVolumeClaimStatus{
			Phase: corev1.ClaimBound, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
		},
	}
}

// TestForeignClaimsAreTrimmed holds what the cache keeps of a PVC: all of one
// that the operator made, fills or has marked, and the identity of any other.
func TestForeignClaimsAreTrimmed(t *testing.T) {
	for name, mark := range map[string]func(*corev1.PersistentVolumeClaim){
		"made by the operator":    func(c *corev1.PersistentVolumeClaim) { c.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue },
		"of a cache":              func(c *corev1.PersistentVolumeClaim) { c.Labels[v1alpha1.CacheLabel] = "ci" },
		"marked by an annotation": func(c *corev1.PersistentVolumeClaim) { c.Annotations[v1alpha1.PopulatedFromAnnotation] = "ci-1" },
		"to be filled": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: v1alpha1.GoCacheKind, Name: "ci"}
		},
		"owned by a GoCache": func(c *corev1.PersistentVolumeClaim) {
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.GoCacheKind, Name: "ci"}}
		},
		"held by a finalizer": func(c *corev1.PersistentVolumeClaim) { c.Finalizers = append(c.Finalizers, v1alpha1.GroupName+"/x") },
	} {
		claim := foreign(1)
		mark(claim)
		want := claim.DeepCopy()
		want.ManagedFields = nil
		got := trimForeign(claim)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	got := trimForeign(foreign(1))
	want := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "runner-work-1", UID: "uid-1", ResourceVersion: "1"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pvc-1"}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a foreign claim (-want +got):\n%s", diff)
	}
	gone := toolscache.DeletedFinalStateUnknown{Key: "ci/runner-work-1"}
	if got, err := trimPVC(gone); err != nil || got != gone {
		t.Errorf("the last state of a deleted claim: %v, %v", got, err)
	}
	for object, by := range (&options{}).manager().Cache.ByObject {
		if _, is := object.(*corev1.PersistentVolumeClaim); is && by.Transform != nil {
			return
		}
	}
	t.Error("the cache does not trim claims")
}

// TestLargeObjectsAreReduced holds that the cache of the manager reduces large objects of every
// kind, and that its client reads all of one.
func TestLargeObjectsAreReduced(t *testing.T) {
	o := (&options{}).manager()
	large := metav1.ObjectMeta{Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}, Annotations: map[string]string{"x": strings.Repeat("x", 64<<10)}}
	for object, by := range o.Cache.ByObject {
		transform := by.Transform
		if transform == nil {
			transform = o.Cache.DefaultTransform
		}
		object = object.DeepCopyObject().(client.Object)
		object.SetLabels(large.Labels)
		object.SetAnnotations(large.Annotations)
		got, err := transform(object)
		if err != nil || !cached.Reduced(got.(client.Object)) {
			t.Errorf("a large %T is cached, %v", object, err)
		}
	}
	got, err := o.Cache.DefaultTransform(&v1alpha1.GoCache{ObjectMeta: large})
	if err != nil || !cached.Reduced(got.(client.Object)) || o.NewClient == nil {
		t.Errorf("a large GoCache is cached, %v; a client that reads all of it: %v", err, o.NewClient != nil)
	}
}

// TestMemoryOfForeignClaims holds that 20,000 foreign PVCs cost the manager a
// third, at most, of what they are.
func TestMemoryOfForeignClaims(t *testing.T) {
	const n = 20_000
	held := func(keep func(*corev1.PersistentVolumeClaim) any) int64 {
		var before, after runtime.MemStats
		all := make([]any, n)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range all {
			all[i] = keep(foreign(i))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(all)
		return int64(after.HeapAlloc) - int64(before.HeapAlloc)
	}
	full := held(func(c *corev1.PersistentVolumeClaim) any { c.ManagedFields = nil; return c })
	trimmed := held(func(c *corev1.PersistentVolumeClaim) any { return trimForeign(c) })
	t.Logf("%d foreign claims: %d MiB full, %d MiB trimmed", n, full>>20, trimmed>>20)
	if trimmed > full/3 {
		t.Errorf("%d MiB full, %d MiB trimmed, want a third at most", full>>20, trimmed>>20)
	}
}
