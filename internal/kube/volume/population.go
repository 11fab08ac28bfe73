package volume

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
)

// What stands on an intermediate PVC, beside its reference to the user's PVC.
const (
	// IntermediateLabel marks an intermediate PVC; its value is the uid of the
	// user's PVC. An intermediate PVC also carries
	// v1alpha1.PopulatedFromAnnotation, so that retention finds the snapshot
	// that is being cloned.
	IntermediateLabel = v1alpha1.GroupName + "/intermediate-for"
	// IntermediateNodeAnnotation is the node that an intermediate PVC was made
	// for. It stays when the provisioner gives the node back.
	IntermediateNodeAnnotation = v1alpha1.GroupName + "/intermediate-node"
)

// What stands on the PVC of a user whose node the provisioner gave back. It is
// written with the removal of the node, so that the pause before the next clone does
// not depend on the life of a process.
const (
	// RejectionsAnnotation is how many times in a row the provisioner gave a node
	// back while a clone was made for the PVC.
	RejectionsAnnotation = v1alpha1.GroupName + "/node-rejections"
	// RejectedAtAnnotation is when it did so last (RFC 3339).
	RejectedAtAnnotation = v1alpha1.GroupName + "/node-rejected-at"
)

// Annotations of others that a population reads and writes.
const (
	// SelectedNodeAnnotation on a PVC is the node that the scheduler chose.
	// The provisioner removes it when it cannot make a volume there.
	SelectedNodeAnnotation = "volume.kubernetes.io/selected-node"
	// boundByControllerAnnotation on a volume means that it was there before
	// the PVC: a provisioner makes a volume with its PVC already in it.
	boundByControllerAnnotation = "pv.kubernetes.io/bound-by-controller"
)

// IntermediateName is the name of the intermediate PVC of a user's PVC.
func IntermediateName(claim types.UID) string {
	return "intermediate-" + string(claim)
}

// IntermediatePVC is the PVC through which a clone for a user's PVC is made.
type IntermediatePVC struct {
	// For is the user's PVC.
	For *corev1.PersistentVolumeClaim
	// From names the CacheSnapshot that is cloned.
	From string
	// Snapshot is its VolumeSnapshot.
	Snapshot string
	// Node that the volume has to be reachable from; empty: any.
	Node string
}

// Object is the intermediate PVC as an object to create. Everything that the
// cluster compares when it binds a volume to a PVC is that of the user's PVC.
func (p IntermediatePVC) Object() *corev1.PersistentVolumeClaim {
	pvc := Claim{
		Namespace: p.For.Namespace, Name: IntermediateName(p.For.UID),
		Labels: map[string]string{
			v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue,
			IntermediateLabel:       string(p.For.UID),
		},
		Class:       p.For.Spec.StorageClassName,
		AccessModes: p.For.Spec.AccessModes,
		Size:        *p.For.Spec.Resources.Requests.Storage(),
		Snapshot:    p.Snapshot,
	}.Object()
	pvc.Spec.VolumeMode = p.For.Spec.VolumeMode
	pvc.Spec.VolumeAttributesClassName = p.For.Spec.VolumeAttributesClassName
	pvc.Annotations = map[string]string{v1alpha1.PopulatedFromAnnotation: p.From}
	if p.Node != "" {
		pvc.Annotations[IntermediateNodeAnnotation] = p.Node
		pvc.Annotations[SelectedNodeAnnotation] = p.Node
	}
	return pvc
}

// Create makes the intermediate PVC, controlled by the user's PVC so that it
// goes with it. It is created and never applied: the provisioner takes the node
// from it, and an apply would put it back. One that is there already is no
// error.
func (p IntermediatePVC) Create(ctx context.Context, c client.Client, fieldOwner string) error {
	intermediate := p.Object()
	if err := controllerutil.SetControllerReference(p.For, intermediate, c.Scheme()); err != nil {
		return fmt.Errorf("intermediate PVC of %s/%s: %w", p.For.Namespace, p.For.Name, err)
	}
	err := c.Create(ctx, intermediate, client.FieldOwner(fieldOwner))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create intermediate PVC %s/%s: %w", intermediate.Namespace, intermediate.Name, err)
	}
	return nil
}

// IsIntermediateOf reports whether a PVC is the intermediate PVC that was made
// for a user's PVC.
func IsIntermediateOf(intermediate, claim *corev1.PersistentVolumeClaim) bool {
	source := intermediate.Spec.DataSource
	return metav1.IsControlledBy(intermediate, claim) &&
		intermediate.Labels[IntermediateLabel] == string(claim.UID) &&
		intermediate.Annotations[v1alpha1.PopulatedFromAnnotation] != "" &&
		source != nil && source.Kind == snapshotKind && ptr.Deref(source.APIGroup, "") == snapshotGroup
}

// HeldBy reports whether a volume is reserved for, or bound to, this very PVC.
func HeldBy(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	return claim != nil && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == claim.UID
}

// Preexisting reports whether a volume was there before the PVC that has it,
// and so was not made from what the PVC asks for.
func Preexisting(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	_, matched := pv.Annotations[boundByControllerAnnotation]
	return matched || pv.CreationTimestamp.Before(&claim.CreationTimestamp)
}

// HandOver gives the volume of an intermediate PVC to the user's PVC and notes
// the CacheSnapshot on it, in one write on top of what was read. The PVC is
// named by its uid, so that the volume is reserved for it at every moment and
// no other PVC of the class, or of the same name, can take it. A volume that is
// not bound to that very intermediate PVC is refused: its name alone was chosen
// by the creator of the intermediate PVC.
func HandOver(ctx context.Context, c client.Client, pv *corev1.PersistentVolume, intermediate, claim *corev1.PersistentVolumeClaim, from, fieldOwner string) error {
	if !HeldBy(pv, intermediate) || intermediate.Namespace != claim.Namespace || pv.Spec.ClaimRef.Namespace != claim.Namespace {
		return &ForeignVolumeError{Volume: pv.Name, Verb: "hand over"}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": pv.ResourceVersion,
			"annotations":     map[string]any{v1alpha1.PopulatedFromAnnotation: from},
		},
		"spec": map[string]any{"claimRef": map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim",
			"namespace": claim.Namespace, "name": claim.Name, "uid": claim.UID,
			"resourceVersion": nil, // of the intermediate PVC
		}},
	})
	if err != nil {
		return fmt.Errorf("hand over %s: %w", pv.Name, err)
	}
	target := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pv.Name}}
	if err := c.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("hand over volume %s to PVC %s/%s: %w", pv.Name, claim.Namespace, claim.Name, err)
	}
	return nil
}

// Rejections returns how many times in a row the provisioner gave the node of a PVC
// back, and the time since the last one. The annotations are writable for the PVC's
// owner: what is not a count and a time of the past counts as none.
func Rejections(claim *corev1.PersistentVolumeClaim, now time.Time) (int, time.Duration) {
	n, err := strconv.Atoi(claim.Annotations[RejectionsAnnotation])
	if err != nil || n < 0 {
		return 0, 0
	}
	at, err := time.Parse(time.RFC3339, claim.Annotations[RejectedAtAnnotation])
	if err != nil || at.After(now) {
		return 0, 0
	}
	return min(n, maxRejections), now.Sub(at)
}

// maxRejections bounds a count that is read from an annotation.
const maxRejections = 1000

// FreeNode takes the chosen node from a PVC, on top of what was read, so
// that the scheduler chooses again for its pod, and records in the same write that
// the provisioner rejected it for that many times in a row. A PVC that is gone needs
// none.
func FreeNode(ctx context.Context, c client.Client, claim *corev1.PersistentVolumeClaim, rejections int, now time.Time, fieldOwner string) error {
	freed := claim.DeepCopy()
	delete(freed.Annotations, SelectedNodeAnnotation)
	metav1.SetMetaDataAnnotation(&freed.ObjectMeta, RejectionsAnnotation, strconv.Itoa(min(rejections, maxRejections)))
	metav1.SetMetaDataAnnotation(&freed.ObjectMeta, RejectedAtAnnotation, now.UTC().Format(time.RFC3339))
	patch := client.MergeFromWithOptions(claim, client.MergeFromWithOptimisticLock{})
	if err := c.Patch(ctx, freed, patch, client.FieldOwner(fieldOwner)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("free the node of PVC %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}
