package cached

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

const (
	// MaxBytes is how much memory an object may need in the cache. The objects of this
	// operator need 10 KiB, with large pod templates some more.
	MaxBytes = 32 << 10

	// reducedAnnotation marks what is left of an object in the cache. A user who sets it
	// on an object has it read from the API server.
	reducedAnnotation = v1alpha1.GroupName + "/reduced-in-cache"

	// maxMarks is how many labels, annotations and finalizers of the operator are left of
	// a reduced object, of each; maxMark is the length of one.
	maxMarks, maxMark = 16, 317
)

// Trim is a transform of a cache. It removes the managers of fields, on which no decision
// depends, reduces an object that needs more than [MaxBytes], and has it share its strings
// with the others.
func Trim(object any) (any, error) {
	o, ok := object.(client.Object)
	if !ok {
		return object, nil // the last known state of a deleted object
	}
	left := Trimmed(o)
	shared.share(left)
	return left, nil
}

// Trimmed is what Trim leaves of an object, which it may change.
func Trimmed[T client.Object](o T) T {
	o.SetManagedFields(nil)
	if memory(reflect.ValueOf(o)) <= MaxBytes {
		return o
	}
	left := remainder(o)
	identify(left, o)
	return left.(T)
}

// Reduced reports whether an object that was read from the cache is not all of it.
func Reduced(o client.Object) bool {
	_, is := o.GetAnnotations()[reducedAnnotation]
	return is
}

// remainder is what of a large object is needed without a read of the object itself: in
// lists, indexes and watches. The schema bounds what is left of the operator's own
// kinds; the operator alone writes their status.
func remainder(object client.Object) client.Object {
	switch o := object.(type) {
	case *v1alpha1.GoCache:
		left := &v1alpha1.GoCache{Status: o.Status}
		left.Spec.Suspend, left.Spec.Source, left.Spec.Environment.ProxyRef = o.Spec.Suspend, o.Spec.Source, o.Spec.Environment.ProxyRef
		left.Status.WarmUp.Sources = nil
		if s := o.Spec.Snapshots; s != nil { // metrics show when a repetition is due
			left.Spec.Snapshots = &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Repeat: s.Verification.Repeat}}
		}
		return left
	case *v1alpha1.CacheSnapshot:
		left := &v1alpha1.CacheSnapshot{Spec: o.Spec, Status: o.Status}
		left.Spec.PodTemplate = nil
		return left
	case *v1alpha1.ModProxy:
		left := &v1alpha1.ModProxy{Status: o.Status}
		left.Spec.Suspend = o.Spec.Suspend
		return left
	case *v1alpha1.CacheRequest:
		return &v1alpha1.CacheRequest{Spec: o.Spec, Status: o.Status}
	case *batchv1.Job:
		s := o.Status
		return &batchv1.Job{Status: batchv1.JobStatus{StartTime: s.StartTime, CompletionTime: s.CompletionTime, Active: s.Active, Ready: s.Ready, Succeeded: s.Succeeded, Failed: s.Failed}}
	case *corev1.PersistentVolumeClaim:
		left := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: o.Status.Phase}}
		left.Spec = corev1.PersistentVolumeClaimSpec{VolumeName: o.Spec.VolumeName, DataSource: o.Spec.DataSource, DataSourceRef: o.Spec.DataSourceRef, StorageClassName: o.Spec.StorageClassName}
		return left
	case *metav1.PartialObjectMetadata:
		return &metav1.PartialObjectMetadata{TypeMeta: o.TypeMeta}
	}
	return reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
}

// identify gives what is left of an object its identity, its controller and the marks of
// the operator.
func identify(left, o client.Object) {
	left.SetNamespace(o.GetNamespace())
	left.SetName(o.GetName())
	left.SetUID(o.GetUID())
	left.SetResourceVersion(o.GetResourceVersion())
	left.SetGeneration(o.GetGeneration())
	left.SetCreationTimestamp(o.GetCreationTimestamp())
	left.SetDeletionTimestamp(o.GetDeletionTimestamp())
	if controller := metav1.GetControllerOf(o); controller != nil {
		left.SetOwnerReferences([]metav1.OwnerReference{*controller})
	}
	left.SetLabels(marks(o.GetLabels()))
	annotations := marks(o.GetAnnotations())
	annotations[reducedAnnotation] = "true"
	left.SetAnnotations(annotations)
	var finalizers []string
	for _, f := range o.GetFinalizers() {
		if own(f) && len(finalizers) < maxMarks {
			finalizers = append(finalizers, f)
		}
	}
	left.SetFinalizers(finalizers)
}

// marks are the labels or annotations of the operator, as many as are ever set.
func marks(all map[string]string) map[string]string {
	left := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if own(key) && len(all[key]) <= maxMark && len(left) < maxMarks {
			left[key] = all[key]
		}
	}
	return left
}

func own(key string) bool {
	return key == v1alpha1.ManagedByLabel || strings.HasPrefix(key, v1alpha1.GroupName+"/")
}

// entry is what a map needs for each of its entries, beside the key and the value.
const entry = 16

// memory is how many bytes a value refers to, about.
func memory(v reflect.Value) int {
	switch v.Kind() { //nolint:exhaustive // the rest are numbers
	case reflect.String:
		return v.Len()
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int(v.Elem().Type().Size()) + memory(v.Elem())
	case reflect.Slice:
		sum := v.Cap() * int(v.Type().Elem().Size())
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return sum
		}
		for i := range v.Len() {
			sum += memory(v.Index(i))
		}
		return sum
	case reflect.Map:
		sum := v.Len() * (int(v.Type().Key().Size()+v.Type().Elem().Size()) + entry)
		for i := v.MapRange(); i.Next(); {
			sum += memory(i.Key()) + memory(i.Value())
		}
		return sum
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() { // refers to the time zone, which is shared
			return 0
		}
		sum := 0
		for i := range v.NumField() {
			sum += memory(v.Field(i))
		}
		return sum
	default: // numbers, which are a part of what refers to them
		return 0
	}
}
