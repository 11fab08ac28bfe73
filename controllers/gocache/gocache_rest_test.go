package gocache

import (
	"testing"

	"gocache.dev/operator/controllers/gocache/pass"
)

// TestAtRest holds that a cache with nothing to do costs the API server no
// write, however often it is looked at.
func TestAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	w.cache(fromModules, afterWarmUp)
	w.settle()
	before := len(w.mortal.Writes)
	for range 5 {
		w.wait(pass.Interval)
	}
	if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("at rest it wrote %q", wrote)
	}
	if before > 16 {
		t.Errorf("from the declaration to the offer it took %d writes: %q", before, w.mortal.Writes)
	}
}
