package cached_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/cached"
)

// meta is that of an object of the operator, with an annotation of a size.
func meta(size int) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "n", Name: "ci", UID: "u", ResourceVersion: "7", Generation: 3,
		Labels:      map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci", "app": "x"},
		Annotations: map[string]string{"example.com/large": strings.Repeat("x", size), v1alpha1.CauseAnnotation: "schedule"},
		OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Pod", Name: "other", UID: "o"},
			{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.GoCacheKind, Name: "ci", UID: "c", Controller: ptr.To(true)},
		},
		Finalizers:    []string{"example.com/hold", v1alpha1.VolumeReplacementFinalizer},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
}

// left is what is left of meta.
func left() metav1.ObjectMeta {
	m := meta(0)
	m.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
	m.Annotations = map[string]string{v1alpha1.CauseAnnotation: "schedule", v1alpha1.GroupName + "/reduced-in-cache": "true"}
	m.OwnerReferences, m.Finalizers, m.ManagedFields = m.OwnerReferences[1:], m.Finalizers[1:], nil
	return m
}

// TestTrim holds what the cache has of each kind: all of an object of a usual size,
// and of a large one what lists, indexes and watches read.
func TestTrim(t *testing.T) {
	const large = cached.MaxBytes + 1
	template := &v1alpha1.PodTemplate{Annotations: map[string]string{"a": "b"}}
	for _, tt := range []struct{ object, want client.Object }{
		{&v1alpha1.GoCache{ObjectMeta: meta(large), Spec: v1alpha1.GoCacheSpec{Suspend: true, PodTemplate: template}, Status: v1alpha1.GoCacheStatus{ObservedGeneration: 2}},
			&v1alpha1.GoCache{ObjectMeta: left(), Spec: v1alpha1.GoCacheSpec{Suspend: true}, Status: v1alpha1.GoCacheStatus{ObservedGeneration: 2}}},
		{&v1alpha1.GoCache{ObjectMeta: meta(large), Spec: v1alpha1.GoCacheSpec{Snapshots: &v1alpha1.SnapshotPolicy{VolumeSnapshotClassName: ptr.To("fast"), Verification: v1alpha1.Verification{Repeat: &v1alpha1.RepeatPolicy{Snapshots: "Newest"}}}}},
			&v1alpha1.GoCache{ObjectMeta: left(), Spec: v1alpha1.GoCacheSpec{Snapshots: &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Repeat: &v1alpha1.RepeatPolicy{Snapshots: "Newest"}}}}}},
		{&v1alpha1.CacheSnapshot{ObjectMeta: meta(large), Spec: v1alpha1.CacheSnapshotSpec{Pinned: true, PodTemplate: template}},
			&v1alpha1.CacheSnapshot{ObjectMeta: left(), Spec: v1alpha1.CacheSnapshotSpec{Pinned: true}}},
		{&v1alpha1.ModProxy{ObjectMeta: meta(large), Spec: v1alpha1.ModProxySpec{Suspend: true, PodTemplate: template}, Status: v1alpha1.ModProxyStatus{URL: "u"}},
			&v1alpha1.ModProxy{ObjectMeta: left(), Spec: v1alpha1.ModProxySpec{Suspend: true}, Status: v1alpha1.ModProxyStatus{URL: "u"}}},
		{&v1alpha1.CacheRequest{ObjectMeta: meta(large), Spec: v1alpha1.CacheRequestSpec{Argument: "a"}}, &v1alpha1.CacheRequest{ObjectMeta: left(), Spec: v1alpha1.CacheRequestSpec{Argument: "a"}}},
		{&batchv1.Job{ObjectMeta: meta(large), Spec: batchv1.JobSpec{Parallelism: ptr.To[int32](1)}, Status: batchv1.JobStatus{Ready: ptr.To[int32](1)}},
			&batchv1.Job{ObjectMeta: left(), Status: batchv1.JobStatus{Ready: ptr.To[int32](1)}}},
		{&corev1.PersistentVolumeClaim{ObjectMeta: meta(large), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v", VolumeMode: ptr.To(corev1.PersistentVolumeFilesystem)}},
			&corev1.PersistentVolumeClaim{ObjectMeta: left(), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "v"}}},
		{&appsv1.Deployment{ObjectMeta: meta(large), Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](0)}}, &appsv1.Deployment{ObjectMeta: left()}},
		{&snapshotv1.VolumeSnapshot{ObjectMeta: meta(large)}, &snapshotv1.VolumeSnapshot{ObjectMeta: left()}},
		{&metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: meta(large)},
			&metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: left()}},
	} {
		t.Run(fmt.Sprintf("%T", tt.object), func(t *testing.T) {
			usual := tt.object.DeepCopyObject().(client.Object)
			usual.SetAnnotations(nil)
			full := usual.DeepCopyObject().(client.Object)
			full.SetManagedFields(nil)
			for of, want := range map[client.Object]client.Object{usual: full, tt.object: tt.want, tt.want.DeepCopyObject().(client.Object): tt.want} {
				got, err := cached.Trim(of)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if reduced := reflect.DeepEqual(want, tt.want); cached.Reduced(got.(client.Object)) != reduced {
					t.Errorf("Reduced is %v", !reduced)
				}
			}
		})
	}
	gone := cache.DeletedFinalStateUnknown{Key: "n/ci"}
	if got, err := cached.Trim(gone); err != nil || got != gone {
		t.Errorf("the last state of a deleted object: %v, %v", got, err)
	}
}

// TestTrimCounts holds that an object is large whatever it is that makes it so, and
// that what is left of it is small.
func TestTrimCounts(t *testing.T) {
	many := map[string]string{}
	var owners []metav1.OwnerReference
	var holds []string
	var env []corev1.EnvVar
	for i := range 2000 {
		name := fmt.Sprintf("%s/%d", v1alpha1.GroupName, i)
		many[name], holds = strings.Repeat("x", 60), append(holds, name)
		owners = append(owners, metav1.OwnerReference{Name: name})
		env = append(env, corev1.EnvVar{Name: "a"})
	}
	for name, grow := range map[string]func(*appsv1.Deployment){
		"labels":      func(d *appsv1.Deployment) { d.Labels = many },
		"annotations": func(d *appsv1.Deployment) { d.Annotations = many },
		"one of ours": func(d *appsv1.Deployment) {
			d.Annotations = map[string]string{v1alpha1.CauseAnnotation: strings.Repeat("x", 200<<10)}
		},
		"owners":     func(d *appsv1.Deployment) { d.OwnerReferences = owners },
		"finalizers": func(d *appsv1.Deployment) { d.Finalizers = holds },
		"variables":  func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers = []corev1.Container{{Env: env}} },
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "d"}}
		grow(d)
		got, err := cached.Trim(d)
		if err != nil || !cached.Reduced(got.(client.Object)) {
			t.Errorf("%s: not reduced, %v", name, err)
			continue
		}
		if size := got.(*appsv1.Deployment).Size(); size > 4<<10 {
			t.Errorf("%s: %d bytes are left", name, size)
		}
	}
}

// TestGet holds that a read by name gives all of an object, whatever the cache has of it.
func TestGet(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	small := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "small"}, Spec: corev1.ServiceSpec{ClusterIP: "cached"}}
	large := &corev1.Service{ObjectMeta: meta(cached.MaxBytes), Spec: corev1.ServiceSpec{ClusterIP: "live", Ports: []corev1.ServicePort{{Port: 80}}}}
	large.ManagedFields = nil
	full := large.DeepCopy()
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(full).Build()
	left, err := cached.Trim(large)
	if err != nil {
		t.Fatal(err)
	}
	c := cached.Client{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(small, left.(client.Object)).Build(), Live: live}

	get := func(name string) *corev1.Service {
		t.Helper()
		got := &corev1.Service{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: name}, got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := get("small"); got.Spec.ClusterIP != "cached" {
		t.Errorf("a small object is %+v", got)
	}
	got := get("ci")
	if diff := cmp.Diff(full.Annotations, got.Annotations); diff != "" || got.Spec.ClusterIP != "live" || len(got.Spec.Ports) != 1 {
		t.Errorf("a large object is not what the server has:\n%s", diff)
	}
}
