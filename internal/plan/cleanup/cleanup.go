package cleanup

import (
	"time"

	"gocache.dev/operator/internal/plan/schedule"
)

// Pauses after failures: the first, and the longest.
const (
	FirstPause   = time.Minute
	LongestPause = time.Hour
)

// Observation is the observed state of the cleanups of a cache.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Created is when the cache was declared.
	Created time.Time
	// Declared: the spec bounds the cache.
	Declared bool
	// Schedule of plans, or nil.
	Schedule *schedule.Plan
	// ApprovalRequired: a plan waits for a person.
	ApprovalRequired bool
	// Bounds identifies the bounds in the spec.
	Bounds string
	// Request is the accepted request for a cleanup, and when that was.
	Request   string
	Requested time.Time
	// Open is the plan that was made and not applied; nil: none.
	Open *Plan
	// LastPlan is when the last plan was begun; zero: never.
	LastPlan time.Time
	// LastStart and LastEnd are the times of the last run, for a plan or of one.
	LastStart, LastEnd time.Time
	// Failures of runs in a row.
	Failures int32
	// Paused: the last run found a check that does not pass.
	Paused bool
	// Warmed is when a warm-up last succeeded.
	Warmed time.Time
	// Full: the last run has left few bytes or inodes of the volume.
	Full bool
}

// Plan is a plan that was made.
type Plan struct {
	// Digest of what would go.
	Digest string
	// Bounds that it was made for.
	Bounds string
	// Approved by a person.
	Approved bool
}

// Step is what to do.
type Step string

// The steps.
const (
	// None: nothing is due.
	None Step = ""
	// Make a plan.
	Make Step = "plan"
	// Apply the open plan.
	Apply Step = "apply"
)

// Decision is what to do, why, and when to look again.
type Decision struct {
	// Step to take now.
	Step Step
	// Cause of it, for a person.
	Cause string
	// Since when it is due; never before the last run ended.
	Since time.Time
	// Wake is when to look again if no step is due; zero: nothing is ahead.
	Wake time.Time
}

// Decide returns the step that is due.
func Decide(f Observation) Decision {
	if !f.Declared {
		return Decision{}
	}
	d := f.decide()
	if d.Step != None {
		d.Since, d.Wake = schedule.Later(d.Since, f.LastEnd), time.Time{}
	}
	return d
}

// Waits reports whether the open plan waits for approval.
func (f Observation) Waits() bool {
	return f.Declared && f.ApprovalRequired && f.Open != nil && f.Open.Bounds == f.Bounds && !f.Open.Approved
}

func (f Observation) decide() Decision {
	if f.Failures > 0 {
		if again := f.LastEnd.Add(Pause(f.Failures)); again.After(f.Now) && f.Requested.Before(f.LastEnd) {
			return Decision{Wake: again}
		}
	}
	switch open := f.Open; {
	case open != nil && open.Bounds != f.Bounds:
		return Decision{Step: Make, Cause: "the bounds changed since the plan was made", Since: f.LastEnd}
	case open != nil && open.Approved:
		return Decision{Step: Apply, Cause: "the plan " + open.Digest + " was approved", Since: f.LastEnd}
	case open != nil && !f.ApprovalRequired:
		return Decision{Step: Apply, Cause: "the plan " + open.Digest + " was made", Since: f.LastEnd}
	case f.Request != "":
		return Decision{Step: Make, Cause: f.Request, Since: f.Requested}
	case f.Failures > 0:
		return Decision{Step: Make, Cause: "the last run could not be done", Since: f.LastEnd}
	case f.Paused && f.Warmed.After(f.LastEnd):
		return Decision{Step: Make, Cause: "a warm-up ran since a check had paused the cleanup", Since: f.Warmed}
	}
	if f.Full && f.Open == nil && f.Warmed.After(schedule.Later(f.LastPlan, f.LastEnd)) {
		return Decision{Step: Make, Cause: "the volume is almost full", Since: f.Warmed}
	}
	due, at := f.Schedule.Due(schedule.Later(f.Created, f.LastPlan), f.Now)
	if due {
		return Decision{Step: Make, Cause: "scheduled for " + at.UTC().Format(time.RFC3339), Since: at}
	}
	return Decision{Wake: at}
}

// Pause after so many failures in a row.
func Pause(failures int32) time.Duration {
	return schedule.Backoff{First: FirstPause, Longest: LongestPause}.Pause(failures)
}
