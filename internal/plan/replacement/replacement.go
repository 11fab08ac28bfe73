package replacement

import "time"

// MaxAttempts is the maximum number of checks while they are inconclusive.
const MaxAttempts = 3

const (
	// soon, later are the pauses before what no watch reports is looked at again.
	soon  = time.Second
	later = 10 * time.Second
	// refusedPause is the pause before what the cluster refused is asked for again.
	refusedPause = time.Minute
	// retryAfter times the attempts made is the pause before the next.
	retryAfter = 10 * time.Second
)

// Decide returns the next step of one replacement.
func Decide(f Observation) Decision {
	undone := f.Intent.GivenUp || f.Deleting || f.Discard
	switch {
	case f.switched():
		return f.settle()
	case undone && !f.committed():
		return f.undo()
	case f.Intent.New == "":
		return f.prepare()
	default:
		return f.replace()
	}
}

// switched reports whether the live PVC has the new volume.
func (f Observation) switched() bool {
	return f.Intent.New != "" && !f.Live.gone() && f.Live.Volume == f.Intent.New
}

// committed reports whether the live PVC is gone or on its way, so that it has
// to be made again even if the replacement is given up or its owner goes.
func (f Observation) committed() bool {
	if f.Intent.New == "" || f.Discard || !f.Live.gone() {
		return false
	}
	return f.Intent.Old != "" && !(f.Old.gone() && f.New.gone())
}

// prepare makes the new content and has it verified.
func (f Observation) prepare() Decision {
	recorded := f.Check.Run == f.Intent.Recorded
	switch {
	case f.Check.Ended && !recorded && !f.Next.gone():
		return Decision{Step: RecordCheck}
	case f.Source.Refused != "" && !f.Next.Bound:
		return Decision{Step: GiveUp, Detail: f.Source.Refused}
	case f.Check.Exists && (recorded || f.Next.gone()): // it was inconclusive, or its PVC was taken from it
		return Decision{Step: ClearCheck, After: soon}
	case f.Check.Exists:
		return Decision{Step: WaitForCheck}
	case f.Next.Deleting:
		return Decision{Step: WaitForNextDeleted, After: soon}
	case f.Next.Exists && f.Intent.Attempts > 0 && !f.Next.Made.After(f.Intent.RecordedAt): // of the last attempt
		return Decision{Step: DropNext, After: soon}
	case f.Check.Leftovers && !f.Next.Exists:
		return Decision{Step: ClearCheck, After: soon}
	case f.Source.Waits != "":
		return Decision{Step: WaitForSource, Detail: f.Source.Waits, After: later}
	}
	if wait := f.Intent.RecordedAt.Add(time.Duration(f.Intent.Attempts) * retryAfter).Sub(f.Now); f.Intent.Attempts > 0 && wait > 0 {
		return Decision{Step: WaitForRetry, After: wait}
	}
	if f.Refused != "" {
		return f.refused()
	}
	return Decision{Step: MakeNext}
}

// refused waits for the cluster to admit the new volume, but not for ever: all that uses
// the live PVC waits for the end.
func (f Observation) refused() Decision {
	if f.Now.Sub(f.Intent.Started) < f.Deadline {
		return Decision{Step: WaitForAdmission, Detail: "the cluster to admit the new volume: " + f.Refused, After: refusedPause}
	}
	return Decision{Step: GiveUp, Detail: "the cluster did not admit the new volume in time: " + f.Refused}
}

// replace puts the verified volume in the place of the old one.
func (f Observation) replace() Decision {
	target, volume, reserve := f.New, f.Intent.New, ReserveNew
	if f.New.gone() {
		if !f.Live.gone() || f.Old.gone() {
			return Decision{Step: GiveUp, Detail: f.lost()}
		}
		target, volume, reserve = f.Old, f.Intent.Old, RevertOld
	}
	if d := f.secure(); d != nil {
		return *d
	}
	if !f.Live.gone() {
		if d := f.inUse(); d != nil && !(f.Evict && d.Step == Evict) {
			return *d
		}
	}
	switch {
	case f.Next.Deleting:
		return Decision{Step: WaitForNextDeleted, After: soon}
	case f.Next.Exists:
		return Decision{Step: DropNext, After: soon}
	case target.Holder != HeldByLive:
		return Decision{Step: reserve, Volume: volume}
	case !f.Live.Exists:
		return Decision{Step: MakeLive, Volume: volume}
	case !f.Live.Deleting:
		return Decision{Step: DropLive, After: soon}
	}
	if d := f.inUse(); d != nil {
		return *d
	}
	return Decision{Step: WaitForLiveDeleted, After: soon}
}

// lost is why the new volume cannot take its place.
func (f Observation) lost() string {
	if f.New.foreign() {
		return strange(f.Intent.New)
	}
	return "volume " + f.Intent.New + " was deleted before it took its place"
}

// strange means that a volume is not the owner's. The owner is not named: it
// may be another tenant.
func strange(volume string) string {
	return "volume " + volume + " belongs to another PersistentVolumeClaim, and is left alone"
}

// current is what to do about a live PVC that names another volume than the
// intent. The name is trusted only if PVC and volume are bound to each other.
func (f Observation) current() *Decision {
	name := f.Live.Volume
	switch {
	case f.Live.gone():
		return nil
	case name == f.Intent.Old && f.Old.foreign():
		return &Decision{Step: GiveUp, Detail: strange(name)}
	case name == f.Intent.Old:
		return nil
	case name != "" && f.Named.stranger():
		return &Decision{Step: GiveUp, Detail: "the live PersistentVolumeClaim names a volume that is not its own: " + strange(name) + "; delete the PersistentVolumeClaim"}
	case f.Old.Marked:
		return &Decision{Step: GiveUp, Detail: "the live PersistentVolumeClaim was given volume " + name + " in the meantime"}
	case name != "" && !f.Live.Bound:
		return &Decision{Step: WaitForIdle, Detail: "the live PersistentVolumeClaim to be bound to volume " + name + ", which it names", After: later}
	default:
		return &Decision{Step: RecordOld, Volume: name}
	}
}

// secure is what is missing for nothing to be lost whatever is deleted, or nil.
func (f Observation) secure() *Decision {
	if d := f.current(); d != nil {
		return d
	}
	switch {
	case !f.Held:
		return &Decision{Step: TakeHold}
	case !f.New.gone() && !f.New.Secured:
		return &Decision{Step: SecureNew, Volume: f.Intent.New}
	case f.Old.Exists && !f.Old.foreign() && !f.Old.Secured:
		return &Decision{Step: SecureOld, Volume: f.Intent.Old}
	case f.Check.Exists || f.Check.Leftovers: // its pod holds the next PVC
		return &Decision{Step: ClearCheck, After: soon}
	default:
		return nil
	}
}

// inUse returns the consumers of the live PVC and what is done about it, or nil.
func (f Observation) inUse() *Decision {
	switch {
	case f.Busy != "":
		return &Decision{Step: WaitForIdle, Detail: f.Busy, After: later}
	case f.Consumers > 0 && f.Evict:
		return &Decision{Step: Evict, After: 2 * soon}
	case f.Consumers > 0:
		return &Decision{Step: WaitForConsumers, After: later}
	default:
		return nil
	}
}

// settle brings both volumes into their final state.
func (f Observation) settle() Decision {
	switch {
	case !f.Live.Bound:
		return Decision{Step: WaitForLive, After: soon}
	case f.New.Marked:
		return Decision{Step: FreeNew, Volume: f.Intent.New}
	case f.Old.Marked:
		return f.settleOld()
	case f.Check.Exists || f.Check.Leftovers:
		return Decision{Step: ClearCheck, After: soon}
	case f.Next.Exists && !f.Next.Deleting: // it was created again
		return Decision{Step: DropNext, After: soon}
	default:
		return Decision{Step: Finish}
	}
}

// settleOld keeps the old volume for a while, or lets its policy decide.
func (f Observation) settleOld() Decision {
	old := f.Intent.Old
	switch {
	case !f.Keep || f.Discard || f.Old.Deleting:
		return Decision{Step: FreeOld, Volume: old}
	case f.Previous.Deleting:
		return Decision{Step: WaitForPreviousDeleted, After: soon}
	case f.Previous.Exists && f.Previous.Volume != old:
		return Decision{Step: DropPrevious, After: soon}
	case f.Old.Holder != HeldByPrevious:
		return Decision{Step: ReserveOld, Volume: old}
	case !f.Previous.Exists:
		return Decision{Step: MakePrevious, Volume: old}
	case !f.Previous.Bound:
		return Decision{Step: WaitForPrevious, After: soon}
	default:
		return Decision{Step: FreeOld, Volume: old}
	}
}

// undo takes back what was begun.
func (f Observation) undo() Decision {
	back := f.Intent.Old != "" && !f.Live.gone() && f.Live.Volume == f.Intent.Old
	switch {
	case back && !f.Live.Bound && f.Old.Marked && !f.Discard:
		return Decision{Step: WaitForLive, After: soon}
	case f.Old.Marked:
		return Decision{Step: FreeOld, Volume: f.Intent.Old}
	case f.Check.Exists || f.Check.Leftovers:
		return Decision{Step: ClearCheck, After: soon}
	case f.New.Marked:
		return Decision{Step: FreeNew, Volume: f.Intent.New}
	case f.Next.Deleting:
		return Decision{Step: WaitForNextDeleted, After: soon}
	case f.Next.Exists:
		return Decision{Step: DropNext, After: soon}
	default:
		return Decision{Step: Abandon}
	}
}
