package volume

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/plan/replacement"
)

// PolicyAnnotation on a volume is the reclaim policy that it had before a
// replacement set it to Retain. It stands there only while the replacement is
// in progress.
const PolicyAnnotation = v1alpha1.GroupName + "/reclaim-policy"

// OwnerAnnotation on a volume is the uid of the object whose replacement
// secured it. It stands beside PolicyAnnotation. Only it, or a PVC that exists
// and has the uid of the volume's claimRef, shows that a volume is the owner's:
// names of PVCs and of volumes are chosen by any client that may create a PVC.
const OwnerAnnotation = v1alpha1.GroupName + "/replacement-owner"

// ReplacementPVC is a PVC as a replacement sees it; nil is none.
func ReplacementPVC(pvc *corev1.PersistentVolumeClaim) replacement.Claim {
	if pvc == nil {
		return replacement.Claim{}
	}
	return replacement.Claim{
		Exists: true, Deleting: !pvc.DeletionTimestamp.IsZero(), Bound: Bound(pvc),
		Volume: pvc.Spec.VolumeName, Made: pvc.CreationTimestamp.Time,
	}
}

// ReplacementPVCs are the three PVCs of a replacement; any may be nil, but the
// names are known.
type ReplacementPVCs struct {
	// Owner is the uid of the object that the PVCs are made for.
	Owner types.UID
	// Namespace of all.
	Namespace string
	// LiveName and PreviousName are what volumes are reserved for, and NextName
	// is what the new one is made through.
	LiveName, NextName, PreviousName string
	// Live, Next and Previous as they are.
	Live, Next, Previous *corev1.PersistentVolumeClaim
}

// ForeignVolumeError means that a volume is not the owner's, and so was not
// written to.
type ForeignVolumeError struct {
	// Volume by name, and the verb that was refused.
	Volume, Verb string
}

// Error does not name the PVC that the volume belongs to: it may be another
// tenant's.
func (e *ForeignVolumeError) Error() string {
	return fmt.Sprintf("%s volume %s: it does not belong to a PersistentVolumeClaim of this object, and is left alone", e.Verb, e.Volume)
}

// Volume is a volume as the replacement sees it; nil is none.
func (c ReplacementPVCs) Volume(pv *corev1.PersistentVolume) replacement.Volume {
	if pv == nil {
		return replacement.Volume{}
	}
	holder := c.holder(pv)
	if holder == replacement.HeldByStranger || holder == replacement.Unheld { // it is not written to in any case
		return replacement.Volume{Exists: true, Deleting: !pv.DeletionTimestamp.IsZero(), Holder: holder}
	}
	_, marked := pv.Annotations[PolicyAnnotation]
	return replacement.Volume{
		Exists: true, Deleting: !pv.DeletionTimestamp.IsZero(),
		Secured: marked && c.secured(pv) && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain,
		Marked:  marked, Holder: holder,
	}
}

// holder is the PVC that a volume belongs to. A claimRef counts by the uid of a
// PVC that exists; one without a uid, or of a PVC that is gone, only if the
// volume was secured for the same owner before.
func (c ReplacementPVCs) holder(pv *corev1.PersistentVolume) replacement.Holder {
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return replacement.Unheld
	}
	if ref.Namespace != c.Namespace {
		return replacement.HeldByStranger
	}
	claims := map[string]struct {
		pvc    *corev1.PersistentVolumeClaim
		holder replacement.Holder
	}{
		c.LiveName:     {c.Live, replacement.HeldByLive},
		c.NextName:     {c.Next, replacement.HeldByNext},
		c.PreviousName: {c.Previous, replacement.HeldByPrevious},
	}
	claim, known := claims[ref.Name]
	switch {
	case !known:
		return replacement.HeldByStranger
	case ref.UID != "" && claim.pvc != nil && claim.pvc.UID == ref.UID:
		return claim.holder
	case !c.secured(pv) && ref.UID == "":
		return replacement.Unheld // a person reserved it for a PVC of that name
	case !c.secured(pv):
		return replacement.HeldByStranger
	case ref.UID == "" && claim.holder != replacement.HeldByNext:
		return claim.holder
	default:
		return replacement.HeldByGone
	}
}

// secured reports whether a replacement of the same owner has secured the
// volume.
func (c ReplacementPVCs) secured(pv *corev1.PersistentVolume) bool {
	return c.Owner != "" && pv.Annotations[OwnerAnnotation] == string(c.Owner)
}

// guard refuses to write to a volume that is not the owner's, whatever was
// decided: the decision may rest on what a tenant can write.
func (c ReplacementPVCs) guard(pv *corev1.PersistentVolume, verb string) error {
	switch c.holder(pv) {
	case replacement.HeldByStranger, replacement.Unheld:
		return &ForeignVolumeError{Volume: pv.Name, Verb: verb}
	case replacement.HeldByGone, replacement.HeldByLive, replacement.HeldByNext, replacement.HeldByPrevious:
	}
	return nil
}

// Secure sets a volume to Retain and records on it the former policy and the
// owner, in one write on top of what was read.
func (c ReplacementPVCs) Secure(ctx context.Context, cl client.Client, pv *corev1.PersistentVolume, fieldOwner string) error {
	if err := c.guard(pv, "secure"); err != nil {
		return err
	}
	annotations := map[string]any{OwnerAnnotation: string(c.Owner)}
	if _, marked := pv.Annotations[PolicyAnnotation]; !marked {
		annotations[PolicyAnnotation] = string(pv.Spec.PersistentVolumeReclaimPolicy)
	}
	return patchVolume(ctx, cl, pv, "secure", fieldOwner, annotations, map[string]any{
		"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimRetain,
	})
}

// Reserve reserves a volume for the PVC of a name that is yet to be made, in
// one write on top of what was read. The claimRef is never absent: a volume
// without one is taken by any pending PVC of its class. Without a uid it
// binds to the next PVC of that name.
func (c ReplacementPVCs) Reserve(ctx context.Context, cl client.Client, pv *corev1.PersistentVolume, claim, fieldOwner string) error {
	if err := c.guard(pv, "reserve"); err != nil {
		return err
	}
	return patchVolume(ctx, cl, pv, "reserve", fieldOwner, map[string]any{}, map[string]any{"claimRef": map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": c.Namespace, "name": claim,
		"uid": nil, "resourceVersion": nil,
	}})
}

// Free gives a volume its policy back, and removes the marks. A volume that is
// reserved for a PVC that was never made is released, so that its policy
// decides about it: it would wait for that PVC for ever. A volume that is not
// marked is left alone.
func (c ReplacementPVCs) Free(ctx context.Context, cl client.Client, pv *corev1.PersistentVolume, fieldOwner string) error {
	policy, marked := pv.Annotations[PolicyAnnotation]
	if !marked {
		return nil
	}
	if err := c.guard(pv, "free"); err != nil {
		return err
	}
	spec := map[string]any{"persistentVolumeReclaimPolicy": policy}
	if ref := pv.Spec.ClaimRef; ref != nil && ref.UID == "" {
		spec["claimRef"] = map[string]any{"uid": pv.UID} // which is that of no PVC
	}
	return patchVolume(ctx, cl, pv, "free", fieldOwner, map[string]any{PolicyAnnotation: nil, OwnerAnnotation: nil}, spec)
}

func patchVolume(ctx context.Context, c client.Client, pv *corev1.PersistentVolume, verb, fieldOwner string, annotations, spec map[string]any) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": pv.ResourceVersion, "annotations": annotations},
		"spec":     spec,
	})
	if err != nil {
		return fmt.Errorf("%s volume %s: %w", verb, pv.Name, err)
	}
	err = c.Patch(ctx, pv.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s volume %s: %w", verb, pv.Name, err)
	}
	return nil
}

// CreateOn makes a PVC on a volume that is reserved for it. It is created and
// not applied: the volume's name must not belong to the field owner that
// applies the PVC later, and cannot be taken back. One of the name that is
// there already is an error: a step is derived from what exists. A nil
// controller: it has no owner.
func CreateOn(ctx context.Context, c client.Client, controller client.Object, claim Claim, volumeName, fieldOwner string) error {
	pvc := claim.Object()
	pvc.Spec.VolumeName = volumeName
	if pvc.Labels == nil {
		pvc.Labels = map[string]string{}
	}
	pvc.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	if controller != nil {
		if err := controllerutil.SetControllerReference(controller, pvc, c.Scheme()); err != nil {
			return fmt.Errorf("PVC %s/%s: %w", pvc.Namespace, pvc.Name, err)
		}
	}
	err := c.Create(ctx, pvc, client.FieldOwner(fieldOwner))
	if apierrors.IsAlreadyExists(err) {
		return &apply.ConflictError{Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, Reason: "made by another client while its volume was being replaced"}
	}
	if err != nil {
		return fmt.Errorf("create PVC %s/%s on volume %s: %w", pvc.Namespace, pvc.Name, volumeName, err)
	}
	return nil
}
