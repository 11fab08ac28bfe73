package pool

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"gocache.dev/operator/internal/plan/schedule"
)

const (
	// firstPause and longestPause are the pauses after failures in a row.
	firstPause   = time.Minute
	longestPause = time.Hour

	// soon is when the next step is taken, and when it is looked at again whether the PVC
	// of a consumer is bound, which no watch reports. Neither does one that a pod is gone:
	// that is looked at every clearing. later is for what a watch reports.
	soon     = time.Second
	clearing = 5 * time.Second
	later    = time.Minute
)

// Step is what to do with a slot.
type Step string

// The steps.
const (
	// Create makes the PVC of a free slot.
	Create Step = "Create"
	// StartCheck starts the Job that reads the volume.
	StartCheck Step = "StartCheck"
	// WaitForCheck changes nothing: the volume is being made and read.
	WaitForCheck Step = "WaitForCheck"
	// Accept records that the check found the volume Intact.
	Accept Step = "Accept"
	// Clear deletes the Job, and waits for its pod to be gone.
	Clear Step = "Clear"
	// Keep changes nothing: the volume is ready.
	Keep Step = "Keep"
	// WaitForConsumer changes nothing: the PVC that the volume is reserved for is not
	// bound to it yet, and the member is the only trace of that.
	WaitForConsumer Step = "WaitForConsumer"
	// Release deletes a member whose volume belongs to a consumer.
	Release Step = "Release"
	// Discard deletes a member with its volume.
	Discard Step = "Discard"
	// Fail deletes it likewise, and counts a failure.
	Fail Step = "Fail"
	// WaitForDeletion changes nothing: it is being deleted.
	WaitForDeletion Step = "WaitForDeletion"
	// Forget drops the record of a member that is gone.
	Forget Step = "Forget"
	// Obstructed changes nothing: an object of the name belongs to another owner.
	Obstructed Step = "Obstructed"
)

// Act is a step for one slot.
type Act struct {
	Slot int
	Step Step
	// Why, for a person.
	Why string
}

// State is how the pool as a whole stands.
type State string

// The states.
const (
	// None: there is no pool, and nothing is left of one.
	None State = ""
	// Removing: there is no pool any more, and members are left.
	Removing State = "Removing"
	// Unoffered: no snapshot is offered that volumes could be made from.
	Unoffered State = "Unoffered"
	// Filled: all volumes are ready.
	Filled State = "Filled"
	// Filling: some are not.
	Filling State = "Filling"
	// Failing: some are not, since the last one failed.
	Failing State = "Failing"
	// Blocked: a foreign object has the name of a member.
	Blocked State = "Blocked"
)

// Decision is the outcome of one pass.
type Decision struct {
	State State
	// Acts, one for each slot that is not free, and one for a slot to fill.
	Acts []Act
	// Ready is how many volumes a PVC can get.
	Ready int
	// Detail of the state, for a person.
	Detail string
	// Wake is when to look again; zero: something else will wake us. What became of a
	// Create and a StartCheck is not considered.
	Wake time.Duration
}

// Decide returns what to do with each slot.
func Decide(o Observation) Decision {
	var d Decision
	exist, beingMade, blocked := 0, false, ""
	for _, m := range o.Members {
		a := decide(o, m)
		d.Acts = append(d.Acts, a)
		switch a.Step {
		case Keep:
			d.Ready++
			d.wake(m.Ready.Add(o.MaxAge).Sub(o.Now))
		case StartCheck, WaitForCheck:
			beingMade = true
		case Accept:
			beingMade = true
			d.wake(soon)
		case Clear:
			beingMade = true
			d.wake(clearing)
		case Obstructed:
			blocked = a.Why
			d.wake(later)
		case Release, Discard, Fail, WaitForDeletion:
			d.wake(later)
		case Create, WaitForConsumer, Forget:
			d.wake(soon)
		}
		if m.Exists && m.Volume != Given && m.Volume != Assigned {
			exist++
		}
	}
	pause := time.Duration(0)
	if o.Failures > 0 {
		pause = schedule.Backoff{First: firstPause, Longest: longestPause}.Pause(o.Failures) - o.Now.Sub(o.LastFailure)
	}
	failed := slices.ContainsFunc(d.Acts, func(a Act) bool { return a.Step == Fail })
	if slot, ok := free(o); ok && o.Snapshot != "" && !beingMade && !failed && exist < o.Size {
		if pause > 0 {
			d.wake(pause)
		} else {
			d.Acts = append(d.Acts, Act{Slot: slot, Step: Create})
		}
	}
	d.State, d.Detail = state(o, d, blocked)
	return d
}

// state is how the pool stands after the acts.
func state(o Observation, d Decision, blocked string) (State, string) {
	switch {
	case o.Size == 0 && len(o.Members) == 0:
		return None, ""
	case o.Size == 0:
		return Removing, ""
	case d.Ready >= o.Size:
		return Filled, ""
	case blocked != "":
		return Blocked, blocked
	case o.Failures > 0:
		return Failing, ""
	case o.Snapshot == "":
		return Unoffered, ""
	default:
		return Filling, ""
	}
}

// free is the first slot of the pool that is free.
func free(o Observation) (int, bool) {
	for slot := range o.Size {
		if !slices.ContainsFunc(o.Members, func(m Member) bool { return m.Slot == slot }) {
			return slot, true
		}
	}
	return 0, false
}

// decide returns the step for one slot that is not free.
func decide(o Observation, m Member) Act {
	act := func(step Step, why string) Act { return Act{Slot: m.Slot, Step: step, Why: why} }
	switch {
	case m.Foreign != "":
		return act(Obstructed, m.Foreign)
	case m.Deleting:
		if m.Check.Exists {
			return act(Discard, "")
		}
		return act(WaitForDeletion, "")
	case !m.Exists && m.Check.Exists:
		return act(Clear, "")
	case !m.Exists:
		return act(Forget, "")
	case !m.Recorded: // a crash has lost its uid, or another client made it
		return act(Discard, "the operator has no record that it created it")
	case m.Volume == Given:
		return act(WaitForConsumer, "")
	case m.Volume == Assigned:
		return act(Release, "")
	case m.Volume == Lost:
		return act(Fail, "its volume was deleted")
	case m.Volume == Preexisting:
		return act(Fail, "it was bound to a volume that existed before and is no clone: remove available volumes of its class that match")
	}
	if why := outdated(o, m); why != "" {
		return act(Discard, why)
	}
	if m.MountedBy != "" {
		return act(Fail, fmt.Sprintf("pod %s mounts it, or is about to: what a build may have written to is given to no other", m.MountedBy))
	}
	return unread(o, m, act)
}

// outdated is why a member is of no use any more; empty: it is.
func outdated(o Observation, m Member) string {
	switch {
	case o.Size == 0:
		return "spec.pool was removed"
	case m.Slot >= o.Size:
		return "spec.pool.size was lowered"
	case o.Snapshot != "" && m.Snapshot != o.Snapshot:
		return fmt.Sprintf("consumers get CacheSnapshot %s now, not %s", o.Snapshot, m.Snapshot)
	default:
		return cmp.Or(m.Withdrawn, m.Misfit)
	}
}

// unread takes a member that is of use a step towards being ready.
func unread(o Observation, m Member, act func(Step, string) Act) Act {
	switch {
	case m.Ready.IsZero() && m.Check.Ended && m.Check.Refused != "":
		return act(Fail, m.Check.Refused)
	case m.Ready.IsZero() && m.Check.Ended:
		return act(Accept, "")
	case m.Ready.IsZero() && m.Check.Exists:
		return act(WaitForCheck, "")
	case m.Ready.IsZero():
		return act(StartCheck, "")
	case m.Check.Exists || m.Check.Pods:
		return act(Clear, "")
	case o.Now.Sub(m.Ready) >= o.MaxAge:
		return act(Discard, fmt.Sprintf("no PVC has taken it for %s (spec.pool.maxAge)", o.MaxAge))
	default:
		return act(Keep, "")
	}
}

// wake asks for a pass after a while, unless one is asked for earlier.
func (d *Decision) wake(after time.Duration) {
	after = max(after, time.Second)
	if d.Wake == 0 || after < d.Wake {
		d.Wake = after
	}
}
