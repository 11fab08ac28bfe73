package volume

import (
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// CaptureError is the driver's or the snapshot controller's last word when a
// snapshot did not succeed yet. It is free text: nothing but time tells
// whether a later try succeeds.
func CaptureError(s *snapshotv1.VolumeSnapshot) string {
	if s == nil || s.Status == nil || s.Status.Error == nil || s.Status.Error.Message == nil {
		return ""
	}
	return *s.Status.Error.Message
}
