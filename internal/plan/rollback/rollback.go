// Package rollback decides how a quarantined proxy instance gets an intact
// store: by the newest verified snapshot, else by an empty store, which its
// upstream fills again.
//
// Only proof ends it: the reference modules and a check of the full store, both
// started after the store was replaced. A store that is Corrupt again, or a
// volume that could not be replaced, leads to the next attempt; when there is
// none left, a user must act.
//
// A store that is Corrupt again within a day of its proof is a relapse: the
// cause persists. The instance stays in quarantine meanwhile, and the next
// rollback waits, longer with each relapse.
package rollback

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
)

// Pauses between the beginnings of two rollbacks of a store that turns bad
// again: the first, and the longest. Each is twice the one before.
const (
	FirstPause = 10 * time.Minute
	MaxPause   = 6 * time.Hour
)

// Forget is how long a store has to stay intact until earlier relapses do not
// count.
const Forget = 24 * time.Hour

// Observation is the observed state of one instance while its volume is not on
// its way.
type Observation struct {
	// Requested: the policy asks for it, and there is a store.
	Requested bool
	// Status as it stands; nil: none was begun.
	Status *v1alpha1.StoreRollbackStatus
	// Quarantined is why the instance is out; nil: it is not.
	Quarantined *v1alpha1.Quarantine
	// Snapshot is the newest verified one; empty: there is none.
	Snapshot string
	// MayBeEmpty: an empty store can be filled again.
	MayBeEmpty bool
	// ReplacementFailure is why the volume was not replaced; empty: it was.
	ReplacementFailure string
	// Intact, Wrong and Waits are the proof since the store was replaced.
	Intact       bool
	Wrong, Waits string
	// FullyServing: it serves with its whole weight again.
	FullyServing bool
}

// Decision is the next step.
type Decision struct {
	// Status to keep.
	Status *v1alpha1.StoreRollbackStatus
	// Begin to replace the volume by the content of Status.Snapshot.
	Begin bool
}

// Decide decides.
func Decide(f Observation, now time.Time) Decision {
	switch st := f.Status; {
	case f.begins():
		return f.begin(now)
	case st == nil || st.Failed || st.CompletionTime != nil:
		return Decision{Status: st}
	case st.Attempt == 0 && st.VerifiedTime == nil && f.Quarantined != nil:
		return f.postponed(now)
	case st.ReplacedTime == nil && st.Attempt > 0 && f.ReplacementFailure != "":
		return f.attempt(st, "the store could not be replaced: "+f.ReplacementFailure)
	case st.ReplacedTime == nil && st.Attempt > 0: // its volume is about to be on its way
		return Decision{Status: st}
	case st.VerifiedTime == nil && f.Quarantined == nil: // a person reinstated it
		st.VerifiedTime, st.Message = ptr.To(metav1.NewTime(now)), ""
	case st.VerifiedTime == nil && f.Wrong != "":
		return f.attempt(st, "the new store is wrong too: "+f.Wrong)
	case st.VerifiedTime == nil && f.Intact:
		st.VerifiedTime, st.Message = ptr.To(metav1.NewTime(now)), ""
	case st.VerifiedTime == nil:
		st.Message = "waits for " + f.Waits
	case f.FullyServing:
		st.CompletionTime = ptr.To(metav1.NewTime(now))
	}
	return Decision{Status: f.Status}
}

// begins reports whether a quarantine was not answered yet.
func (f Observation) begins() bool {
	if !f.Requested || f.Quarantined == nil {
		return false
	}
	st := f.Status
	return st == nil || (st.Failed || st.VerifiedTime != nil) && st.QuarantinedTime.Before(&f.Quarantined.Time)
}

// begin is the first attempt, unless the store has turned bad too often.
func (f Observation) begin(now time.Time) Decision {
	st := &v1alpha1.StoreRollbackStatus{QuarantinedTime: f.Quarantined.Time, StartTime: metav1.NewTime(now)}
	last := f.Status
	if last == nil || last.VerifiedTime == nil || f.Quarantined.Time.Sub(last.VerifiedTime.Time) >= Forget {
		return f.attempt(st, "")
	}
	st.Relapses = last.Relapses + 1
	if due := last.StartTime.Add(pause(st.Relapses)); due.After(now) {
		st.NotBefore = ptr.To(metav1.NewTime(due))
		st.Message = fmt.Sprintf("postponed until %s: the store was Corrupt again %s after it was proven intact (relapse %d in a row); find the cause of the corruption",
			due.UTC().Format(time.RFC3339), f.Quarantined.Time.Sub(last.VerifiedTime.Time).Round(time.Second), st.Relapses)
		return Decision{Status: st}
	}
	return f.attempt(st, "")
}

// postponed begins what was put off, when it is time and still due.
func (f Observation) postponed(now time.Time) Decision {
	st := f.Status
	if !f.Requested || st.NotBefore != nil && st.NotBefore.After(now) {
		return Decision{Status: st}
	}
	st.StartTime = metav1.NewTime(now)
	return f.attempt(st, "")
}

// pause after the beginning of a rollback, before that of the nth relapse.
func pause(n int32) time.Duration {
	return schedule.Backoff{First: FirstPause, Longest: MaxPause}.Pause(n)
}

// attempt takes the next of the ways that are left.
func (f Observation) attempt(st *v1alpha1.StoreRollbackStatus, why string) Decision {
	tried := st.Attempt > 0 && st.Snapshot != ""
	empty := st.Attempt > 0 && st.Snapshot == ""
	st.Attempt, st.ReplacedTime, st.Message = st.Attempt+1, nil, why
	switch {
	case !f.Requested:
		st.Failed, st.Message = true, join(why, "spec.integrity.onCorrupt is no longer Rollback")
	case f.Snapshot != "" && !tried && !empty:
		st.Snapshot = f.Snapshot
		return Decision{Status: st, Begin: true}
	case f.MayBeEmpty && !empty:
		st.Snapshot = ""
		return Decision{Status: st, Begin: true}
	case !f.MayBeEmpty && !tried:
		st.Failed, st.Message = true, "there is no verified snapshot, and an empty store could not be filled: spec.upstream.proxy is off"
	default:
		st.Failed, st.Message = true, join(why, "there is nothing else to replace the store by")
	}
	return Decision{Status: st}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
