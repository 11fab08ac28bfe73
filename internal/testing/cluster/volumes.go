package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/testing/env"
)

const (
	// NamespaceLabel marks the volumes of the namespace that is played in.
	NamespaceLabel = "test.gocache.dev/namespace"
	// ContentAnnotation of a volume names the CSI snapshot that it was made from.
	ContentAnnotation = "test.gocache.dev/content"
)

// Volumes are the persistent volumes of the namespace, by name.
func (c *Cluster) Volumes(ctx context.Context) (map[string]*corev1.PersistentVolume, error) {
	var list corev1.PersistentVolumeList
	if err := c.Client.List(ctx, &list, client.MatchingLabels{NamespaceLabel: c.Namespace}); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	volumes := map[string]*corev1.PersistentVolume{}
	for i := range list.Items {
		volumes[list.Items[i].Name] = &list.Items[i]
	}
	return volumes, nil
}

func (c *Cluster) claims(ctx context.Context) ([]corev1.PersistentVolumeClaim, error) {
	var claims corev1.PersistentVolumeClaimList
	if err := c.Client.List(ctx, &claims, client.InNamespace(c.Namespace)); err != nil {
		return nil, fmt.Errorf("list PVCs: %w", err)
	}
	return claims.Items, nil
}

// bindVolumes plays what the volume controller and the provisioner do with
// volumes. A volume with a claimRef that has no uid is Available and waits for
// a PVC of that name; one without a claimRef is free for any PVC; one whose PVC is
// gone is Released, and its policy decides about it.
func (c *Cluster) bindVolumes(ctx context.Context) (acted bool, err error) {
	volumes, err := c.Volumes(ctx)
	if err != nil {
		return false, err
	}
	claims, err := c.claims(ctx)
	if err != nil {
		return false, err
	}
	for _, pv := range volumes {
		did, err := c.bindVolume(ctx, pv, claims)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return acted, fmt.Errorf("volume %s: %w", pv.Name, err)
		}
		acted = acted || did
	}
	return acted, nil
}

func (c *Cluster) bindVolume(ctx context.Context, pv *corev1.PersistentVolume, claims []corev1.PersistentVolumeClaim) (acted bool, err error) {
	phase := corev1.VolumeAvailable
	if ref := pv.Spec.ClaimRef; ref != nil && ref.UID != "" {
		phase = corev1.VolumeReleased
		if slices.ContainsFunc(claims, func(p corev1.PersistentVolumeClaim) bool { return p.UID == ref.UID }) {
			phase = corev1.VolumeBound
		}
	}
	switch {
	case !pv.DeletionTimestamp.IsZero() && phase != corev1.VolumeBound && slices.ContainsFunc(pv.Finalizers, clusterOwn):
		pv.Finalizers = slices.DeleteFunc(pv.Finalizers, clusterOwn)
		return true, c.Client.Update(ctx, pv)
	case pv.Status.Phase != phase:
		pv.Status.Phase = phase
		return true, c.Client.Status().Update(ctx, pv)
	case phase == corev1.VolumeReleased && pv.DeletionTimestamp.IsZero() && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		c.Reclaimed = append(c.Reclaimed, pv.Name)
		return true, c.Client.Delete(ctx, pv)
	}
	return false, nil
}

// bindClaims plays what the volume controller and the provisioner do with
// PVCs. Each is bound at once: no class waits for a consumer.
func (c *Cluster) bindClaims(ctx context.Context) (acted bool, err error) {
	volumes, err := c.Volumes(ctx)
	if err != nil {
		return false, err
	}
	claims, err := c.claims(ctx)
	if err != nil {
		return false, err
	}
	for i := range claims {
		did, err := c.bindClaim(ctx, &claims[i], volumes)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return acted, fmt.Errorf("PVC %s: %w", claims[i].Name, err)
		}
		acted = acted || did
	}
	return acted, nil
}

func (c *Cluster) bindClaim(ctx context.Context, pvc *corev1.PersistentVolumeClaim, volumes map[string]*corev1.PersistentVolume) (acted bool, err error) {
	switch {
	case pvc.Status.Phase == corev1.ClaimBound:
		pv := volumes[pvc.Spec.VolumeName]
		if pv != nil && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == pvc.UID {
			return false, nil
		}
		pvc.Status.Phase = corev1.ClaimLost
		return true, c.Client.Status().Update(ctx, pvc)
	case pvc.Status.Phase == corev1.ClaimLost || !pvc.DeletionTimestamp.IsZero():
		return false, nil
	}
	pv := choose(pvc, volumes)
	if pv == nil && pvc.Spec.VolumeName == "" && (c.Unbound == nil || !c.Unbound(pvc)) {
		pv, err = c.provision(ctx, pvc)
		if err != nil || pv == nil {
			return false, err
		}
		volumes[pv.Name] = pv
	}
	if pv == nil {
		return false, nil
	}
	return true, c.bind(ctx, pvc, pv)
}

// choose is the volume that a PVC is bound to without a new one being made:
// the one that it names if that is free or its own, or one that is reserved for
// it, or any that is free.
func choose(pvc *corev1.PersistentVolumeClaim, volumes map[string]*corev1.PersistentVolume) *corev1.PersistentVolume {
	mine := func(pv *corev1.PersistentVolume) bool {
		ref := pv.Spec.ClaimRef
		return ref == nil || ref.Namespace == pvc.Namespace && ref.Name == pvc.Name && (ref.UID == "" || ref.UID == pvc.UID)
	}
	if pvc.Spec.VolumeName != "" {
		if pv := volumes[pvc.Spec.VolumeName]; pv != nil && mine(pv) {
			return pv
		}
		return nil
	}
	for _, pv := range volumes {
		if mine(pv) && pv.DeletionTimestamp.IsZero() && pv.Spec.StorageClassName == ptr.Deref(pvc.Spec.StorageClassName, "") &&
			pv.Spec.Capacity.Storage().Cmp(*pvc.Spec.Resources.Requests.Storage()) >= 0 {
			return pv
		}
	}
	return nil
}

// provision makes a volume with its PVC already in it. From a CSI snapshot
// that does not exist, or is not ready, none can be made.
func (c *Cluster) provision(ctx context.Context, pvc *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + string(pvc.UID), Labels: map[string]string{NamespaceLabel: c.Namespace}, Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: pvc.Spec.AccessModes, Capacity: pvc.Spec.Resources.Requests, StorageClassName: ptr.Deref(pvc.Spec.StorageClassName, ""),
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, NodeAffinity: c.Affinity,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: cmp.Or(c.Driver, env.Driver), VolumeHandle: string(pvc.UID)}},
			ClaimRef:               &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID},
		},
	}
	if c.ReclaimPolicy != "" {
		pv.Spec.PersistentVolumeReclaimPolicy = c.ReclaimPolicy
	}
	if from := pvc.Spec.DataSource; from != nil {
		ready, err := c.restorable(ctx, from.Name)
		if err != nil || !ready {
			return nil, err
		}
		pv.Annotations[ContentAnnotation] = from.Name
	}
	err := c.Client.Create(ctx, pv)
	if apierrors.IsAlreadyExists(err) {
		return pv, c.Client.Get(ctx, client.ObjectKeyFromObject(pv), pv)
	}
	return pv, err
}

func (c *Cluster) bind(ctx context.Context, pvc *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) error {
	if ref := pv.Spec.ClaimRef; ref == nil || ref.UID == "" {
		pv.Spec.ClaimRef = &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID}
		if err := c.Client.Update(ctx, pv); err != nil {
			return err
		}
	}
	if pv.Status.Phase != corev1.VolumeBound {
		pv.Status.Phase = corev1.VolumeBound
		if err := c.Client.Status().Update(ctx, pv); err != nil {
			return err
		}
	}
	if pvc.Spec.VolumeName == "" {
		pvc.Spec.VolumeName = pv.Name
		if err := c.Client.Update(ctx, pvc); err != nil {
			return err
		}
	}
	pvc.Status.Phase = corev1.ClaimBound
	pvc.Status.AccessModes = pvc.Spec.AccessModes
	pvc.Status.Capacity = pv.Spec.Capacity
	return c.Client.Status().Update(ctx, pvc)
}
