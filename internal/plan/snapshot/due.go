package snapshot

import (
	"time"

	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/schedule"
)

// Observation is the state that may require a snapshot.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Cache is the name of the cache.
	Cache string
	// AfterWarmUp by policy; SuccessRun is the last warm-up that succeeded, at
	// SuccessTime, and SnapshottedRun the last one with a snapshot.
	AfterWarmUp                bool
	SuccessRun, SnapshottedRun string
	SuccessTime                time.Time
	// Schedule, or nil; Created and LastScheduled are where it counts from.
	Schedule               *schedule.Plan
	Created, LastScheduled time.Time
	// Request is the token of a request for a snapshot; empty: none.
	Request string
}

// Due is a snapshot to take.
type Due struct {
	// Name of it: the same for the same cause, however often it is decided.
	Name string
	// Cause of it, for a person.
	Cause string
	// Run, Scheduled and Requested are the causes that it satisfies.
	Run       string
	Scheduled bool
	Requested bool
}

// Decide returns the snapshot to create now, if any, and else when to decide
// again.
func Decide(f Observation) (*Due, time.Time) {
	if f.Request != "" {
		return &Due{Name: naming.Child(f.Cache, "request-"+naming.Hash(f.Request)), Cause: "requested", Requested: true}, time.Time{}
	}
	if f.SuccessRun == "" {
		return nil, time.Time{} // nothing worth to be kept yet
	}
	if f.AfterWarmUp && f.SuccessRun != f.SnapshottedRun {
		return &Due{Name: stamped(f.Cache, f.SuccessTime), Cause: "the cache was warmed", Run: f.SuccessRun}, time.Time{}
	}
	last := f.Created
	if f.LastScheduled.After(last) {
		last = f.LastScheduled
	}
	due, start := f.Schedule.Due(last, f.Now)
	if due {
		return &Due{Name: stamped(f.Cache, start), Cause: "scheduled", Scheduled: true}, time.Time{}
	}
	return nil, start
}

func stamped(cache string, t time.Time) string {
	return naming.Child(cache, t.UTC().Format("20060102-150405"))
}
