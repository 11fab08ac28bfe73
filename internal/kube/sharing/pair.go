package sharing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// Qualified is how the CacheSnapshot of another namespace is named in
// annotations and events.
func Qualified(namespace, name string) string { return namespace + "/" + name }

// IsQualified reports whether a name is that of a CacheSnapshot of another namespace.
func IsQualified(name string) bool { return strings.Contains(name, "/") }

// inNamespace is the name of a CacheSnapshot of a namespace.
func inNamespace(qualified, namespace string) (name string, ok bool) {
	of, name, ok := strings.Cut(qualified, "/")
	return name, ok && of == namespace
}

// SnapshotName is the name of the VolumeSnapshot that is created for a PVC.
func SnapshotName(claim types.UID) string { return volume.IntermediateName(claim) }

// ContentName is the name of the VolumeSnapshotContent that is created for a PVC.
func ContentName(claim types.UID) string { return "gocache-" + string(claim) }

// Pair is what exists of the two objects for one PVC.
type Pair struct {
	// Snapshot is the VolumeSnapshot in the namespace of the PVC; nil: none.
	Snapshot *snapshotv1.VolumeSnapshot
	// Content is the VolumeSnapshotContent; nil: none.
	Content *snapshotv1.VolumeSnapshotContent
}

// Crossing is what a PVC is to be populated from.
type Crossing struct {
	// For is the PVC.
	For *corev1.PersistentVolumeClaim
	// From is the qualified name of the CacheSnapshot.
	From string
	// Verified is the content of the VolumeSnapshot that the CacheSnapshot has pinned.
	Verified *snapshotv1.VolumeSnapshotContent
}

// Read reads the pair of a PVC.
func Read(ctx context.Context, live client.Reader, claim *corev1.PersistentVolumeClaim) (p Pair, err error) {
	if p.Snapshot, err = read.Object[snapshotv1.VolumeSnapshot](ctx, live, claim.Namespace, SnapshotName(claim.UID)); err != nil {
		return p, err
	}
	p.Content, err = read.Object[snapshotv1.VolumeSnapshotContent](ctx, live, "", ContentName(claim.UID))
	return p, err
}

// Foreign reports whether an object of the pair's names was not created for this
// PVC.
func (p Pair) Foreign(claim *corev1.PersistentVolumeClaim) bool {
	return p.Snapshot != nil && (!metav1.IsControlledBy(p.Snapshot, claim) || !marked(p.Snapshot, claim.UID)) ||
		p.Content != nil && !marked(p.Content, claim.UID)
}

// Own is what of a pair the operator has created for a PVC. A VolumeSnapshot is its own
// too if the content names it by its uid, whatever marks it has: a user may change
// those, and cannot write contents.
func (p Pair) Own(claim *corev1.PersistentVolumeClaim) (own Pair) {
	if p.Content != nil && marked(p.Content, claim.UID) {
		own.Content = p.Content
	}
	named := own.Content != nil && p.Snapshot != nil && own.Content.Spec.VolumeSnapshotRef.UID == p.Snapshot.UID
	if p.Snapshot != nil && (named || metav1.IsControlledBy(p.Snapshot, claim) && marked(p.Snapshot, claim.UID)) {
		own.Snapshot = p.Snapshot
	}
	return own
}

// Exists reports whether there is anything to delete.
func (p Pair) Exists() bool {
	return p.Snapshot != nil && p.Snapshot.DeletionTimestamp.IsZero() || p.Content != nil && p.Content.DeletionTimestamp.IsZero()
}

// Complete reports whether both objects exist, belong together, and are of the
// content that was verified.
func (p Pair) Complete(x Crossing) bool {
	return p.Snapshot != nil && p.Content != nil && p.half(x) && p.Snapshot.DeletionTimestamp.IsZero() &&
		p.Content.DeletionTimestamp.IsZero() && p.Content.Spec.VolumeSnapshotRef.UID == p.Snapshot.UID &&
		p.Content.Spec.VolumeSnapshotRef.Namespace == p.Snapshot.Namespace && p.Content.Spec.VolumeSnapshotRef.Name == p.Snapshot.Name &&
		p.Content.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain &&
		p.Content.Spec.Driver == x.Verified.Spec.Driver &&
		ptr.Deref(p.Content.Spec.Source.SnapshotHandle, "") == volume.Handle(x.Verified)
}

// half reports whether the VolumeSnapshot is of the content that was verified, as
// far as it alone shows.
func (p Pair) half(x Crossing) bool {
	return p.Snapshot.DeletionTimestamp.IsZero() && p.Snapshot.Annotations[v1alpha1.PopulatedFromAnnotation] == x.From &&
		ptr.Deref(p.Snapshot.Spec.Source.VolumeSnapshotContentName, "") == ContentName(x.For.UID)
}

// Stale reports whether something of the pair is in the way: it is of other content,
// on its way out, or without its other half where that can only have been deleted.
func (p Pair) Stale(x Crossing) bool {
	switch {
	case p.Snapshot == nil && p.Content == nil, p.Complete(x):
		return false
	case p.Content == nil:
		return !p.half(x)
	default:
		return true
	}
}

// Ready reports whether a complete pair can be cloned.
func (p Pair) Ready(x Crossing) bool {
	return p.Complete(x) && volume.ReadyToUse(p.Snapshot) && *p.Snapshot.Status.BoundVolumeSnapshotContentName == p.Content.Name
}

// Create creates what is missing of a pair: first the VolumeSnapshot, whose uid the
// content then names, so that a VolumeSnapshot that a user creates under the name
// gets nothing. What another pass has created in the meantime is no error: the next
// pass compares it.
func (x Crossing) Create(ctx context.Context, c client.Client, p Pair, fieldOwner string) error {
	if volume.Handle(x.Verified) == "" {
		return fmt.Errorf("the content of CacheSnapshot %s has no CSI handle yet", x.From)
	}
	s := p.Snapshot
	if s == nil {
		s = x.snapshot()
		if err := controllerutil.SetControllerReference(x.For, s, c.Scheme()); err != nil {
			return fmt.Errorf("VolumeSnapshot for PVC %s/%s: %w", x.For.Namespace, x.For.Name, err)
		}
		if err := c.Create(ctx, s, client.FieldOwner(fieldOwner)); err != nil {
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return fmt.Errorf("create VolumeSnapshot %s/%s: %w", s.Namespace, s.Name, err)
		}
	}
	content := x.content(s)
	if err := c.Create(ctx, content, client.FieldOwner(fieldOwner)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create VolumeSnapshotContent %s: %w", content.Name, err)
	}
	return nil
}

func (x Crossing) snapshot() *snapshotv1.VolumeSnapshot {
	return &snapshotv1.VolumeSnapshot{
		ObjectMeta: x.meta(x.For.Namespace, SnapshotName(x.For.UID)),
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: ptr.To(ContentName(x.For.UID))}},
	}
}

func (x Crossing) content(s *snapshotv1.VolumeSnapshot) *snapshotv1.VolumeSnapshotContent {
	return &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: x.meta("", ContentName(x.For.UID)),
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			VolumeSnapshotRef: corev1.ObjectReference{
				APIVersion: snapshotv1.SchemeGroupVersion.String(), Kind: "VolumeSnapshot", Namespace: s.Namespace, Name: s.Name, UID: s.UID,
			},
			DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain,
			Driver:         x.Verified.Spec.Driver,
			// The class has the credentials that some drivers need to find a snapshot.
			VolumeSnapshotClassName: x.Verified.Spec.VolumeSnapshotClassName,
			Source:                  snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: ptr.To(volume.Handle(x.Verified))},
			SourceVolumeMode:        x.Verified.Spec.SourceVolumeMode,
		},
	}
}

func (x Crossing) meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels:      map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, volume.IntermediateLabel: string(x.For.UID)},
		Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: x.From},
	}
}

func marked(o client.Object, claim types.UID) bool {
	return o.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue && o.GetLabels()[volume.IntermediateLabel] == string(claim)
}

// Delete deletes a pair: the VolumeSnapshot first, because a content that is deleted
// before it stays until it is gone, too. The CSI snapshot stays.
func (p Pair) Delete(ctx context.Context, c client.Client) error {
	var errs []error
	if p.Snapshot != nil {
		errs = append(errs, apply.Delete(ctx, c, p.Snapshot))
	}
	if p.Content != nil {
		errs = append(errs, deleteContent(ctx, c, p.Content))
	}
	return errors.Join(errs...)
}

// deleteContent deletes a content whose CSI snapshot stays, and no other.
func deleteContent(ctx context.Context, c client.Client, content *snapshotv1.VolumeSnapshotContent) error {
	if content.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain {
		return fmt.Errorf("VolumeSnapshotContent %s has deletion policy %s, and the CSI snapshot would go with it: set it to Retain, then delete it", content.Name, content.Spec.DeletionPolicy)
	}
	return apply.Delete(ctx, c, content)
}
