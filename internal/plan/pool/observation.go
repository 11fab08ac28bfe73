package pool

import "time"

// Observation is the observed state of the pool of a cache.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Size that is declared; 0: no pool.
	Size int
	// Suspended: nothing is started. What has begun is brought to its end.
	Suspended bool
	// MaxAge of a volume that is not taken.
	MaxAge time.Duration
	// Snapshot that a consumer gets now; empty: none.
	Snapshot string
	// Members are the slots that are not free.
	Members []Member
	// Failures in a row, and when the last one was.
	Failures    int32
	LastFailure time.Time
}

// Member is what is in a slot.
type Member struct {
	// Slot is its number, from 0.
	Slot int
	// Foreign is set if an object of the name belongs to another owner: which one.
	Foreign string
	// Recorded: the status has its uid from the answer to its creation.
	Recorded bool
	// Exists: the PVC exists, and Deleting: it is being deleted.
	Exists, Deleting bool
	// Left: the PVC is gone, and its volume was not deleted yet.
	Left bool
	// Snapshot that it was made from.
	Snapshot string
	// Withdrawn is why that snapshot may not be used any more; empty: it may.
	Withdrawn string
	// Misfit is in which respect it is not what the spec asks for; empty: in none.
	Misfit string
	// Tampered is which mark of the operator another client took from it; empty: none.
	Tampered string
	// Volume of it.
	Volume Volume
	// MountedBy is a pod that names the PVC and is not that of its check.
	MountedBy string
	// Stuck: a pod of its check is on a node that is lost.
	Stuck bool
	// Ready is when its check was recorded as Intact; zero: it was not.
	Ready time.Time
	// Check of it.
	Check Check
}

// Volume is the state of the volume of a member.
type Volume string

// The states of a volume.
const (
	// Pending: it is not made yet.
	Pending Volume = ""
	// Held: the member has it.
	Held Volume = "Held"
	// Given: it is reserved for the PVC of a consumer, which is not bound to it yet.
	Given Volume = "Given"
	// Assigned: the PVC of a consumer has it, or had it.
	Assigned Volume = "Assigned"
	// Lost: it was deleted.
	Lost Volume = "Lost"
	// Preexisting: it was there before the member, so it is no clone.
	Preexisting Volume = "Preexisting"
)

// Check is the Job that reads a member.
type Check struct {
	// Exists: there is a Job.
	Exists bool
	// Ended: it has ended, and Refused is why its report does not make the member
	// ready; empty: it found the content of the snapshot, Intact.
	Ended   bool
	Refused string
	// Pods: a pod of it exists.
	Pods bool
	// Outdated: its container has not run, and it would be another one now.
	Outdated bool
}
