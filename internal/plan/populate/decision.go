package populate

import "time"

// State is the state of a population. Each is reported by at most one event.
type State string

// The states; see the package comment for their order.
const (
	// Deleting: the user's PVC is being deleted.
	Deleting State = "Deleting"
	// Lost: the user's PVC has lost its volume; only its owner can help.
	Lost State = "Lost"
	// Preset: the user's PVC asks for one volume by name, or is being bound.
	Preset State = "Preset"
	// Populated: the user's PVC has the volume that was cloned for it.
	Populated State = "Populated"
	// Unpopulated: the user's PVC has a volume that was not cloned for it.
	Unpopulated State = "Unpopulated"

	// SourceElsewhere: the PVC names a source in another namespace.
	SourceElsewhere State = "SourceElsewhere"
	// SourceNotFound: what the PVC names does not exist.
	SourceNotFound State = "SourceNotFound"
	// NotShared: the PVC names a cache with a source in another namespace, and that
	// source may not be used, or not any more, for any of the reasons of package
	// internal/plan/sharing: it does not select the namespace, has a source itself, or
	// cannot be read. Its condition has a reason for each; the event has one for all.
	NotShared State = "NotShared"
	// NothingVerified: the cache has no verified snapshot to offer now.
	NothingVerified State = "NothingVerified"
	// Unverified: the snapshot has no verdict yet.
	Unverified State = "Unverified"
	// NotProven: the snapshot could not be verified, and will not be.
	NotProven State = "NotProven"
	// SnapshotCorrupt: the snapshot holds corrupt content.
	SnapshotCorrupt State = "SnapshotCorrupt"
	// Skipped: the snapshot is exempt from verification, and so never offered.
	Skipped State = "Skipped"
	// SnapshotDeleting: the snapshot is on its way out.
	SnapshotDeleting State = "SnapshotDeleting"
	// SnapshotReplaced: another object took the place of the CSI snapshot that
	// was verified.
	SnapshotReplaced State = "SnapshotReplaced"
	// SnapshotNotReady: the CSI snapshot is missing or cannot be restored now.
	SnapshotNotReady State = "SnapshotNotReady"
	// TooSmall: the PVC asks for less than the snapshot holds.
	TooSmall State = "TooSmall"
	// NoClass: the PVC has no storage class, so nothing makes volumes for it.
	NoClass State = "NoClass"
	// ClassNotFound: its storage class does not exist.
	ClassNotFound State = "ClassNotFound"
	// ClassCannotClone: its class belongs to another driver than the snapshot.
	ClassCannotClone State = "ClassCannotClone"
	// Forbidden: the API server refuses the intermediate PVC, as a quota does.
	Forbidden State = "Forbidden"

	// WaitingForNode: the scheduler has not chosen a node yet.
	WaitingForNode State = "WaitingForNode"
	// Sharing: the snapshot is in another namespace, and the pair of objects that
	// carries it into this one is made, or not ready yet.
	Sharing State = "Sharing"
	// SharingFailing: the pair does not become ready.
	SharingFailing State = "SharingFailing"
	// SharingRefused: the API server refuses the pair, as a quota does.
	SharingRefused State = "SharingRefused"
	// SharingObstructed: an object of the pair's names exists and is not ours.
	SharingObstructed State = "SharingObstructed"
	// Pooled: a volume of the pool is to be handed over.
	Pooled State = "Pooled"
	// Ready: the intermediate PVC is to be made.
	Ready State = "Ready"
	// Cloning: the provisioner makes the intermediate PVC's volume.
	Cloning State = "Cloning"
	// CloneSilent: the provisioner has reported nothing for long.
	CloneSilent State = "CloneSilent"
	// CloneFailing: the provisioner reports an error, and tries again.
	CloneFailing State = "CloneFailing"
	// Cloned: the intermediate PVC's volume is to be handed over.
	Cloned State = "Cloned"
	// Binding: the volume is handed over, and not bound yet.
	Binding State = "Binding"

	// NodeRejected: the provisioner gave the node back. If that repeats, the next
	// clone is made after a pause.
	NodeRejected State = "NodeRejected"
	// NodeChanged: the intermediate PVC was made for another node than the
	// PVC's.
	NodeChanged State = "NodeChanged"
	// SnapshotWithdrawn: the snapshot may not be cloned any more.
	SnapshotWithdrawn State = "SnapshotWithdrawn"
	// VolumeLost: the intermediate PVC's volume was deleted.
	VolumeLost State = "VolumeLost"
	// VolumeInUse: the intermediate PVC's volume belongs to another PVC.
	VolumeInUse State = "VolumeInUse"
	// NotAClone: the intermediate PVC was bound to a volume that was there
	// before.
	NotAClone State = "NotAClone"
	// Obstructed: a PVC of the intermediate PVC's name exists and is not ours.
	Obstructed State = "Obstructed"
	// Clearing: an intermediate PVC is on its way out.
	Clearing State = "Clearing"
)

// Action is what to do now.
type Action string

// The actions.
const (
	// Wait changes nothing.
	Wait Action = "Wait"
	// CreateShare makes the pair that carries the snapshot into the namespace.
	CreateShare Action = "CreateShare"
	// DeleteShare deletes that pair. The CSI snapshot stays.
	DeleteShare Action = "DeleteShare"
	// CreateIntermediate makes the intermediate PVC from the chosen snapshot.
	CreateIntermediate Action = "CreateIntermediate"
	// TakeFromPool gives the volume of a member of the pool to the user's PVC.
	TakeFromPool Action = "TakeFromPool"
	// HandOver gives the intermediate PVC's volume to the user's PVC.
	HandOver Action = "HandOver"
	// FreeNode takes the node from the user's PVC, so that the scheduler
	// chooses again, and then drops the intermediate PVC.
	FreeNode Action = "FreeNode"
	// DeleteIntermediate deletes the intermediate PVC.
	DeleteIntermediate Action = "DeleteIntermediate"
)

// Decision is the outcome of one pass.
type Decision struct {
	// State that the population is in.
	State State
	// Action to take.
	Action Action
	// Snapshot that it is about, if any.
	Snapshot string
	// Member of the pool whose volume is handed over. It is set with TakeFromPool.
	Member string
	// Node that an intermediate PVC is to be made for; empty: any.
	Node string
	// Bytes that a clone of the snapshot has at least.
	Bytes int64
	// Rejections is how many times in a row the provisioner gave a node back, with
	// this one. It is set with FreeNode.
	Rejections int
	// Detail is the message of another component, if any.
	Detail string
	// After which to look again; zero: something else will wake us.
	After time.Duration
}
