package cachesnapshot

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/faults"
)

// outcome is what must be the same however often the manager is killed.
type outcome struct {
	Verdict  v1alpha1.Verdict
	Attempts int32
	Digest   string
	Left     []string
}

// TestCrashPoints kills the manager before and after each API write of a
// snapshot's life, for a good one and a bad one, and starts a fresh manager:
// the same end is reached, a verdict is booked once, and nothing is left.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for name, ending := range map[string]cluster.Ending{
		"intact":  {Message: intactReport},
		"corrupt": {Exit: 3, Message: corruptReport},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, writes := lifeWithDeath(t, ending, faults.Point{})
			if len(writes) < 6 {
				t.Fatalf("an uninterrupted life has only %d writes: %v", len(writes), writes)
			}
			for i := range writes {
				for _, after := range []bool{false, true} {
					point := faults.Point{Write: i + 1, After: after}
					t.Run(point.String(), func(t *testing.T) {
						t.Parallel()
						got, _ := lifeWithDeath(t, ending, point)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("killed at %q, another end:\n%s", writes[i], diff)
						}
					})
				}
			}
		})
	}
}

func lifeWithDeath(t *testing.T, ending cluster.Ending, point faults.Point) (outcome, []string) {
	t.Helper()
	w := newWorld(t)
	w.ending = &ending
	w.cache()
	w.snapshot()
	mortal := &faults.Mortal{Point: point}
	w.reconciler = w.fresh(mortal.Client(server.Client))
	w.settle()
	if point.Write > 0 && !mortal.Dead() {
		t.Errorf("the manager outlived %s", point)
	}
	v := w.get().Status.Verification
	return outcome{v.Verdict, v.Attempts, v.Digest, w.left()}, mortal.Writes
}
