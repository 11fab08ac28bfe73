package modproxy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/faults"
)

// end is what must be the same however often the manager is killed.
type end struct {
	Serving, Pinned string
	Convicted       bool
	Published       [2]string
	Request         v1alpha1.RequestOutcome
	Flips           int
}

// TestCrashPoints kills the manager before and after each API write of a flow,
// and starts a fresh one that remembers nothing: the same end is reached, and
// an instance that stands convicted is never let back in.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	flows := map[string]func(w *world, die func()){
		"bootstrap": func(w *world, die func()) {
			die()
			w.proxy()
			w.settle()
			w.tick(2)
		},
		// The store is right again as soon as the manager dies: no probe
		// convicts it a second time.
		"conviction": func(w *world, die func()) {
			w.serving()
			w.blue.wrong = true
			w.tick(2)
			w.onDeath = func() { w.blue.wrong = find(w.get(), "blue").Convicted == nil && w.published("blue") != "down" }
			die()
			w.tick(1)
			w.tick(3)
		},
		"failover request": func(w *world, die func()) {
			w.serving()
			die()
			w.request("failover=green#1")
		},
		"death of an instance": func(w *world, die func()) {
			w.serving()
			w.blue.down = true
			w.tick(2)
			die()
			w.tick(1)
			w.tick(3) // a fresh prober has to find out by itself
		},
	}
	for name, flow := range flows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, writes := dying(t, flow, faults.Point{})
			if len(writes) < 2 {
				t.Fatalf("an uninterrupted run has only the writes %q", writes)
			}
			for i := range writes {
				for _, after := range []bool{false, true} {
					point := faults.Point{Write: i + 1, After: after}
					t.Run(point.String(), func(t *testing.T) {
						t.Parallel()
						got, _ := dying(t, flow, point)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("killed at %q, another end (-want +got):\n%s", writes[i], diff)
						}
					})
				}
			}
		})
	}
}

// dying runs a flow, in which the process dies at a point, to its end.
func dying(t *testing.T, flow func(*world, func()), point faults.Point) (end, []string) {
	t.Helper()
	w := newWorld(t)
	var mortal *faults.Mortal
	flow(w, func() {
		// What the prober found out is kept: the process lives until it dies.
		prober := w.reconciler.prober
		w.restart(point)
		w.reconciler.prober = prober
		mortal = w.mortal
	})
	if point.Write > 0 && !mortal.Dead() {
		t.Errorf("the manager outlived %s", point)
	}
	s := w.get().Status
	e := end{
		Serving: s.Serving, Pinned: s.PinnedInstance, Convicted: w.convicted("blue"),
		Published: [2]string{w.published("blue"), w.published("green")}, Flips: len(s.RecentFlips),
	}
	if s.LastHandledRequest != nil {
		e.Request = s.LastHandledRequest.Outcome
	}
	return e, mortal.Writes
}
