package populator

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/faults"
)

// run lets a story go on until it ends, with a fresh reconciler after a crash.
func (w *world) run(m *faults.Mortal, story func(step int)) {
	w.t.Helper()
	w.reconciler = w.fresh(m.Client(server.Client))
	for step := range 24 {
		before := w.seen
		story(step)
		_, err := w.reconciler.Reconcile(w.t.Context(), w.request("data"))
		switch {
		case errors.Is(err, faults.ErrDead):
			w.reconciler = w.fresh(server.Client)
		case err != nil:
			w.t.Fatal(err)
		}
		w.must(w.cluster(w.t.Context()))
		if step > 16 && w.seen == before { // every story has played its part by then
			return
		}
	}
}

// TestPopulationSurvivesACrashAtEveryWrite kills the populator before and
// after each of its writes, and starts it afresh.
func TestPopulationSurvivesACrashAtEveryWrite(t *testing.T) {
	t.Parallel()
	flows := map[string]struct {
		writes int
		story  func(w *world) func(step int)
	}{
		"straight": {writes: 3, story: func(w *world) func(int) {
			w.schedule("data", "n1")
			return func(int) {}
		}},
		"node rejected": {writes: 6, story: func(w *world) func(int) {
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
		"snapshot withdrawn": {writes: 5, story: func(w *world) func(int) {
			w.stuck = true
			w.schedule("data", "n1")
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
	for name, flow := range flows {
		for at := range flow.writes + 1 { // 0: never killed
			for _, after := range []bool{false, true} {
				if at == 0 && after {
					continue
				}
				t.Run(fmt.Sprintf("%s/write %d, after it %t", name, at, after), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					w.snapshot("ci-1", "ci", metav1.ConditionTrue)
					w.cache("ci", "ci-1")
					w.claim("data", v1alpha1.GoCacheKind, "ci")
					m := &faults.Mortal{Point: faults.Point{Write: at, After: after}}
					w.run(m, flow.story(w))
					want := "ci-1"
					if name == "snapshot withdrawn" {
						want = "ci-2"
					}
					w.populated("data", want)
					if at == 0 && len(m.Writes) != flow.writes {
						t.Errorf("an undisturbed run makes the writes %q, want %d: not every one is a crash point", m.Writes, flow.writes)
					}
					if at > 0 && !m.Dead() {
						t.Errorf("it was never killed")
					}
				})
			}
		}
	}
}
