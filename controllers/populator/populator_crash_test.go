package populator

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/crash"
	"gocache.dev/operator/internal/testing/faults"
)

// run lets a scenario go on until it ends, with a fresh reconciler after a crash.
func (w *world) run(m *faults.Mortal, scenario func(step int)) {
	w.t.Helper()
	w.reconciler = w.fresh(m.Client(server.Client))
	for step := range 24 {
		before := w.seen
		scenario(step)
		_, err := w.reconciler.Reconcile(w.t.Context(), w.request("data"))
		switch {
		case errors.Is(err, faults.ErrDead):
			w.reconciler = w.fresh(server.Client)
		case err != nil:
			w.t.Fatal(err)
		}
		w.must(w.cluster(w.t.Context()))
		if step > 16 && w.seen == before { // every scenario has ended by then
			return
		}
	}
}

// end is what must be the same however often the populator is killed, beside
// where the PVC's content is from.
type end struct{ Volumes, Claims, Pairs int }

// TestCrashPoints kills the populator before and after each of its writes, and
// starts it afresh.
func TestCrashPoints(t *testing.T) {
	scenarios := map[string]struct {
		from     string // what the PVC ends up with
		shared   bool   // the cache is of another namespace
		scenario func(w *world, life *crash.Life) func(step int)
	}{
		"shared": {"ci-1", true, func(w *world, _ *crash.Life) func(int) {
			w.schedule("data", "n1")
			return func(int) {}
		}},
		"straight": {"ci-1", false, func(w *world, _ *crash.Life) func(int) {
			w.schedule("data", "n1")
			return func(int) {}
		}},
		"pool": {"ci-1", false, func(w *world, _ *crash.Life) func(int) {
			w.poolOf("ci-1", 1)
			w.schedule("data", "n1")
			return func(int) {}
		}},
		"node rejected": {"ci-1", false, func(w *world, _ *crash.Life) func(int) {
			w.rejectNode = "full"
			w.schedule("data", "full")
			return func(step int) {
				// the scheduler chooses the full node once more, to be met with
				// the remains of the first try
				node := "n2"
				if step < 8 {
					node = "full"
				}
				if c := w.get("data"); step%8 == 0 && c.Status.Phase != corev1.ClaimBound && c.Annotations[volume.SelectedNodeAnnotation] == "" {
					w.schedule("data", node)
				}
			}
		}},
		"snapshot withdrawn": {"ci-2", false, func(w *world, life *crash.Life) func(int) {
			w.stuck = true
			w.schedule("data", "n1")
			life.ByHand("ci-1")
			return func(step int) {
				switch step {
				case 3:
					w.must(server.Client.Delete(w.t.Context(), &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci-1"}}))
					w.now = w.now.Add(time.Hour)
				case 8:
					w.snapshot("ci-2", "ci", metav1.ConditionTrue)
					w.offer("ci", "ci-2")
					w.stuck = false
				}
			}
		}},
	}
	flows := map[string]crash.Flow[end]{}
	for name, flow := range scenarios {
		flows[name] = func(t *testing.T, life *crash.Life) end {
			w := newWorld(t)
			life.In(w.namespace)
			from := flow.from
			if flow.shared {
				from = w.sharedFrom(newWorld(t)).namespace + "/" + from
			} else {
				w.snapshot("ci-1", "ci", metav1.ConditionTrue)
				w.cache("ci", "ci-1")
			}
			w.claim("data", v1alpha1.GoCacheKind, "ci")
			m := &faults.Mortal{Point: life.Point}
			life.Dies(m)
			w.run(m, flow.scenario(w, life))
			w.populated("data", from)
			return end{Volumes: w.volumes(), Claims: w.boundClaims(), Pairs: w.pairs()}
		}
	}
	crash.Run(t, server.Client, "populator", flows)
}
