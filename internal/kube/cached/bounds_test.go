package cached

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestMemory holds what a value needs beside itself.
func TestMemory(t *testing.T) {
	type pair struct {
		A string
		B *int64
	}
	word := int(reflect.TypeFor[string]().Size())
	bytes := make([]byte, 3, 10)
	for name, tt := range map[string]struct {
		value any
		want  int
	}{
		"a number":           {7, 0},
		"a text":             {"four", 4},
		"no pointer":         {(*int64)(nil), 0},
		"a pointer":          {ptr.To[int64](1), 8},
		"a pointer to text":  {ptr.To("four"), word + 4},
		"bytes":              {bytes, 10},
		"texts":              {[]string{"a", "bc"}, 2*word + 3},
		"room for texts":     {make([]string, 1, 4), 4 * word},
		"no texts":           {[]string(nil), 0},
		"a map":              {map[string]string{"a": "bcd"}, 2*word + entry + 4},
		"two entries":        {map[string]string{"a": "b", "c": "d"}, 2*(2*word+entry) + 4},
		"a struct":           {pair{"abc", ptr.To[int64](1)}, 3 + 8},
		"a time":             {time.Now(), 0},
		"values of any kind": {[]any{"abc", nil}, 2*word + word + 3},
	} {
		if got := memory(reflect.ValueOf(tt.value)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestMaxBytes holds from which size on an object is reduced.
func TestMaxBytes(t *testing.T) {
	of := func(size int) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("x", size)}}
	}
	empty := memory(reflect.ValueOf(of(0)))
	for size, want := range map[int]bool{MaxBytes - empty: false, MaxBytes - empty + 1: true} {
		o := of(size)
		if got := Trimmed(o); Reduced(got) != want {
			t.Errorf("an object of %d bytes is reduced: %t", empty+size, !want)
		}
	}
}

// TestMarks holds how many labels, annotations and finalizers of the operator are left,
// and that another's are not.
func TestMarks(t *testing.T) {
	key := func(i int) string { return fmt.Sprintf("%s/%02d", v1alpha1.GroupName, i) }
	all := map[string]string{"other/a": "x", v1alpha1.GroupName + ".other/a": "x"}
	var holds []string
	want := map[string]string{}
	for i := range maxMarks + 1 {
		all[key(i)], holds = "x", append(holds, "other/a", key(i))
		if i < maxMarks {
			want[key(i)] = "x"
		}
	}
	if diff := cmp.Diff(want, marks(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := marks(map[string]string{key(0): strings.Repeat("x", maxMark), key(1): strings.Repeat("x", maxMark+1)}); len(got) != 1 || len(got[key(0)]) != maxMark {
		t.Errorf("of long ones: %v", got)
	}
	if got := marks(map[string]string{v1alpha1.ManagedByLabel: "x"}); len(got) != 1 {
		t.Errorf("the label of what manages it: %v", got)
	}
	left, o := &corev1.ConfigMap{}, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Finalizers: holds}}
	identify(left, o)
	if len(left.Finalizers) != maxMarks || left.Finalizers[0] != key(0) || left.Finalizers[maxMarks-1] != key(maxMarks-1) {
		t.Errorf("finalizers: %v", left.Finalizers)
	}
}

// TestIdentity holds that what is left of an object is still that object.
func TestIdentity(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: "a", UID: "u", ResourceVersion: "7", Generation: 3, CreationTimestamp: at, DeletionTimestamp: &at, GenerateName: "g",
	}}
	want := &corev1.ConfigMap{ObjectMeta: o.ObjectMeta}
	want.GenerateName, want.Labels = "", map[string]string{}
	want.Annotations = map[string]string{reducedAnnotation: "true"}
	left := &corev1.ConfigMap{}
	identify(left, o)
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRemainder holds what is left of the kinds of which lists, indexes and watches need
// more than their identity.
func TestRemainder(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	source := &corev1.TypedLocalObjectReference{Name: "s"}
	from := &corev1.TypedObjectReference{Name: "r"}
	proxy := &v1alpha1.LocalReference{Name: "p"}
	for _, tt := range []struct{ object, want client.Object }{
		{&v1alpha1.GoCache{
			Spec:   v1alpha1.GoCacheSpec{Environment: v1alpha1.Environment{ProxyRef: proxy, Fallback: "None"}},
			Status: v1alpha1.GoCacheStatus{ObservedGeneration: 2, WarmUp: v1alpha1.WarmUpStatus{Sources: []v1alpha1.SourceStatus{{Name: "u"}}}},
		}, &v1alpha1.GoCache{
			Spec:   v1alpha1.GoCacheSpec{Environment: v1alpha1.Environment{ProxyRef: proxy}},
			Status: v1alpha1.GoCacheStatus{ObservedGeneration: 2},
		}},
		{&batchv1.Job{Status: batchv1.JobStatus{
			StartTime: &at, CompletionTime: &at, Active: 1, Ready: ptr.To[int32](2), Succeeded: 3, Failed: 4, Terminating: ptr.To[int32](5), Conditions: []batchv1.JobCondition{{}},
		}}, &batchv1.Job{Status: batchv1.JobStatus{StartTime: &at, CompletionTime: &at, Active: 1, Ready: ptr.To[int32](2), Succeeded: 3, Failed: 4}}},
		{&corev1.PersistentVolumeClaim{
			Spec:   corev1.PersistentVolumeClaimSpec{VolumeName: "v", DataSource: source, DataSourceRef: from, StorageClassName: ptr.To("c"), VolumeMode: ptr.To(corev1.PersistentVolumeBlock)},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, Capacity: corev1.ResourceList{}},
		}, &corev1.PersistentVolumeClaim{
			Spec:   corev1.PersistentVolumeClaimSpec{VolumeName: "v", DataSource: source, DataSourceRef: from, StorageClassName: ptr.To("c")},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
		}},
	} {
		if diff := cmp.Diff(tt.want, remainder(tt.object)); diff != "" {
			t.Errorf("%T (-want +got):\n%s", tt.object, diff)
		}
	}
}
