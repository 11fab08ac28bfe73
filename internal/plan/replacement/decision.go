package replacement

import (
	"slices"
	"time"
)

// Step is what to do now.
type Step string

// The steps, in the order of the protocol; see the package comment.
const (
	// WaitForSource waits for what the new content comes from.
	WaitForSource Step = "WaitForSource"
	// MakeNext makes the next PVC and the integrity Job on it.
	MakeNext Step = "MakeNext"
	// WaitForAdmission waits until the cluster no longer refuses the next PVC or its Job.
	WaitForAdmission Step = "WaitForAdmission"
	// WaitForCheck waits for the Job.
	WaitForCheck Step = "WaitForCheck"
	// RecordCheck writes the verdict into the intent: Intact names both
	// volumes, Corrupt gives up, and so does the last of MaxAttempts that was
	// inconclusive.
	RecordCheck Step = "RecordCheck"
	// WaitForRetry pauses before an inconclusive check is repeated.
	WaitForRetry Step = "WaitForRetry"
	// ClearCheck removes the Job; then, when its pods are gone, what it copied from.
	ClearCheck Step = "ClearCheck"

	// TakeHold puts the finalizer on the owner.
	TakeHold Step = "TakeHold"
	// RecordOld writes the name of the live PVC's volume into the intent.
	RecordOld Step = "RecordOld"
	// SecureNew and SecureOld set a volume to Retain and remember its policy.
	SecureNew Step = "SecureNew"
	SecureOld Step = "SecureOld"
	// WaitForIdle waits until no Job or snapshot of the operator uses the live
	// PVC.
	WaitForIdle Step = "WaitForIdle"
	// WaitForConsumers waits for pods that name the live PVC.
	WaitForConsumers Step = "WaitForConsumers"
	// DropNext deletes the next PVC.
	DropNext Step = "DropNext"
	// WaitForNextDeleted waits until it is gone.
	WaitForNextDeleted Step = "WaitForNextDeleted"
	// ReserveNew and RevertOld reserve the new volume, or again the old one, for
	// the live PVC by name.
	ReserveNew Step = "ReserveNew"
	RevertOld  Step = "RevertOld"
	// DropLive deletes the live PVC.
	DropLive Step = "DropLive"
	// Evict evicts the pods that name it.
	Evict Step = "Evict"
	// WaitForLiveDeleted waits until it is gone.
	WaitForLiveDeleted Step = "WaitForLiveDeleted"
	// MakeLive makes the live PVC on Decision.Volume.
	MakeLive Step = "MakeLive"
	// WaitForLive waits until it is bound.
	WaitForLive Step = "WaitForLive"

	// FreeNew and FreeOld give a volume its policy back. If no PVC has it any
	// more, the policy decides about it.
	FreeNew Step = "FreeNew"
	FreeOld Step = "FreeOld"
	// DropPrevious deletes a previous PVC of an earlier replacement.
	DropPrevious Step = "DropPrevious"
	// WaitForPreviousDeleted waits until it is gone.
	WaitForPreviousDeleted Step = "WaitForPreviousDeleted"
	// ReserveOld reserves the old volume for the previous PVC by name.
	ReserveOld Step = "ReserveOld"
	// MakePrevious makes the previous PVC on the old volume.
	MakePrevious Step = "MakePrevious"
	// WaitForPrevious waits until it is bound.
	WaitForPrevious Step = "WaitForPrevious"

	// GiveUp writes into the intent that it is undone, and why (Detail).
	GiveUp Step = "GiveUp"
	// Finish clears the intent: the live PVC has the new volume.
	Finish Step = "Finish"
	// Abandon clears the intent: all is as it was.
	Abandon Step = "Abandon"
)

// Decision is the outcome of one pass.
type Decision struct {
	// Step to take.
	Step Step
	// Volume that it is about, by name.
	Volume string
	// Detail for a person: what is waited for, why it is given up.
	Detail string
	// After which to look again if nothing else wakes us; zero: something will.
	After time.Duration
}

// waiting are the steps that change nothing, and intents those that are a write
// of the status.
var (
	waiting = []Step{
		WaitForSource, WaitForAdmission, WaitForCheck, WaitForRetry, WaitForIdle, WaitForConsumers, WaitForNextDeleted, WaitForLiveDeleted, WaitForLive, WaitForPreviousDeleted, WaitForPrevious,
	}
	intents = []Step{RecordCheck, RecordOld, GiveUp, Finish, Abandon}
)

// Waits reports whether the step changes nothing.
func (d Decision) Waits() bool { return slices.Contains(waiting, d.Step) }

// ChangesIntent reports whether the step is a write of the status, which has to
// be made before anything that depends on it.
func (d Decision) ChangesIntent() bool { return slices.Contains(intents, d.Step) }
