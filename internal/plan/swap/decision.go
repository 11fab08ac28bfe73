package swap

import (
	"slices"
	"time"
)

// Step is what to do now.
type Step string

// The steps, in the order of the protocol; see the package comment.
const (
	// AwaitSource waits for what the new content comes from.
	AwaitSource Step = "AwaitSource"
	// MakeNext makes the next claim and the integrity Job on it.
	MakeNext Step = "MakeNext"
	// AwaitCheck waits for the Job.
	AwaitCheck Step = "AwaitCheck"
	// BookCheck writes the verdict into the intent: Intact names both volumes,
	// Corrupt gives up, and so does the last of MaxAttempts that could not tell.
	BookCheck Step = "BookCheck"
	// AwaitRetry pauses before a check that could not tell is repeated.
	AwaitRetry Step = "AwaitRetry"
	// ClearCheck removes the Job; then, when its pods are gone, what it copied from.
	ClearCheck Step = "ClearCheck"

	// TakeHold puts the finalizer on the owner.
	TakeHold Step = "TakeHold"
	// NoteOld writes the name of the live claim's volume into the intent.
	NoteOld Step = "NoteOld"
	// SecureNew and SecureOld set a volume to Retain and remember its policy.
	SecureNew Step = "SecureNew"
	SecureOld Step = "SecureOld"
	// AwaitBusy waits for who of our own uses the live claim.
	AwaitBusy Step = "AwaitBusy"
	// AwaitConsumers waits for pods that name the live claim.
	AwaitConsumers Step = "AwaitConsumers"
	// DropNext deletes the next claim.
	DropNext Step = "DropNext"
	// AwaitNextGone waits until it is gone.
	AwaitNextGone Step = "AwaitNextGone"
	// ReserveNew and RevertOld reserve the new volume, or again the old one, for
	// the live claim by name.
	ReserveNew Step = "ReserveNew"
	RevertOld  Step = "RevertOld"
	// DropLive deletes the live claim.
	DropLive Step = "DropLive"
	// Evict evicts the pods that name it.
	Evict Step = "Evict"
	// AwaitLiveGone waits until it is gone.
	AwaitLiveGone Step = "AwaitLiveGone"
	// MakeLive makes the live claim on Decision.Volume.
	MakeLive Step = "MakeLive"
	// AwaitLive waits until it is bound.
	AwaitLive Step = "AwaitLive"

	// FreeNew and FreeOld give a volume its policy back. If no claim has it any
	// more, the policy decides about it.
	FreeNew Step = "FreeNew"
	FreeOld Step = "FreeOld"
	// DropPrevious deletes a previous claim of an earlier swap.
	DropPrevious Step = "DropPrevious"
	// AwaitPreviousGone waits until it is gone.
	AwaitPreviousGone Step = "AwaitPreviousGone"
	// ReserveOld reserves the old volume for the previous claim by name.
	ReserveOld Step = "ReserveOld"
	// MakePrevious makes the previous claim on the old volume.
	MakePrevious Step = "MakePrevious"
	// AwaitPrevious waits until it is bound.
	AwaitPrevious Step = "AwaitPrevious"

	// GiveUp writes into the intent that it is undone, and why (Detail).
	GiveUp Step = "GiveUp"
	// Finish clears the intent: the live claim has the new volume.
	Finish Step = "Finish"
	// Abandon clears the intent: all is as it was.
	Abandon Step = "Abandon"
)

// Decision is the outcome of one pass.
type Decision struct {
	// Step to take.
	Step Step
	// Volume that it speaks of, by name.
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
		AwaitSource, AwaitCheck, AwaitRetry, AwaitBusy, AwaitConsumers, AwaitNextGone, AwaitLiveGone, AwaitLive, AwaitPreviousGone, AwaitPrevious,
	}
	intents = []Step{BookCheck, NoteOld, GiveUp, Finish, Abandon}
)

// Waits says whether the step changes nothing.
func (d Decision) Waits() bool { return slices.Contains(waiting, d.Step) }

// ChangesIntent says whether the step is a write of the status, which has to
// be made before anything that depends on it.
func (d Decision) ChangesIntent() bool { return slices.Contains(intents, d.Step) }
