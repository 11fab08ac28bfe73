package livecheck

import (
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/schedule"
)

// MaxAttempts is how often an inconclusive check is made for one cause.
const MaxAttempts = 3

// FirstPause is the pause after the first inconclusive check; each of the next
// pauses is twice as long as the one before.
const FirstPause = 30 * time.Second

// Scheduled is the prefix of the cause of a check by schedule; the time of its
// start follows.
const Scheduled = "scheduled for "

const (
	corruptPrefix = "CacheSnapshot "
	corruptSuffix = " is Corrupt"
)

// Observation is the observed state of the checks of a cache PVC.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Created is when the cache was declared.
	Created time.Time
	// Volume that the PVC has now.
	Volume string
	// Declared: the spec requests checks, by Schedule and after a Corrupt
	// snapshot.
	Declared bool
	Schedule *schedule.Plan
	// Request is the accepted request for a check; empty: none.
	Request string
	// Requested is when it was accepted.
	Requested time.Time
	// Snapshots of the PVC, of whatever volume.
	Snapshots []Snapshot
	// Last is the check that was recorded last.
	Last Check
}

// Snapshot is a CacheSnapshot of the PVC that has a verdict, or will.
type Snapshot struct {
	// Name of it.
	Name string
	// Volume that it was created from, and when.
	Volume  string
	Created time.Time
	// Verdict on it; empty: none yet.
	Verdict v1alpha1.Verdict
	// ByPolicy: it was made by the cache's own policy, with its own trust.
	ByPolicy bool
}

// Check is a check that was recorded.
type Check struct {
	// Volume that was checked.
	Volume string
	// Cause that it was made for.
	Cause string
	// Start and End of it; zero: there was none.
	Start, End time.Time
	// InconclusiveAttempts is how many checks for this cause were inconclusive,
	// the last one included; 0: the last one was conclusive.
	InconclusiveAttempts int32
}

// Decision is whether to check, why, and when to look again.
type Decision struct {
	// Due means that a check starts now.
	Due bool
	// Cause of it: the text of a request, a Corrupt snapshot, or Scheduled and
	// a time.
	Cause string
	// Since when it is due; never before the last one ended.
	Since time.Time
	// Wake is when to look again if not; zero: nothing is ahead.
	Wake time.Time
}

// Decide decides whether a check is due.
func Decide(f Observation) Decision {
	if f.Request != "" {
		return f.attempt(f.Request, f.Requested)
	}
	if !f.Declared {
		return Decision{}
	}
	wake := time.Time{}
	if s := f.corrupt(); s != nil {
		d := f.attempt(corruptPrefix+s.Name+corruptSuffix, s.Created)
		if d.Due {
			return d
		}
		wake = d.Wake
	}
	d := f.scheduled()
	d.Wake = sooner(d.Wake, wake)
	return d
}

// attempt is the first attempt of a cause, or another one after those that
// was inconclusive.
func (f Observation) attempt(cause string, since time.Time) Decision {
	last := f.Last
	if last.Cause != cause || last.Volume != f.Volume {
		return Decision{Due: true, Cause: cause, Since: schedule.Later(since, last.End)}
	}
	if last.InconclusiveAttempts == 0 || last.InconclusiveAttempts >= MaxAttempts {
		return Decision{}
	}
	again := last.End.Add(Pause(last.InconclusiveAttempts))
	if again.After(f.Now) {
		return Decision{Wake: again}
	}
	return Decision{Due: true, Cause: cause, Since: again}
}

// scheduled is the next check without a request.
func (f Observation) scheduled() Decision {
	var again Decision
	if strings.HasPrefix(f.Last.Cause, Scheduled) && f.Last.Volume == f.Volume {
		again = f.attempt(f.Last.Cause, time.Time{})
	}
	if again.Due {
		return again
	}
	due, next := f.Schedule.Due(schedule.Later(f.Created, f.Last.Start), f.Now)
	if due {
		return Decision{Due: true, Cause: Scheduled + next.UTC().Format(time.RFC3339), Since: schedule.Later(next, f.Last.End)}
	}
	return Decision{Wake: sooner(again.Wake, next)}
}

// corrupt is the newest snapshot of the volume, if it is Corrupt and no
// check that began after it was created was conclusive.
func (f Observation) corrupt() *Snapshot {
	judged := f.judged()
	if len(judged) == 0 || judged[0].Verdict != v1alpha1.VerdictCorrupt {
		return nil
	}
	conclusive := f.Last.Volume == f.Volume && f.Last.InconclusiveAttempts == 0
	if conclusive && !f.Last.Start.Before(judged[0].Created) {
		return nil
	}
	return &judged[0]
}

// CorruptSnapshots are the two snapshots that make a volume Corrupt on which
// the checks were inconclusive; none if they do not.
func CorruptSnapshots(f Observation) []string {
	var judged []Snapshot
	for _, s := range f.judged() {
		if s.ByPolicy { // what others trust is their affair
			judged = append(judged, s)
		}
	}
	if len(judged) < 2 || judged[0].Verdict != v1alpha1.VerdictCorrupt || judged[1].Verdict != v1alpha1.VerdictCorrupt {
		return nil
	}
	return []string{judged[1].Name, judged[0].Name}
}

// judged are the snapshots of the volume with a conclusive verdict, newest first.
func (f Observation) judged() []Snapshot {
	var judged []Snapshot
	for _, s := range f.Snapshots {
		if s.Volume != f.Volume || s.Verdict != v1alpha1.VerdictCorrupt && s.Verdict != v1alpha1.VerdictIntact {
			continue
		}
		i := len(judged)
		for i > 0 && newer(s, judged[i-1]) {
			i--
		}
		judged = append(judged[:i], append([]Snapshot{s}, judged[i:]...)...)
	}
	return judged
}

func newer(a, b Snapshot) bool {
	if a.Created.Equal(b.Created) {
		return a.Name > b.Name
	}
	return a.Created.After(b.Created)
}

// Urgent reports whether a check for a cause goes before other work: the
// content of the PVC is in doubt.
func Urgent(cause string) bool {
	return request.CausedBy(cause, v1alpha1.RequestReportFailure) || strings.HasPrefix(cause, corruptPrefix)
}

// Pause after this many inconclusive checks in a row.
func Pause(unsettled int32) time.Duration {
	return schedule.Backoff{First: FirstPause, Longest: time.Hour}.Pause(unsettled)
}

// sooner is the earlier of two times; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
