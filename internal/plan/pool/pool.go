package pool

import (
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
	// StartAgain deletes the Job, which would be another one now. The next pass starts it.
	StartAgain Step = "StartAgain"
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

// Decision is the outcome of one pass.
type Decision struct {
	// Acts, one for each slot that is not free, and one for a slot to fill.
	Acts []Act
	// Wake is when to look again; zero: something else will wake us. What became of a
	// Create and a StartCheck is not considered.
	Wake time.Duration
}

// Decide returns what to do with each slot.
func Decide(o Observation) Decision {
	var d Decision
	busy := false
	for _, m := range o.Members {
		a := decide(o, m)
		d.Acts = append(d.Acts, a)
		d.wake(lookAgain(o, m, a.Step))
		busy = busy || beforeOthers(m, a.Step)
	}
	slot, ok := free(o)
	if !ok || o.Suspended || o.Snapshot == "" || busy || volumes(o) >= o.Size {
		return d
	}
	if pause := retryPause(o); pause > 0 {
		d.wake(pause)
		return d
	}
	d.Acts = append(d.Acts, Act{Slot: slot, Step: Create})
	return d
}

// beforeOthers reports whether the next volume waits for a step: one is read after another.
// One whose pod is on a lost node may be read for ever.
func beforeOthers(m Member, step Step) bool {
	return slices.Contains([]Step{StartCheck, StartAgain, Accept, Fail}, step) || step == WaitForCheck && !m.Stuck
}

// Asks reports whether the cluster is asked for an object.
func (d Decision) Asks() bool { return d.has(Create, StartCheck) }

// has reports whether one of some steps is to be taken.
func (d Decision) has(steps ...Step) bool {
	return slices.ContainsFunc(d.Acts, func(a Act) bool { return slices.Contains(steps, a.Step) })
}

// wake asks for a pass after a while, unless one is asked for earlier; 0: for none.
func (d *Decision) wake(after time.Duration) {
	if after != 0 && (d.Wake == 0 || after < d.Wake) {
		d.Wake = after
	}
}

// lookAgain is when a slot is looked at again after a step; 0: when something wakes us.
func lookAgain(o Observation, m Member, after Step) time.Duration {
	if m.Left { // no watch reports that its volume is gone
		return clearing
	}
	switch after {
	case Keep:
		return max(soon, m.Ready.Add(o.MaxAge).Sub(o.Now))
	case Create, Accept, StartAgain, WaitForConsumer, Forget:
		return soon
	case Clear:
		return clearing
	case Release, Discard, Fail, WaitForDeletion, Obstructed:
		return later
	case StartCheck, WaitForCheck:
	}
	return 0
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

// volumes is how many volumes the pool has, those that are being deleted included.
func volumes(o Observation) (n int) {
	for _, m := range o.Members {
		if m.Left || m.Exists && m.Volume != Given && m.Volume != Assigned {
			n++
		}
	}
	return n
}

// retryPause is what is left of the pause after failures in a row.
func retryPause(o Observation) time.Duration {
	if o.Failures == 0 {
		return 0
	}
	pause := schedule.Backoff{First: firstPause, Longest: longestPause}.Pause(o.Failures) - o.Now.Sub(o.LastFailure)
	if pause <= 0 {
		return 0
	}
	return max(soon, pause)
}

// decide returns the step for one slot that is not free.
func decide(o Observation, m Member) Act {
	act := func(step Step, why string) Act { return Act{Slot: m.Slot, Step: step, Why: why} }
	switch {
	case m.Foreign != "":
		return act(Obstructed, m.Foreign)
	case m.Deleting && m.Check.Exists:
		return act(Discard, "")
	case m.Deleting:
		return act(WaitForDeletion, "")
	case !m.Exists && m.Check.Exists:
		return act(Clear, "")
	case m.Left:
		return act(WaitForDeletion, "")
	case !m.Exists:
		return act(Forget, "")
	case !m.Recorded: // a crash has lost its uid, or another client made it
		return act(Discard, "the operator has no record that it created it")
	case m.Volume == Given:
		return act(WaitForConsumer, "")
	case m.Volume == Assigned:
		return act(Release, "")
	case m.Volume == Lost && !m.Ready.IsZero(): // perhaps a consumer had it, and has deleted it
		return act(Discard, "its volume was deleted")
	case m.Volume == Lost:
		return act(Fail, "its volume was deleted")
	case m.Volume == Preexisting:
		return act(Fail, "it was bound to a volume that existed before and is no clone: remove available volumes of its class that match")
	case m.Tampered != "":
		return act(Fail, m.Tampered+": what may have been written to is given to no build")
	}
	if why := outdated(o, m); why != "" {
		return act(Discard, why)
	}
	if m.Misfit != "" && m.Ready.IsZero() { // the cluster makes it so, perhaps each time: not without a pause
		return act(Fail, m.Misfit)
	}
	if m.Misfit != "" {
		return act(Discard, m.Misfit)
	}
	if m.MountedBy != "" {
		return act(Fail, fmt.Sprintf("pod %s mounts it, or is about to: what a build may have written to is given to no other", m.MountedBy))
	}
	return usable(o, m, act)
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
		return m.Withdrawn
	}
}

// usable takes a member that is of use a step towards being ready, and keeps it then.
func usable(o Observation, m Member, act func(Step, string) Act) Act {
	switch {
	case m.Ready.IsZero() && m.Check.Ended && m.Check.Refused != "":
		return act(Fail, m.Check.Refused)
	case m.Ready.IsZero() && m.Check.Ended:
		return act(Accept, "")
	case m.Ready.IsZero() && m.Check.Outdated:
		return act(StartAgain, "")
	case m.Ready.IsZero() && (m.Check.Exists || o.Suspended || o.Snapshot == ""): // without one there is nothing to compare with
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
