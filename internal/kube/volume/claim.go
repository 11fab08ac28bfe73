package volume

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Claim is the desired state of a PersistentVolumeClaim.
type Claim struct {
	// Namespace, Name and Labels of the PVC.
	Namespace, Name string
	Labels          map[string]string
	// Class of its storage; nil is the cluster's default.
	Class *string
	// AccessModes of it; none is ReadWriteOnce.
	AccessModes []corev1.PersistentVolumeAccessMode
	// Size that it asks for.
	Size resource.Quantity
	// Snapshot is the VolumeSnapshot that it is made from; empty: it begins empty.
	Snapshot string
}

// Object is the PVC as an object to apply.
func (c Claim) Object() *corev1.PersistentVolumeClaim {
	modes := c.AccessModes
	if len(modes) == 0 {
		modes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	}
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, Labels: c.Labels},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      modes,
			StorageClassName: c.Class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: c.Size}},
		},
	}
	if c.Snapshot != "" {
		pvc.Spec.DataSource = &corev1.TypedLocalObjectReference{
			APIGroup: ptr.To(snapshotGroup), Kind: snapshotKind, Name: c.Snapshot,
		}
	}
	return pvc
}

// MadeFrom reports whether a PVC asks for a clone of a VolumeSnapshot. A PVC of that name
// may be what it asks for, too.
func MadeFrom(pvc *corev1.PersistentVolumeClaim, snapshot string) bool {
	from := pvc.Spec.DataSource
	return from != nil && from.Name == snapshot && from.Kind == snapshotKind && ptr.Deref(from.APIGroup, "") == snapshotGroup
}

// Bound reports whether a PVC has its volume.
func Bound(pvc *corev1.PersistentVolumeClaim) bool {
	return pvc != nil && pvc.Status.Phase == corev1.ClaimBound && pvc.DeletionTimestamp.IsZero()
}

// BoundTo names the volume that a PVC is bound to, also while it is on its way
// out; empty: none. What a PVC merely asks for by spec.volumeName was chosen by
// its creator and is no evidence of the owner of the volume.
func BoundTo(pvc *corev1.PersistentVolumeClaim) string {
	if pvc == nil || pvc.Status.Phase != corev1.ClaimBound {
		return ""
	}
	return pvc.Spec.VolumeName
}

// Larger is the larger of two sizes; nil counts as nothing.
func Larger(a, b *resource.Quantity) resource.Quantity {
	switch {
	case a == nil && b == nil:
		return resource.Quantity{}
	case a == nil:
		return b.DeepCopy()
	case b == nil || a.Cmp(*b) >= 0:
		return a.DeepCopy()
	default:
		return b.DeepCopy()
	}
}
