package cachesnapshot

import (
	"testing"
	"time"

	"gocache.dev/operator/internal/testing/faults"
)

// TestAtRest checks that a snapshot with a verdict causes no more API writes, and
// that at most 12 are needed to get there.
func TestAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = w.now.Add(123456789) // stored times have a resolution of one second
	mortal := &faults.Mortal{}
	w.reconciler = w.fresh(mortal.Client(server.Client))
	w.cache()
	w.snapshot()
	w.settle()
	before := len(mortal.Writes)
	for range 5 {
		w.now = w.now.Add(time.Minute)
		w.settle()
	}
	if wrote := mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("at rest it wrote %q", wrote)
	}
	if before > 12 {
		t.Errorf("a snapshot takes %d writes, want 12 at most: %q", before, mortal.Writes)
	}
	t.Logf("a snapshot takes %d writes", before)
}
