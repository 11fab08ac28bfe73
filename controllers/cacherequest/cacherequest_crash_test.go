package cacherequest

import (
	"testing"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/crash"
)

// end is what must be the same however often the manager is killed.
type end struct {
	Outcomes map[string]v1alpha1.RequestOutcome
	Acts     map[string]int
	Left     int
}

// TestCrashPoints kills the manager before and after each of its writes: no
// request is lost, each is acted on once, and the finished ones are deleted.
func TestCrashPoints(t *testing.T) {
	crash.Run(t, server.Client, "cacherequest", map[string]crash.Flow[end]{
		"two requests": func(t *testing.T, life *crash.Life) end {
			t.Helper()
			w := newWorld(t)
			life.In(w.namespace)
			w.cache()
			w.request("a")
			w.request("b")
			w.restart(life.Point)
			life.Dies(w.mortal)
			e := end{Outcomes: map[string]v1alpha1.RequestOutcome{}, Acts: w.acts}
			for range 10 {
				w.work()
				w.pass()
			}
			for _, name := range []string{"a", "b"} {
				e.Outcomes[name] = w.get(name).Status.Outcome
			}
			w.now = w.now.Add(48 * time.Hour)
			life.ByHand("a") // deleted, and no invariant protects it
			life.ByHand("b")
			for range 3 {
				w.pass()
			}
			for _, name := range []string{"a", "b"} {
				if w.get(name) != nil {
					e.Left++
				}
			}
			return e
		},
	})
}
