package gocache

import (
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
)

// TestOlderRunIsNoAnswer holds that a warm-up which began before it was asked
// for does not answer the request: it may not have seen what the request is
// about.
func TestOlderRunIsNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache()
	w.settle()
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestAccepted, "")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded})
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestSucceeded, "")
	if len(w.warmUps) != 2 {
		t.Errorf("%d warm-ups, want the one that ran and the one that was asked for", len(w.warmUps))
	}
}

// TestRequestsAreAnsweredInTurn holds that a second request does not take the
// place of one that waits for its answer.
func TestRequestsAreAnsweredInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(withoutSnapshots)
	w.settle()
	w.ending = nil
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.request("snapshot-2", v1alpha1.RequestSnapshot)
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestAccepted, "")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded})
	w.settle()
	w.answered("snapshot-2", v1alpha1.RequestSucceeded, "")
	if len(w.warmUps) != 2 || len(w.names()) != 1 {
		t.Errorf("%d warm-ups and snapshots %v, want two and one", len(w.warmUps), w.names())
	}
}
