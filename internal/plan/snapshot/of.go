package snapshot

import (
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// Of is a CacheSnapshot as retention sees it, and whether it does: one that is
// being deleted, or exempt from verification, is neither counted nor dropped.
// One that is verified less strictly than the policy asks does not count as
// verified: by the name of its source it is never used. Used means that a
// volume is being made from it.
func Of(c *v1alpha1.CacheSnapshot, used bool) (Kept, bool) {
	standing := Candidate(c, Use{BySource: true}).Standing
	if standing == Deleting || standing == Skipped {
		return Kept{}, false
	}
	return Kept{
		Name: c.Name, Created: Created(c), Verified: standing == Usable, Pending: standing == Pending,
		Protected: c.Spec.Pinned || c.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || used,
	}, true
}

// All are the snapshots of one source as retention sees them. Used reports by
// name whether a volume is being made from it. Where later snapshots are
// compared with what was first seen, by the policy's trust or by their own, the
// first is protected.
func All(snapshots []v1alpha1.CacheSnapshot, policy *v1alpha1.Trust, used func(name string) bool) []Kept {
	var all []Kept
	compared := firstSeen(policy)
	for i := range snapshots {
		c := &snapshots[i]
		compared = compared || firstSeen(c.Spec.Verification.Trust)
		if k, ok := Of(c, used(c.Name)); ok {
			all = append(all, k)
		}
	}
	first := First(all)
	for i := range all {
		all[i].Protected = all[i].Protected || compared && all[i].Name == first
	}
	return all
}

func firstSeen(t *v1alpha1.Trust) bool { return t != nil && t.FirstSeen }

// Latest is the snapshot that was created last, whatever its state, or "".
// The list's order does not matter: a cache gives another one each time.
func Latest(snapshots []v1alpha1.CacheSnapshot) string {
	var latest Kept
	for i := range snapshots {
		if c := &snapshots[i]; c.DeletionTimestamp.IsZero() {
			if k := (Kept{Name: c.Name, Created: Created(c)}); latest.Name == "" || older(latest, k) {
				latest = k
			}
		}
	}
	return latest.Name
}

// Created is when a snapshot was created, or requested.
func Created(c *v1alpha1.CacheSnapshot) time.Time {
	if c.Status.CreationTime != nil {
		return c.Status.CreationTime.Time
	}
	return c.CreationTimestamp.Time
}

const (
	// copying is how long a snapshot counts as in use after a clone of it was given to
	// a consumer: a driver may report a volume before it has copied all of it.
	copying = time.Hour
	// noteAfter is when another clone is noted.
	noteAfter = 10 * time.Minute
)

// InUseUntil is until when a driver may still copy from a snapshot for the last clone
// of it; zero if not now. A time in the future was not written by the operator.
func InUseUntil(c *v1alpha1.CacheSnapshot, now time.Time) time.Time {
	at, err := time.Parse(time.RFC3339, c.Annotations[v1alpha1.ClonedAtAnnotation])
	if end := at.Add(copying + noteAfter); err == nil && !at.After(now) && end.After(now) {
		return end
	}
	return time.Time{}
}

// NoteClone reports whether another clone of a snapshot has to be noted: not each of
// many within minutes is.
func NoteClone(c *v1alpha1.CacheSnapshot, now time.Time) bool {
	until := InUseUntil(c, now)
	return until.IsZero() || until.Sub(now) < copying
}

// Rule is a declared retention.
func Rule(r v1alpha1.Retention) Retention {
	rule := Retention{
		Last: int(r.KeepLast), Hourly: int(r.KeepHourly), Daily: int(r.KeepDaily), Weekly: int(r.KeepWeekly), Monthly: int(r.KeepMonthly),
	}
	if r.MaxAge != nil {
		rule.MaxAge = r.MaxAge.Duration
	}
	return rule
}
