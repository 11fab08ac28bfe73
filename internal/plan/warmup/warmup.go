// Package warmup decides when a cache is to be warmed.
//
// A warm-up is due before the first success, when the volume is another one or
// what it is made from has changed, when a cleanup found the cache not warm,
// by schedule, and on request. One that failed is repeated with
// growing pauses; a change of its sources, or a larger volume, repeats it at once.
package warmup

import (
	"time"

	"gocache.dev/operator/internal/plan/schedule"
)

// Pauses after failures: the first, and the longest.
const (
	FirstPause   = 30 * time.Second
	LongestPause = time.Hour
)

// Retry is the cause of a warm-up that repeats one that failed.
const Retry = "the last one failed"

// Observation is the observed state of a cache's warm-ups.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Schedule, or nil.
	Schedule *schedule.Plan
	// Created is when the cache was declared.
	Created time.Time
	// Inputs is the digest of what a warm-up would be made from now.
	Inputs string
	// Requested by a person.
	Requested bool
	// Ran: some warm-up was recorded. LastInputs, LastStart and LastEnd are its.
	Ran                bool
	LastInputs         string
	LastStart, LastEnd time.Time
	// NewVolume: the last one was written to another volume.
	NewVolume bool
	// Failures in a row.
	Failures int32
	// Hopeless: the last one would fail again with the same inputs.
	Hopeless bool
	// Expanded: since the last one, its volume was, or the next pod finishes that.
	Expanded bool
	// Unproven: since the last one, a cleanup found that the cache is not warm.
	Unproven bool
}

// Decision is whether to start a warm-up, why, and when to look again.
type Decision struct {
	// Due means that one starts now.
	Due bool
	// Cause of it, for a person.
	Cause string
	// Since when it is due; never before the last one ended.
	Since time.Time
	// Wake is when to look again if not; zero: nothing is ahead.
	Wake time.Time
}

// Decide reports whether a warm-up is due.
func Decide(f Observation) Decision {
	d := decide(f)
	if d.Due && d.Since.IsZero() { // the time of the change is unknown
		d.Since = schedule.Later(f.Created, f.LastEnd)
	}
	return d
}

func decide(f Observation) Decision {
	switch {
	case f.Requested:
		return Decision{Due: true, Cause: "requested"}
	case !f.Ran:
		return Decision{Due: true, Cause: "the cache is new"}
	case f.NewVolume:
		return Decision{Due: true, Cause: "its volume is new"}
	case f.Inputs != f.LastInputs:
		return Decision{Due: true, Cause: "its sources or its toolchain changed"}
	case f.Failures > 0 && !f.Hopeless && f.Expanded:
		return Decision{Due: true, Cause: "its volume was expanded"}
	case f.Failures > 0 && !f.Hopeless:
		again := f.LastEnd.Add(Pause(f.Failures))
		if !again.After(f.Now) {
			return Decision{Due: true, Cause: Retry, Since: again}
		}
		return Decision{Wake: again}
	case f.Unproven:
		return Decision{Due: true, Cause: "a cleanup found the cache not warm"}
	}
	due, next := f.Schedule.Due(schedule.Later(f.Created, f.LastStart), f.Now)
	if due {
		return Decision{Due: true, Cause: "scheduled", Since: schedule.Later(next, f.LastEnd)}
	}
	return Decision{Wake: next}
}

// Pause after so many failures in a row.
func Pause(failures int32) time.Duration {
	return schedule.Backoff{First: FirstPause, Longest: LongestPause}.Pause(failures)
}
