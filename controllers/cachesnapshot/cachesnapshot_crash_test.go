package cachesnapshot

import (
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/crash"
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
	flows := map[string]crash.Flow[outcome]{}
	for name, ending := range map[string]cluster.Ending{
		"intact":  {Message: intactReport},
		"corrupt": {Exit: 3, Message: corruptReport},
	} {
		flows[name] = func(t *testing.T, life *crash.Life) outcome {
			return lifeWithDeath(t, ending, life)
		}
	}
	crash.Run(t, server.Client, "cachesnapshot", flows)
}

func lifeWithDeath(t *testing.T, ending cluster.Ending, life *crash.Life) outcome {
	t.Helper()
	w := newWorld(t)
	life.In(w.namespace)
	w.ending = &ending
	w.cache()
	w.snapshot()
	mortal := &faults.Mortal{Point: life.Point}
	life.Dies(mortal)
	w.reconciler = w.fresh(mortal.Client(server.Client))
	w.settle()
	v := w.get().Status.Verification
	return outcome{v.Verdict, v.Attempts, v.Digest, w.left()}
}
