package snapshot

import (
	"fmt"
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
	// Renew is a volume that was replaced and is deleted some time after RenewAt,
	// while the snapshot that is offered was created of it; empty: none.
	Renew   string
	RenewAt time.Time
	// Request is the uid of the request for a snapshot; empty: none.
	Request string
	// Content is what there is of the content that a snapshot was last created of
	// by policy; nil: a snapshot that is lost is not replaced.
	Content *Content
	// Retries is how many snapshots replaced a lost or failed one since then, the
	// last one at LastRetry.
	Retries   int32
	LastRetry time.Time
}

// Pauses between snapshots that replace failed ones: the first, and the longest.
const (
	FirstPause   = 5 * time.Minute
	LongestPause = 6 * time.Hour
)

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
	// Present: it is of the present volume, since that of the offered one is deleted.
	Present bool
	// Replaces: it takes the place of a snapshot that was lost or not verified.
	Replaces bool
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
	if f.renews() && !f.RenewAt.After(f.Now) {
		return &Due{Name: OfPresent(f.Cache, f.Renew), Cause: "the snapshot that is offered is of the previous volume", Present: true}, time.Time{}
	}
	again, wake := f.replacement()
	if again != nil {
		return again, wake
	}
	if f.renews() {
		wake = earlier(wake, f.RenewAt)
	}
	return nil, earlier(start, wake)
}

// renews reports whether the policy creates a snapshot of the present volume because
// some storage deletes snapshots with the volume that they were created of.
func (f Observation) renews() bool { return f.Renew != "" && (f.AfterWarmUp || f.Schedule != nil) }

// OfPresent names the snapshot of the present volume that takes the place of those of
// the volume that was replaced.
func OfPresent(cache, replaced string) string {
	return naming.Child(cache, "volume-"+naming.Hash(replaced))
}

// earlier is the earlier of two times; zero counts as none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// replacement is the snapshot that takes the place of one that was lost or could
// not be verified, or when it is due.
func (f Observation) replacement() (*Due, time.Time) {
	base := f.Base()
	if f.Content == nil || base.IsZero() || f.Content.Usable || f.Content.Pending != "" {
		return nil, time.Time{}
	}
	at := f.LastRetry
	if f.Retries > 0 {
		at = at.Add(Pause(f.Retries))
	}
	if failed := f.Content.FailedAt; !failed.IsZero() && failed.Add(Pause(f.Retries+1)).After(at) {
		at = failed.Add(Pause(f.Retries + 1))
	}
	if at.After(f.Now) {
		return nil, at
	}
	return &Due{Name: retry(f.Cache, base, f.Retries+1), Cause: "no verified snapshot of the content is left", Replaces: true}, time.Time{}
}

// Base is the time of the content that a snapshot was last created of by policy:
// of the last warm-up, or else of the last scheduled snapshot. It is zero if
// there was none.
func (f Observation) Base() time.Time {
	if f.AfterWarmUp {
		return f.SuccessTime
	}
	return f.LastScheduled
}

// Pause after so many snapshots in a row that failed.
func Pause(failures int32) time.Duration {
	return schedule.Backoff{First: FirstPause, Longest: LongestPause}.Pause(failures)
}

func retry(cache string, base time.Time, n int32) string {
	return naming.Child(cache, base.UTC().Format("20060102-150405")+fmt.Sprintf("-%d", n))
}

func stamped(cache string, t time.Time) string {
	return naming.Child(cache, t.UTC().Format("20060102-150405"))
}
