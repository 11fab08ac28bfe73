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
	"gocache.dev/operator/internal/plan/swap"
)

// PolicyAnnotation on a volume is the reclaim policy that it had before a swap
// set it to Retain. It stands there only while the swap is in progress.
const PolicyAnnotation = v1alpha1.GroupName + "/reclaim-policy"

// SwapClaim is a claim as a swap sees it; nil is none.
func SwapClaim(pvc *corev1.PersistentVolumeClaim) swap.Claim {
	if pvc == nil {
		return swap.Claim{}
	}
	return swap.Claim{
		Exists: true, Deleting: !pvc.DeletionTimestamp.IsZero(), Bound: Bound(pvc),
		Volume: pvc.Spec.VolumeName, Made: pvc.CreationTimestamp.Time,
	}
}

// SwapClaims are the three claims of a swap; any may be nil, but the names are
// known.
type SwapClaims struct {
	// Namespace of all.
	Namespace string
	// LiveName and PreviousName are what volumes are reserved for.
	LiveName, PreviousName string
	// Live, Next and Previous as they are.
	Live, Next, Previous *corev1.PersistentVolumeClaim
}

// Volume is a volume as the swap sees it; nil is none.
func (c SwapClaims) Volume(pv *corev1.PersistentVolume) swap.Volume {
	if pv == nil {
		return swap.Volume{}
	}
	_, marked := pv.Annotations[PolicyAnnotation]
	return swap.Volume{
		Exists: true, Deleting: !pv.DeletionTimestamp.IsZero(),
		Secured: marked && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain,
		Marked:  marked, Holder: c.holder(pv.Spec.ClaimRef),
	}
}

func (c SwapClaims) holder(ref *corev1.ObjectReference) swap.Holder {
	holds := func(pvc *corev1.PersistentVolumeClaim) bool { return pvc != nil && pvc.UID == ref.UID }
	switch {
	case ref == nil || ref.Namespace != c.Namespace:
		return swap.HeldByOther
	case ref.Name == c.LiveName && (ref.UID == "" || holds(c.Live)):
		return swap.HeldByLive
	case ref.Name == c.PreviousName && (ref.UID == "" || holds(c.Previous)):
		return swap.HeldByPrevious
	case holds(c.Next):
		return swap.HeldByNext
	default:
		return swap.HeldByOther
	}
}

// Secure sets a volume to Retain and remembers on it what it was set to, in one
// write on top of what was read.
func Secure(ctx context.Context, c client.Client, pv *corev1.PersistentVolume, fieldOwner string) error {
	annotations := map[string]any{}
	if _, marked := pv.Annotations[PolicyAnnotation]; !marked {
		annotations[PolicyAnnotation] = string(pv.Spec.PersistentVolumeReclaimPolicy)
	}
	return patchVolume(ctx, c, pv, "secure", fieldOwner, annotations, map[string]any{
		"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimRetain,
	})
}

// Reserve reserves a volume for the claim of a name that is yet to be made, in
// one write on top of what was read. The claimRef is never absent: a volume
// without one is taken by any pending claim of its class. Without a uid it
// binds to the next claim of that name.
func Reserve(ctx context.Context, c client.Client, pv *corev1.PersistentVolume, namespace, claim, fieldOwner string) error {
	return patchVolume(ctx, c, pv, "reserve", fieldOwner, map[string]any{}, map[string]any{"claimRef": map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim,
		"uid": nil, "resourceVersion": nil,
	}})
}

// Free gives a volume its policy back, and removes the mark. A volume that is
// reserved for a claim that was never made is released, so that its policy
// decides about it: it would wait for that claim for ever. A volume that is not
// marked is left alone.
func Free(ctx context.Context, c client.Client, pv *corev1.PersistentVolume, fieldOwner string) error {
	policy, marked := pv.Annotations[PolicyAnnotation]
	if !marked {
		return nil
	}
	spec := map[string]any{"persistentVolumeReclaimPolicy": policy}
	if ref := pv.Spec.ClaimRef; ref != nil && ref.UID == "" {
		spec["claimRef"] = map[string]any{"uid": pv.UID} // which is that of no claim
	}
	return patchVolume(ctx, c, pv, "free", fieldOwner, map[string]any{PolicyAnnotation: nil}, spec)
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

// CreateOn makes a claim on a volume that is reserved for it. It is created and
// not applied: the volume's name must not belong to whoever applies the claim
// later, and cannot be taken back. One of the name that is there already is an
// error: a step is derived from what exists. A nil controller: it outlives
// everybody.
func CreateOn(ctx context.Context, c client.Client, controller client.Object, claim Claim, volumeName, fieldOwner string) error {
	pvc := claim.Object()
	pvc.Spec.VolumeName = volumeName
	if pvc.Labels == nil {
		pvc.Labels = map[string]string{}
	}
	pvc.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	if controller != nil {
		if err := controllerutil.SetControllerReference(controller, pvc, c.Scheme()); err != nil {
			return fmt.Errorf("claim %s/%s: %w", pvc.Namespace, pvc.Name, err)
		}
	}
	err := c.Create(ctx, pvc, client.FieldOwner(fieldOwner))
	if apierrors.IsAlreadyExists(err) {
		return &apply.ConflictError{Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, Reason: "made by somebody while its volume was being replaced"}
	}
	if err != nil {
		return fmt.Errorf("create claim %s/%s on volume %s: %w", pvc.Namespace, pvc.Name, volumeName, err)
	}
	return nil
}
