package verification

import (
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// MaxAttempts is how often a check that could not tell is made at most.
const MaxAttempts = 3

// Intervals of looking again where no watch tells.
const (
	retryCapture = 10 * time.Second
	retryCleanUp = time.Second // the pods of a Job that is gone are not watched
	retrySource  = 30 * time.Second
	retryAttempt = 10 * time.Second // times the attempts made
)

// Stage is the next step.
type Stage string

// The stages.
const (
	Suspended    Stage = "Suspended"
	AwaitSource  Stage = "AwaitSource"
	Admit        Stage = "Admit"
	AwaitQuiet   Stage = "AwaitQuiet"
	Capture      Stage = "Capture"
	AwaitCut     Stage = "AwaitCut"
	Check        Stage = "Check"
	AwaitJob     Stage = "AwaitJob"
	Book         Stage = "Book"
	CleanUp      Stage = "CleanUp"
	AwaitRetry   Stage = "AwaitRetry"
	Done         Stage = "Done"
	SnapshotLost Stage = "SnapshotLost"
	Expired      Stage = "Expired"
)

// Facts are what is known of a snapshot.
type Facts struct {
	// Now is the time of this pass.
	Now time.Time
	// Suspended by the spec.
	Suspended bool
	// Mode of verification.
	Mode v1alpha1.VerificationMode
	// Deadline of capture and verification together; 0: none.
	Deadline time.Duration

	// Started is when the source was admitted, and Began when the CSI snapshot
	// was first asked for; zero: not yet. The deadline counts from Began: how
	// long a source is written to is no fault of the snapshot.
	Started, Began time.Time
	// SourceReady: the source exists and its claim is bound.
	SourceReady bool
	// SourceBusy: a Job writes to the source's claim.
	SourceBusy bool

	// Asked: the CSI snapshot exists. Cut: it can be restored. WasCut: it
	// could be once, by the status.
	Asked, Cut, WasCut bool

	// Attempts made and booked, the last one's verdict, and its end.
	Attempts int32
	Verdict  v1alpha1.Verdict
	Booked   string // the run that was booked last
	BookedAt time.Time

	// Job says whether the integrity Job exists, Run identifies it, JobEnded
	// says that it has an outcome.
	Job      bool
	Run      string
	JobEnded bool
	// Leftovers: the clone, or a pod of the Job, still exists.
	Leftovers bool
}

// Decision is what to do.
type Decision struct {
	// Stage to carry out.
	Stage Stage
	// Wake is when to look again if nothing else does; 0: only then.
	Wake time.Duration
	// Remaining of the deadline, for the Job; 0: none is set.
	Remaining time.Duration
}

// Decide says what to do next.
func Decide(f Facts) Decision {
	if f.Job && f.JobEnded && f.Run != f.Booked { // even when suspended: a verdict is never lost
		return Decision{Stage: Book}
	}
	if f.WasCut && !f.Asked {
		return f.end(SnapshotLost)
	}
	if final(f) {
		return f.end(Done)
	}
	if f.Suspended {
		return Decision{Stage: Suspended}
	}
	remaining, expired := f.remaining()
	if expired {
		return f.end(Expired)
	}
	// A CSI snapshot may be there before its source was admitted: one whose
	// status was lost. What the source is like must be known first all the same.
	if !f.Asked || f.Started.IsZero() {
		return f.capture()
	}
	if !f.Cut {
		return Decision{Stage: AwaitCut, Wake: soonest(retryCapture, remaining)}
	}
	if f.Mode == v1alpha1.VerificationSkip {
		return Decision{Stage: Done}
	}
	return f.check(remaining)
}

// capture is the way to a CSI snapshot.
func (f Facts) capture() Decision {
	switch {
	case f.Started.IsZero() && !f.SourceReady:
		return Decision{Stage: AwaitSource, Wake: retrySource}
	case f.Started.IsZero():
		return Decision{Stage: Admit}
	case f.SourceBusy:
		return Decision{Stage: AwaitQuiet, Wake: retryCapture}
	default:
		return Decision{Stage: Capture, Wake: retryCapture}
	}
}

// check is the way from a CSI snapshot to a verdict.
func (f Facts) check(remaining time.Duration) Decision {
	switch {
	case f.Job && f.Run == f.Booked: // an attempt that could not tell
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	case f.Job:
		return Decision{Stage: AwaitJob, Wake: remaining}
	case f.Attempts > 0 && f.Leftovers:
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	}
	if wait := f.BookedAt.Add(time.Duration(f.Attempts) * retryAttempt).Sub(f.Now); f.Attempts > 0 && wait > 0 {
		return Decision{Stage: AwaitRetry, Wake: wait}
	}
	return Decision{Stage: Check, Wake: remaining, Remaining: remaining}
}

// end cleans up first, and is then what it is.
func (f Facts) end(stage Stage) Decision {
	if f.Job || f.Leftovers {
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	}
	return Decision{Stage: stage}
}

// remaining of the deadline, and whether it has passed without a verdict.
func (f Facts) remaining() (time.Duration, bool) {
	if f.Deadline <= 0 || f.Began.IsZero() {
		return 0, false
	}
	left := f.Began.Add(f.Deadline).Sub(f.Now)
	done := f.Mode == v1alpha1.VerificationSkip && f.Cut
	return left, left <= 0 && !done
}

// final says whether no further attempt will be made.
func final(f Facts) bool {
	switch f.Verdict {
	case v1alpha1.VerdictIntact, v1alpha1.VerdictCorrupt:
		return true
	case v1alpha1.VerdictInconclusive:
		return f.Attempts >= MaxAttempts
	default:
		return false
	}
}

func soonest(a, b time.Duration) time.Duration {
	if b > 0 && b < a {
		return b
	}
	return a
}
