package volume

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/snapshot"
)

const (
	snapshotGroup = snapshotv1.GroupName
	snapshotKind  = "VolumeSnapshot"
)

// Snapshot is the desired state of a VolumeSnapshot.
type Snapshot struct {
	// Namespace, Name and Labels of the snapshot.
	Namespace, Name string
	Labels          map[string]string
	// Class of the snapshot; nil is the driver's default.
	Class *string
	// Claim is the PVC to create it from.
	Claim string
}

// Object is the snapshot as an object to apply.
func (s Snapshot) Object() *snapshotv1.VolumeSnapshot {
	return &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: s.Labels},
		Spec: snapshotv1.VolumeSnapshotSpec{
			VolumeSnapshotClassName: s.Class,
			Source:                  snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &s.Claim},
		},
	}
}

// ReadyToUse reports whether the snapshot was created and can be restored.
func ReadyToUse(s *snapshotv1.VolumeSnapshot) bool {
	return s != nil && s.DeletionTimestamp.IsZero() && s.Status != nil && s.Status.ReadyToUse != nil && *s.Status.ReadyToUse &&
		s.Status.BoundVolumeSnapshotContentName != nil
}

// State is what may be made of the VolumeSnapshot that a CacheSnapshot names, and
// of its content, if that was read; no VolumeSnapshot: it does not exist.
func State(of *v1alpha1.CacheSnapshot, s *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) snapshot.CSI {
	switch {
	case s == nil:
		return snapshot.CSIGone
	case !Pinned(of.Status, s, content):
		return snapshot.CSIReplaced
	case !s.DeletionTimestamp.IsZero():
		return snapshot.CSIGone
	case ReadyToUse(s):
		return snapshot.CSIReady
	default:
		return snapshot.CSINotReady
	}
}

// StateOf reads the CSI snapshot of a CacheSnapshot. One that has none yet, or
// does not exist, has nothing to be read.
func StateOf(ctx context.Context, c client.Reader, of *v1alpha1.CacheSnapshot) (snapshot.CSI, error) {
	if of == nil || of.Status.VolumeSnapshotName == "" {
		return snapshot.CSINotRead, nil
	}
	csi, err := read.Object[snapshotv1.VolumeSnapshot](ctx, c, of.Namespace, of.Status.VolumeSnapshotName)
	if err != nil {
		return snapshot.CSINotRead, err
	}
	return State(of, csi, nil), nil
}

// Pin records in the status of a CacheSnapshot which object and which content
// its verification is about: a name alone is no evidence, since any client that
// may create VolumeSnapshots can put another one in its place. Content may be
// nil.
func Pin(status *v1alpha1.CacheSnapshotStatus, s *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
	status.VolumeSnapshotName, status.VolumeSnapshotUID = s.Name, string(s.UID)
	status.VolumeSnapshotContentName = *s.Status.BoundVolumeSnapshotContentName
	status.RestoreSize = s.Status.RestoreSize
	status.SnapshotHandle = Handle(content)
}

// Pinned reports whether a VolumeSnapshot, and its content if that could be
// read, are those that a CacheSnapshot has pinned, and are of each other.
func Pinned(status v1alpha1.CacheSnapshotStatus, s *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) bool {
	if s == nil || s.Name != status.VolumeSnapshotName || string(s.UID) != status.VolumeSnapshotUID {
		return false
	}
	if s.Status == nil || ptr.Deref(s.Status.BoundVolumeSnapshotContentName, "") != status.VolumeSnapshotContentName {
		return false
	}
	return content == nil || Names(content, s) && Handle(content) == status.SnapshotHandle
}

// Names reports whether a content names a VolumeSnapshot, as that of the VolumeSnapshot does:
// any client that may write the status of a VolumeSnapshot can name there the content of
// another one, in another namespace, too. A content that was made by hand may name it
// without its uid.
func Names(content *snapshotv1.VolumeSnapshotContent, s *snapshotv1.VolumeSnapshot) bool {
	ref := content.Spec.VolumeSnapshotRef
	return ref.Namespace == s.Namespace && ref.Name == s.Name && (ref.UID == "" || ref.UID == s.UID)
}

// Handle is the CSI driver's name for the snapshot of a content; empty: it has none
// yet.
func Handle(content *snapshotv1.VolumeSnapshotContent) string {
	if content == nil || content.Status == nil {
		return ""
	}
	return ptr.Deref(content.Status.SnapshotHandle, "")
}

// Content reads the content that a VolumeSnapshot names; nil: there is none. It is that of
// the VolumeSnapshot only if [Names] finds so.
func Content(ctx context.Context, live client.Reader, s *snapshotv1.VolumeSnapshot) (*snapshotv1.VolumeSnapshotContent, error) {
	if s == nil || s.Status == nil {
		return nil, nil
	}
	return read.Object[snapshotv1.VolumeSnapshotContent](ctx, live, "", ptr.Deref(s.Status.BoundVolumeSnapshotContentName, ""))
}

// NoteClone records on a CacheSnapshot that a clone of it is given to a consumer, so
// that it is kept for as long as its driver may still copy from it. One that is gone
// needs none.
func NoteClone(ctx context.Context, c client.Client, of *v1alpha1.CacheSnapshot, now time.Time, fieldOwner string) error {
	if of == nil || !snapshot.NoteClone(of, now) {
		return nil
	}
	noted := of.DeepCopy()
	metav1.SetMetaDataAnnotation(&noted.ObjectMeta, v1alpha1.ClonedAtAnnotation, now.UTC().Format(time.RFC3339))
	if err := c.Patch(ctx, noted, client.MergeFrom(of), client.FieldOwner(fieldOwner)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("note a clone of CacheSnapshot %s/%s: %w", of.Namespace, of.Name, err)
	}
	return nil
}

// SnapshotError is the driver's or the snapshot controller's last word when a
// snapshot did not succeed yet. It is free text: a later try may succeed.
func SnapshotError(s *snapshotv1.VolumeSnapshot) string {
	if s == nil || s.Status == nil || s.Status.Error == nil || s.Status.Error.Message == nil {
		return ""
	}
	return *s.Status.Error.Message
}
