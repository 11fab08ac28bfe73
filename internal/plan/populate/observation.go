package populate

import (
	"time"

	"gocache.dev/operator/internal/plan/snapshot"
)

// Observation are all that is known about one population.
type Observation struct {
	// Claim of the user.
	Claim Claim
	// Intermediate made for it; nil: there is none.
	Intermediate *IntermediatePVC
	// Volume that the PVC has or, while it has none, that the intermediate PVC
	// has; nil: neither has one, or it is gone.
	Volume *Volume
	// Source of the content. Not looked at once the PVC has a volume.
	Source Source
	// Share is the pair that carries a snapshot of another namespace into this one.
	Share Share
	// Class of the storage. Looked at while there is no intermediate PVC.
	Class Class
	// Pool of the cache that the PVC names. Looked at while there is no intermediate PVC.
	Pool Pool
}

// Pool is what the pool of the cache has for the PVC.
type Pool struct {
	// Given: a volume of it is reserved for the PVC, which is not bound to it yet.
	Given bool
	// Member is the PVC of the operator whose volume the PVC can get; empty: none has one
	// that fits.
	Member string
}

// Claim is the user's PVC.
type Claim struct {
	// Deleting: it is on its way out.
	Deleting bool
	// Bound and Lost are its phases.
	Bound, Lost bool
	// VolumeName that it asks for or has.
	VolumeName string
	// Node that the scheduler chose for its first consumer.
	Node string
	// Rejections is how many times in a row the provisioner gave a node back, and
	// SinceRejected the time since the last one.
	Rejections    int
	SinceRejected time.Duration
	// Bytes that it asks for.
	Bytes int64
	// For is what its consumer builds with, as far as the PVC has annotations
	// for it.
	For Build
}

// IntermediatePVC is the PVC that the clone is made through.
type IntermediatePVC struct {
	// Foreign: it is not controlled by the user's PVC, or not made from a
	// snapshot.
	Foreign bool
	// Deleting: it is on its way out.
	Deleting bool
	// Bound to its volume, as the cluster reports it.
	Bound bool
	// VolumeName that it has or had.
	VolumeName string
	// Node that it asks for now; the provisioner removes it to give the node back.
	Node string
	// MadeForNode is what Node was when it was made.
	MadeForNode string
	// Age since it was made.
	Age time.Duration
	// Complaint is the provisioner's last word about it, and Progress is that word if
	// it means that the driver is still at work.
	Complaint, Progress string
}

// Share is a VolumeSnapshot beside the user's PVC, and its content, which has the
// CSI handle of a verified snapshot of another namespace.
type Share struct {
	// Needed: the chosen snapshot is in another namespace.
	Needed bool
	// Exists: there is something of the pair to delete, and it is the operator's.
	Exists bool
	// Foreign: an object of its names was not made for the user's PVC.
	Foreign bool
	// Stale: what there is of it is of another snapshot, or on its way out.
	Stale bool
	// Complete: both objects are there, and of the chosen snapshot.
	Complete bool
	// Ready: it can be cloned.
	Ready bool
	// Age since the VolumeSnapshot was made, or the content if that is alone.
	Age time.Duration
	// Complaint is the last word of the snapshot controller about it.
	Complaint string
}

// Holder is the owner of a volume.
type Holder int

// The holders of a volume.
const (
	// HeldByOther: neither by the user's PVC nor by the intermediate PVC.
	HeldByOther Holder = iota
	// HeldByClaim is the user's PVC, by uid.
	HeldByClaim
	// HeldByIntermediate is the intermediate PVC, by uid.
	HeldByIntermediate
)

// Volume is a persistent volume.
type Volume struct {
	// Holder that it is reserved for or bound to.
	Holder Holder
	// PopulatedFrom is the CacheSnapshot that it was handed over with.
	PopulatedFrom string
	// Preexisting: it was there before the intermediate PVC, so it is no clone.
	Preexisting bool
}

// Source is what the PVC names, and the snapshot that is chosen.
type Source struct {
	// Elsewhere is the other namespace that the PVC names; empty: its own.
	Elsewhere string
	// Refused is why the source of a shared cache may not be used; empty: it may, or
	// the cache is not shared.
	Refused string
	// Found: the object that the PVC names exists.
	Found bool
	// Snapshot is the CacheSnapshot chosen: the one that the intermediate PVC
	// was made from, or else the one to begin with now; empty: there is none.
	Snapshot string
	// Candidate reports whether that CacheSnapshot may be cloned for this PVC.
	Candidate snapshot.Candidacy
	// Same: the VolumeSnapshot that was verified exists, and the intermediate
	// PVC, if there is one, is cloned from it. Names can be used again, so
	// nothing else shows what a clone was made from.
	Same bool
	// Bytes that a clone has at least.
	Bytes int64
	// Driver that created the CSI snapshot; empty: not known.
	Driver string
	// Written is what the content was built with, as far as known.
	Written Build
}

// Class is the storage class of the PVC.
type Class struct {
	// Name of it; empty: the PVC has none.
	Name string
	// Found: it exists.
	Found bool
	// WaitsForNode: a volume is made only once the scheduler has chosen a node.
	WaitsForNode bool
	// Provisioner of its volumes.
	Provisioner string
}
