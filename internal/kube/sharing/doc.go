// Package sharing carries a verified snapshot from the namespace of a GoCache into
// one that the GoCache is shared with.
//
// A PersistentVolumeClaim can be cloned only from a VolumeSnapshot of its own
// namespace. So for each PVC that is populated, a pair of objects is created: a
// VolumeSnapshot beside the PVC, controlled by it, and a VolumeSnapshotContent with
// the CSI handle of the verified snapshot. The content names the VolumeSnapshot by
// its uid, so that no other VolumeSnapshot is ever bound to it, and its deletion
// policy is Retain, so that the CSI snapshot outlives it. Both are deleted when the
// PVC has its volume, or has waited for a node for an hour.
//
// A handle comes from one place only: the content of the VolumeSnapshot that a
// verified CacheSnapshot has pinned. A content has no namespace, so that it cannot
// be owned by the PVC; [Sweep] deletes those whose VolumeSnapshot is gone or whose PVC
// needs them no more. Users of the namespace may change the VolumeSnapshot, and not the
// content: by the uid in that, the operator recognizes both as its own.
package sharing
