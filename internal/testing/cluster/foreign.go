package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// BoundVolume makes a PersistentVolumeClaim with a volume of its own in some
// namespace, bound as the volume controller leaves both: what another tenant has.
func BoundVolume(ctx context.Context, c client.Client, namespace, name string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume, error) {
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	class := ""
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
			VolumeName: "pv-" + namespace + "-" + name,
			Resources:  corev1.VolumeResourceRequirements{Requests: size},
		},
	}
	if err := c.Create(ctx, pvc); err != nil {
		return nil, nil, fmt.Errorf("create PersistentVolumeClaim %s: %w", name, err)
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: pvc.Spec.VolumeName},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: pvc.Spec.AccessModes, Capacity: size, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "test.csi.gocache.dev", VolumeHandle: string(pvc.UID)}},
			ClaimRef:               &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name, UID: pvc.UID},
		},
	}
	if err := c.Create(ctx, pv); err != nil {
		return nil, nil, fmt.Errorf("create PersistentVolume %s: %w", pv.Name, err)
	}
	pv.Status.Phase = corev1.VolumeBound
	if err := c.Status().Update(ctx, pv); err != nil {
		return nil, nil, fmt.Errorf("bind PersistentVolume %s: %w", pv.Name, err)
	}
	pvc.Status.Phase, pvc.Status.AccessModes, pvc.Status.Capacity = corev1.ClaimBound, pvc.Spec.AccessModes, size
	if err := c.Status().Update(ctx, pvc); err != nil {
		return nil, nil, fmt.Errorf("bind PersistentVolumeClaim %s: %w", name, err)
	}
	return pvc, pv, nil
}
