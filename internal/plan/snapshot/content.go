package snapshot

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
)

// Content is what the snapshots of one source are worth.
type Content struct {
	// Usable: one of them may be offered.
	Usable bool
	// Pending is one that may still become usable, by itself or when its user
	// removes what it is stalled by; empty: none.
	Pending string
	// Failed is the newest one that was not verified and never will be, created at
	// FailedAt; empty: none.
	Failed   string
	FailedAt time.Time
	// Corrupt: that one was Corrupt when it was created.
	Corrupt bool
}

// ContentOf judges those snapshots that were created since a time, or that the
// policy created for the content of that time and replaced so many times.
func ContentOf(all []v1alpha1.CacheSnapshot, cache string, since time.Time, retries int32) Content {
	own := []string{stamped(cache, since)}
	for n := range retries {
		own = append(own, retry(cache, since, n+1))
	}
	var content Content
	var pending, failed Kept
	for i := range all {
		c := &all[i]
		k := Kept{Name: c.Name, Created: Created(c)}
		standing := Candidate(c, Use{BySource: true}).Standing
		waits := standing == Pending || standing == NotReady || standing == Failed && !over(c)
		switch {
		case waits && c.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue:
			// Whenever it was created: while there is one, another is not needed, and
			// the clocks of the API server and the driver may differ from this one.
			pending = newer(pending, k)
		case k.Created.Before(since) && !slices.Contains(own, c.Name):
		case waits:
			pending = newer(pending, k)
		case standing == Usable:
			content.Usable = true
		case standing == Failed, standing == Corrupt:
			if failed = newer(failed, k); failed.Name == k.Name {
				content.Corrupt = standing == Corrupt && !verification.Withdrawn(c)
			}
		}
	}
	content.Pending, content.Failed, content.FailedAt = pending.Name, failed.Name, failed.Created
	return content
}

// over reports whether a snapshot that is stalled stays so.
func over(c *v1alpha1.CacheSnapshot) bool {
	stalled := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition)
	return verification.Recorded(c).Settled() || stalled != nil && stalled.Reason == v1alpha1.ReasonDeadlineExceeded
}

func newer(a, b Kept) Kept {
	if a.Name == "" || older(a, b) {
		return b
	}
	return a
}
