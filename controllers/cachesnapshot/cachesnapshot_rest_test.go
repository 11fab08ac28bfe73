package cachesnapshot

import (
	"testing"
	"time"

	"gocache.dev/operator/internal/testing/faults"
)

// TestAtRest holds that a snapshot with its verdict costs the API server no
// write, however often it is looked at, and few until then.
func TestAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = w.now.Add(123456789) // what is stored has whole seconds only
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
