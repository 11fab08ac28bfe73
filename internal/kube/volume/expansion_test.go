package volume

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// TestExpandedByNextPod holds that only a driver which has expanded the volume leaves the
// rest to the next pod.
func TestExpandedByNextPod(t *testing.T) {
	for name, tt := range map[string]struct {
		kind   corev1.PersistentVolumeClaimConditionType
		status corev1.ConditionStatus
		want   bool
	}{
		"the file system is left":    {corev1.PersistentVolumeClaimFileSystemResizePending, corev1.ConditionTrue, true},
		"it was":                     {corev1.PersistentVolumeClaimFileSystemResizePending, corev1.ConditionFalse, false},
		"the driver is not done yet": {corev1.PersistentVolumeClaimResizing, corev1.ConditionTrue, false},
	} {
		claim := pvc("ci", func(p *corev1.PersistentVolumeClaim) {
			p.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "Other", Status: corev1.ConditionTrue}, {Type: tt.kind, Status: tt.status}}
		})
		if got := ExpandedByNextPod(claim); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if ExpandedByNextPod(pvc("ci")) {
		t.Error("without a condition")
	}
}

// TestIdentity holds what is kept of a pod that uses a PVC: what it is evicted by and
// belongs to, and no more.
func TestIdentity(t *testing.T) {
	pod := consumer("n", "a", corev1.Volume{Name: "v"})
	pod.Annotations = map[string]string{"large": "x"}
	pod.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci", "app": "x"}
	controller := metav1.OwnerReference{Kind: "Job", Name: "j", UID: "1", Controller: ptr.To(true)}
	pod.OwnerReferences = []metav1.OwnerReference{{Kind: "Other", Name: "o", UID: "2"}, controller}
	pod.DeletionTimestamp = &metav1.Time{Time: now}
	want := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: "a", UID: "a-uid", DeletionTimestamp: pod.DeletionTimestamp, OwnerReferences: []metav1.OwnerReference{controller},
		Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"},
	}}
	if diff := cmp.Diff(want, identity(pod)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := identity(consumer("n", "b")); got.Labels != nil || got.OwnerReferences != nil || got.DeletionTimestamp != nil {
		t.Errorf("of a pod alone: %+v", got)
	}
}
