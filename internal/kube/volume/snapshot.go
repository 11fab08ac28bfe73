package volume

import (
	"context"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/snapshot"
)

const (
	snapshotGroup = snapshotv1.GroupName
	snapshotKind  = "VolumeSnapshot"
)

// Snapshot is what is wanted of a VolumeSnapshot.
type Snapshot struct {
	// Namespace, Name and Labels of the snapshot.
	Namespace, Name string
	Labels          map[string]string
	// Class of the snapshot; nil is the driver's default.
	Class *string
	// Claim that is captured.
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

// Cut says whether a driver has cut the snapshot and it can be restored.
func Cut(s *snapshotv1.VolumeSnapshot) bool {
	return s != nil && s.DeletionTimestamp.IsZero() && s.Status != nil && s.Status.ReadyToUse != nil && *s.Status.ReadyToUse &&
		s.Status.BoundVolumeSnapshotContentName != nil
}

// State is what may be made of a CSI snapshot; nil: it does not exist.
func State(s *snapshotv1.VolumeSnapshot) snapshot.CSI {
	switch {
	case s == nil || !s.DeletionTimestamp.IsZero():
		return snapshot.CSIGone
	case Cut(s):
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
	return State(csi), nil
}

// CaptureError is the driver's or the snapshot controller's last word when a
// snapshot did not succeed yet. It is free text: nothing but time tells
// whether a later try succeeds.
func CaptureError(s *snapshotv1.VolumeSnapshot) string {
	if s == nil || s.Status == nil || s.Status.Error == nil || s.Status.Error.Message == nil {
		return ""
	}
	return *s.Status.Error.Message
}
