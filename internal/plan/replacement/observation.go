package replacement

import "time"

// Observation is the observed state of one replacement.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Intent as it stands in the status.
	Intent Intent
	// Refused is why the cluster refuses the next PVC or its Job now, such as a quota;
	// empty: it was not asked, or does not. Deadline is how long after the start of the
	// replacement that is waited for.
	Refused  string
	Deadline time.Duration
	// Source of the new content. Not looked at once it is verified.
	Source Source
	// Live, Next and Previous are the PVCs.
	Live, Next, Previous Claim
	// Old and New are the volumes that the intent names.
	Old, New Volume
	// Named is the volume that the live PVC names, if that is neither of them.
	// Any client that creates a PersistentVolumeClaim chooses the name, so it
	// is evidence only together with the volume's claimRef.
	Named Volume
	// Check is the integrity Job on the next PVC.
	Check Check
	// Busy is the operator's own use of the live PVC that is waited for: a
	// writer, a snapshot, an instance that is not down yet; empty: none.
	Busy string
	// Consumers is how many pods name the live PVC.
	Consumers int

	// Evict: consumers are evicted and not only waited for.
	Evict bool
	// Keep: the old volume is kept for a while.
	Keep bool
	// Held: the owner bears the finalizer.
	Held bool
	// Deleting: the owner is being deleted.
	Deleting bool
	// Discard: nothing is to be kept, or nothing can be made any more: the owner
	// takes its volumes with it, or the namespace goes.
	Discard bool
}

// Intent is what is to be done, as far as it decides on the next step.
type Intent struct {
	// Started is when it was written.
	Started time.Time
	// Old and New volume by name. New is named once its content was verified; an
	// empty Old is a live PVC that has no volume.
	Old, New string
	// GivenUp: what was begun is undone.
	GivenUp bool
	// Attempts of the check that were recorded, the run recorded last and its
	// time.
	Attempts   int32
	Recorded   string
	RecordedAt time.Time
}

// Source is where the new content comes from.
type Source struct {
	// Waits is what must happen before it can be used; empty: nothing.
	Waits string
	// Refused is why it never can be; empty: it can.
	Refused string
}

// Claim is one of the PVCs.
type Claim struct {
	// Exists, and Deleting: on its way out.
	Exists, Deleting bool
	// Bound to its volume, as the cluster reports it.
	Bound bool
	// Volume that it has or asks for.
	Volume string
	// Made is when it was created.
	Made time.Time
}

// gone reports whether a PVC cannot be used any more.
func (c Claim) gone() bool { return !c.Exists || c.Deleting }

// Holder is the PVC that a volume belongs to.
type Holder int

// The holders of a volume.
const (
	// HeldByStranger is a PVC that is none of the owner's.
	HeldByStranger Holder = iota
	// Unheld: no PVC is bound to it yet.
	Unheld
	// HeldByGone is one of the owner's PVCs that no longer exists.
	HeldByGone
	// HeldByLive is the live PVC: bound to it, or reserved for its name.
	HeldByLive
	// HeldByNext is the next PVC, by uid.
	HeldByNext
	// HeldByPrevious is the previous PVC: bound to it, or reserved for its name.
	HeldByPrevious
)

// Volume is a persistent volume.
type Volume struct {
	// Exists, and Deleting: on its way out.
	Exists, Deleting bool
	// Secured: it is set to Retain, and what it was set to is remembered on it.
	Secured bool
	// Marked: what its policy was is still remembered on it.
	Marked bool
	// Holder that it is reserved for or bound to.
	Holder Holder
}

// stranger reports whether a volume belongs to a PVC that is not the owner's.
func (v Volume) stranger() bool { return v.Exists && v.Holder == HeldByStranger }

// foreign reports whether a volume exists and is not the owner's. Such a volume
// is never written to.
func (v Volume) foreign() bool {
	return v.Exists && (v.Holder == HeldByStranger || v.Holder == Unheld)
}

// gone reports whether a volume cannot be used: it does not exist, is on its way
// out, or is not the owner's.
func (v Volume) gone() bool { return !v.Exists || v.Deleting || v.foreign() }

// Check is the integrity Job on the next PVC.
type Check struct {
	// Exists; Ended: it has an outcome; Run identifies it.
	Exists, Ended bool
	Run           string
	// Leftovers: a pod of it, or a PVC that it copied from, still exists.
	Leftovers bool
}
