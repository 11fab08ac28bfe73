package verification

import (
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// MaxAttempts is the maximum number of attempts of one verification, repair, offline
// build test or repetition while they are inconclusive.
const MaxAttempts = 3

// Intervals of deciding again without an event of a watch.
const (
	retrySnapshot = 10 * time.Second
	retryCleanUp  = time.Second // the pods of a Job that is gone are not watched
	retrySource   = 30 * time.Second
	retryAttempt  = 10 * time.Second // times the attempts made
)

// Stage is the next step.
type Stage string

// The stages.
const (
	Suspended               Stage = "Suspended"
	WaitForSource           Stage = "WaitForSource"
	Admit                   Stage = "Admit"
	WaitForWriter           Stage = "WaitForWriter"
	CreateSnapshot          Stage = "CreateSnapshot"
	WaitForSnapshot         Stage = "WaitForSnapshot"
	Check                   Stage = "Check"
	WaitForJob              Stage = "WaitForJob"
	RecordVerdict           Stage = "RecordVerdict"
	Repair                  Stage = "Repair"
	WaitForRepair           Stage = "WaitForRepair"
	RecordRepair            Stage = "RecordRepair"
	RestartRepair           Stage = "RestartRepair"
	SnapshotRepaired        Stage = "SnapshotRepaired"
	WaitForRepairedSnapshot Stage = "WaitForRepairedSnapshot"
	DeleteRepairedClone     Stage = "DeleteRepairedClone"
	OfflineBuild            Stage = "OfflineBuild"
	WaitForOfflineBuild     Stage = "WaitForOfflineBuild"
	RecordOfflineBuild      Stage = "RecordOfflineBuild"
	ClearJobs               Stage = "ClearJobs"
	CleanUp                 Stage = "CleanUp"
	WaitForRetry            Stage = "WaitForRetry"
	DeleteOriginalSnapshot  Stage = "DeleteOriginalSnapshot"
	BeginRepeat             Stage = "BeginRepeat"
	Repeat                  Stage = "Repeat"
	WaitForRepeat           Stage = "WaitForRepeat"
	RecordRepeat            Stage = "RecordRepeat"
	EndRepeat               Stage = "EndRepeat"
	Done                    Stage = "Done"
	SnapshotLost            Stage = "SnapshotLost"
	Expired                 Stage = "Expired"
)

// Try is how far a Job has come that may have to be run several times.
type Try struct {
	// Attempts made and recorded, the run that was recorded last, and when.
	Attempts   int32
	Recorded   string
	RecordedAt time.Time
	// Job reports whether the Job exists, Run identifies it, Ended means that
	// it has an outcome.
	Job   bool
	Run   string
	Ended bool
}

// Work is what is done on a clone beside the check.
type Work struct {
	Try
	// Called for, by the spec and the verdict.
	Called bool
	// Outcome of the last attempt; empty: none was recorded.
	Outcome v1alpha1.WorkOutcome
}

// settled reports whether no further attempt will be made.
func (w Work) settled() bool {
	switch w.Outcome {
	case v1alpha1.WorkSucceeded, v1alpha1.WorkFailed:
		return true
	case v1alpha1.WorkInconclusive:
		return w.Attempts >= MaxAttempts
	default:
		return !w.Called
	}
}

// Observation is the observed state of a snapshot.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Suspended by the spec.
	Suspended bool
	// Mode of verification.
	Mode v1alpha1.VerificationMode
	// Deadline of the creation of the snapshot and its verification together;
	// 0: none.
	Deadline time.Duration

	// Started is when the source was admitted, and Began when the CSI snapshot
	// was first asked for; zero: not yet. The deadline counts from Began: how
	// long a source is written to is no fault of the snapshot.
	Started, Began time.Time
	// Created is when the CSI snapshot was first seen ready to use, and Checked when
	// its first check began; zero: not yet. The time from one to the other, in which
	// other snapshots have the places, does not count against the deadline.
	Created, Checked time.Time
	// Superseded: a newer snapshot of the same source exists. The time in the queue
	// counts then, so that a queue that never becomes empty does not keep ever more
	// snapshots of a source.
	Superseded bool
	// SourceReady: the source exists and its PVC is bound.
	SourceReady bool
	// SourceBusy: a Job writes to the source's PVC.
	SourceBusy bool

	// Asked: the CSI snapshot exists that is to be offered, which is the one of
	// the repaired clone once that is ready. SnapshotReady: it is ready to use.
	// WasReady: it was once, by the status.
	Asked, SnapshotReady, WasReady bool

	// Check is the integrity check of that CSI snapshot, and Verdict its
	// outcome.
	Check   Try
	Verdict v1alpha1.Verdict

	// Repair of the original snapshot.
	Repair Work
	// RepairedAsked: the CSI snapshot of the repaired clone exists. Repaired:
	// it is ready to use, and is the one that is to be offered. Original: the
	// first one still exists beside it.
	RepairedAsked, Repaired, Original bool

	// OfflineBuild is the offline build.
	OfflineBuild Work

	// Repeat is the repeated verification of a snapshot that is offered.
	Repeat Repetition

	// Clone of the CSI snapshot that is to be offered, or the one under repair,
	// exists, or Spent, the repaired one of which a snapshot was created.
	Clone, Spent bool
	// Reference: the clone that a check compares with exists.
	Reference bool
	// Fresh: the clones that exist were created for the attempt that is to begin.
	Fresh bool
	// Pods of the Jobs above exist, though none of the Jobs does.
	Pods bool
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

// Decide returns the next stage.
func Decide(f Observation) Decision {
	if stage := f.unrecorded(); stage != "" { // even when suspended: an outcome is never lost
		return Decision{Stage: stage}
	}
	if f.WasReady && !f.Asked {
		return f.end(SnapshotLost)
	}
	if f.Settled() {
		if d, ok := f.repeat(); ok {
			return d
		}
		return f.end(Done)
	}
	if f.Suspended {
		return Decision{Stage: Suspended}
	}
	remaining, expired := f.remaining()
	if expired {
		return f.end(Expired)
	}
	if !f.ready() && f.jobs() { // not created by the operator: it does so for a snapshot that is ready
		return Decision{Stage: ClearJobs, Wake: retryCleanUp}
	}
	// A CSI snapshot may be there before its source was admitted: one whose
	// status was lost. What the source is like must be known first all the same.
	if !f.Asked || f.Started.IsZero() {
		return f.snapshot()
	}
	if !f.SnapshotReady {
		return Decision{Stage: WaitForSnapshot, Wake: soonest(retrySnapshot, remaining)}
	}
	if f.Mode == v1alpha1.VerificationSkip {
		return Decision{Stage: Done}
	}
	switch {
	case f.Spent:
		return Decision{Stage: DeleteRepairedClone, Wake: retryCleanUp}
	case f.repairing():
		return f.repair(remaining)
	case f.Verdict == v1alpha1.VerdictIntact:
		return f.run(f.OfflineBuild.Try, OfflineBuild, WaitForOfflineBuild, remaining)
	default:
		return f.run(f.Check, Check, WaitForJob, remaining)
	}
}

// unrecorded is the stage that records a Job which ended and was not recorded
// yet. A Job that is there before there was anything to check reports nothing.
func (f Observation) unrecorded() Stage {
	if !f.ready() {
		return ""
	}
	for _, t := range []struct {
		Try
		stage Stage
	}{{f.Check, RecordVerdict}, {f.Repair.Try, RecordRepair}, {f.OfflineBuild.Try, RecordOfflineBuild}} {
		if t.Job && t.Ended && t.Run != t.Recorded {
			return t.stage
		}
	}
	if r := f.Repeat; r.Running && r.Job && r.Ended && r.Run != r.Recorded {
		return RecordRepeat
	}
	return ""
}

// ready reports whether there is, or was, something to check.
func (f Observation) ready() bool { return f.SnapshotReady || f.WasReady }

// Settled reports whether the verdict in the status is final.
func (f Observation) Settled() bool {
	switch f.Verdict {
	case v1alpha1.VerdictIntact:
		return f.OfflineBuild.settled()
	case v1alpha1.VerdictCorrupt:
		return !f.repairing()
	case v1alpha1.VerdictInconclusive:
		return f.Check.Attempts >= MaxAttempts
	default:
		return false
	}
}

// repairing reports whether a snapshot is being repaired.
func (f Observation) repairing() bool {
	return f.Repair.Called && !f.Repaired && (!f.Repair.settled() || f.Repair.Outcome == v1alpha1.WorkSucceeded)
}

// snapshot is the way to a CSI snapshot.
func (f Observation) snapshot() Decision {
	switch {
	case f.Started.IsZero() && !f.SourceReady:
		return Decision{Stage: WaitForSource, Wake: retrySource}
	case f.Started.IsZero():
		return Decision{Stage: Admit}
	case f.SourceBusy:
		return Decision{Stage: WaitForWriter, Wake: retrySnapshot}
	default:
		return Decision{Stage: CreateSnapshot, Wake: retrySnapshot}
	}
}

// repair is the way from corrupt content to a CSI snapshot without them.
func (f Observation) repair(remaining time.Duration) Decision {
	switch {
	case f.Repair.Outcome != v1alpha1.WorkSucceeded:
		return f.run(f.Repair.Try, Repair, WaitForRepair, remaining)
	case f.RepairedAsked:
		return Decision{Stage: WaitForRepairedSnapshot, Wake: soonest(retrySnapshot, remaining)}
	case f.jobs() || f.Pods: // no pod may have the clone mounted
		return Decision{Stage: ClearJobs, Wake: retryCleanUp}
	case !f.Clone:
		return Decision{Stage: RestartRepair}
	default:
		return Decision{Stage: SnapshotRepaired, Wake: retrySnapshot}
	}
}

// run is the way of one of the Jobs to its outcome.
func (f Observation) run(t Try, start, wait Stage, remaining time.Duration) Decision {
	switch {
	case t.Job && t.Run == t.Recorded: // an attempt that was inconclusive
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	case t.Job && !f.Clone: // its pod waits for a PVC that a user deleted
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	case t.Job:
		return Decision{Stage: wait, Wake: remaining}
	case t.Attempts > 0 && (f.jobs() || f.Pods || (f.Clone || f.Reference) && !f.Fresh):
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	case f.jobs() || f.Pods:
		return Decision{Stage: ClearJobs, Wake: retryCleanUp}
	}
	if wait := t.RecordedAt.Add(time.Duration(t.Attempts) * retryAttempt).Sub(f.Now); t.Attempts > 0 && wait > 0 {
		return Decision{Stage: WaitForRetry, Wake: soonest(wait, remaining)}
	}
	return Decision{Stage: start, Wake: remaining, Remaining: remaining}
}

func (f Observation) jobs() bool {
	return f.Check.Job || f.Repair.Job || f.OfflineBuild.Job || f.Repeat.Job
}

// end cleans up first, and is then what it is.
func (f Observation) end(stage Stage) Decision {
	switch {
	case f.jobs() || f.Pods || f.Clone || f.Spent || f.Reference:
		return Decision{Stage: CleanUp, Wake: retryCleanUp}
	case stage == Done && f.published() && f.Original:
		return Decision{Stage: DeleteOriginalSnapshot}
	}
	return Decision{Stage: stage}
}

// published reports whether the repaired CSI snapshot is offered.
func (f Observation) published() bool {
	return f.Repaired && f.Proven()
}

// remaining of the deadline, and whether it has passed without a verdict.
func (f Observation) remaining() (time.Duration, bool) {
	if f.Deadline <= 0 || f.Began.IsZero() {
		return 0, false
	}
	left := f.Began.Add(f.Deadline + f.queued()).Sub(f.Now)
	done := f.Mode == v1alpha1.VerificationSkip && f.SnapshotReady
	return left, left <= 0 && !done
}

// queued is for how long the snapshot has waited for its first check, of the time
// that does not count against the deadline.
func (f Observation) queued() time.Duration {
	until := f.Checked
	if until.IsZero() && f.SnapshotReady && !f.Superseded {
		until = f.Now
	}
	if f.Created.IsZero() || until.Before(f.Created) {
		return 0
	}
	return until.Sub(f.Created)
}

func soonest(a, b time.Duration) time.Duration {
	if b > 0 && b < a {
		return b
	}
	return a
}
