package store

import (
	"context"
	"testing"
	"time"
)

// TestPace holds that a bound is kept after the first burst, that the end of
// the check ends the waiting, and that no bound is none.
func TestPace(t *testing.T) {
	if pace(0) != nil {
		t.Error("no bound waits")
	}
	slow := pace(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow(ctx, 4<<20) // the burst
	time.AfterFunc(50*time.Millisecond, cancel)
	slow(ctx, 100<<20) // would take years
	if ctx.Err() == nil {
		t.Error("it did not wait")
	}
}
