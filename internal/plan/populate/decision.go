package populate

import "time"

// State names where a population stands. Each says at most one thing to a
// person.
type State string

// The states; see the package comment for their order.
const (
	// Deleting: the user's claim is being deleted.
	Deleting State = "Deleting"
	// Lost: the user's claim has lost its volume; only its owner can help.
	Lost State = "Lost"
	// Preset: the user's claim asks for one volume by name, or is being bound.
	Preset State = "Preset"
	// Populated: the user's claim has the volume that was cloned for it.
	Populated State = "Populated"
	// Unpopulated: the user's claim has a volume that was not cloned for it.
	Unpopulated State = "Unpopulated"

	// SourceElsewhere: the claim names a source in another namespace.
	SourceElsewhere State = "SourceElsewhere"
	// SourceNotFound: what the claim names does not exist.
	SourceNotFound State = "SourceNotFound"
	// NothingVerified: the cache has no verified snapshot to offer now.
	NothingVerified State = "NothingVerified"
	// Unverified: the snapshot has no verdict yet.
	Unverified State = "Unverified"
	// NotProven: the snapshot could not be verified, and will not be.
	NotProven State = "NotProven"
	// SnapshotCorrupt: the snapshot holds wrong bytes.
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
	// TooSmall: the claim asks for less than the snapshot holds.
	TooSmall State = "TooSmall"
	// NoClass: the claim has no storage class, so nothing makes volumes for it.
	NoClass State = "NoClass"
	// ClassNotFound: its storage class does not exist.
	ClassNotFound State = "ClassNotFound"
	// ClassCannotClone: its class belongs to another driver than the snapshot.
	ClassCannotClone State = "ClassCannotClone"
	// Forbidden: the API server refuses the prime, as a quota does.
	Forbidden State = "Forbidden"

	// WaitingForNode: the scheduler has not chosen a node yet.
	WaitingForNode State = "WaitingForNode"
	// Ready: the prime is to be made.
	Ready State = "Ready"
	// Cloning: the provisioner makes the prime's volume.
	Cloning State = "Cloning"
	// CloneSilent: the provisioner has said nothing for long.
	CloneSilent State = "CloneSilent"
	// CloneFailing: the provisioner reports an error, and tries again.
	CloneFailing State = "CloneFailing"
	// Cloned: the prime's volume is to be handed over.
	Cloned State = "Cloned"
	// Binding: the volume is handed over, and not bound yet.
	Binding State = "Binding"

	// NodeRejected: the provisioner gave the node back.
	NodeRejected State = "NodeRejected"
	// NodeChanged: the prime was made for another node than the claim's.
	NodeChanged State = "NodeChanged"
	// SnapshotWithdrawn: the snapshot may not be cloned any more.
	SnapshotWithdrawn State = "SnapshotWithdrawn"
	// VolumeLost: the prime's volume was deleted.
	VolumeLost State = "VolumeLost"
	// VolumeInUse: the prime's volume belongs to another claim.
	VolumeInUse State = "VolumeInUse"
	// NotAClone: the prime was bound to a volume that was there before.
	NotAClone State = "NotAClone"
	// Obstructed: a claim of the prime's name exists and is not ours.
	Obstructed State = "Obstructed"
	// Clearing: a prime is on its way out.
	Clearing State = "Clearing"
)

// Action is what to do now.
type Action string

// The actions.
const (
	// Wait changes nothing.
	Wait Action = "Wait"
	// CreateIntermediate makes the prime from the chosen snapshot.
	CreateIntermediate Action = "CreateIntermediate"
	// HandOver gives the prime's volume to the user's claim.
	HandOver Action = "HandOver"
	// FreeNode takes the node from the user's claim, so that the scheduler
	// chooses again, and then drops the prime.
	FreeNode Action = "FreeNode"
	// DeleteIntermediate deletes the prime.
	DeleteIntermediate Action = "DeleteIntermediate"
)

// Decision is the outcome of one pass.
type Decision struct {
	// State that the population is in.
	State State
	// Action to take.
	Action Action
	// Snapshot that it speaks of, if any.
	Snapshot string
	// Node that a prime is to be made for; empty: any.
	Node string
	// Bytes that a clone of the snapshot has at least.
	Bytes int64
	// Detail is somebody else's word for it, if any.
	Detail string
	// After which to look again; zero: something else will wake us.
	After time.Duration
}
