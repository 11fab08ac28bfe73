package crash

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/testing/faults"
)

// Flow runs to its end, in which a process dies at the point of its life, and
// returns what must be the same however often it is killed.
type Flow[End any] func(t *testing.T, life *Life) End

// Life is one run of a flow.
type Life struct {
	// Point where the process dies; the zero point lets it live.
	Point faults.Point

	namespace string
	mortal    *faults.Mortal
	byHand    map[string]bool
}

// In sets the namespace in which the flow takes place.
func (l *Life) In(namespace string) { l.namespace = namespace }

// Dies sets the process that dies, and whose writes are counted.
func (l *Life) Dies(m *faults.Mortal) { l.mortal = m }

// ByHand registers that a person removes the object of this name: no invariant
// protects it from that.
func (l *Life) ByHand(name string) { l.byHand[name] = true }

// Run is a suite: it runs every flow with a death before and after each of its
// writes, on one API server.
func Run[End any](t *testing.T, server client.WithWatch, suite string, flows map[string]Flow[End]) {
	t.Helper()
	t.Parallel()
	journal := Watch(t, server)
	names := slices.Sorted(maps.Keys(flows))
	print(t, Reported{Suite: suite, Declared: names})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, journal, Reported{Suite: suite, Flow: name}, flows[name])
		})
	}
}

// run is one flow: its undisturbed life, and all its deaths.
func run[End any](t *testing.T, journal *Journal, count Reported, flow Flow[End]) {
	t.Helper()
	want, writes := live(t, journal, flow, faults.Point{})
	if len(writes) == 0 {
		t.Fatal("an undisturbed run writes nothing: does the flow call life.Dies?")
	}
	count.Writes = len(writes)
	var mu sync.Mutex
	failed := map[int]bool{}
	every := min(sample(t), len(writes)) // at least one of each flow
	t.Cleanup(func() {                   // when all its points have been run
		count.Failed = len(failed)
		print(t, count)
		t.Log(count)
	})
	for i, write := range writes {
		if (i+len(count.Flow))%every != 0 {
			continue
		}
		for _, after := range []bool{false, true} {
			point := faults.Point{Write: i + 1, After: after}
			t.Run(point.String(), func(t *testing.T) {
				t.Parallel()
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					if failed[i] = failed[i] || t.Failed(); !failed[i] {
						delete(failed, i)
					}
					if after {
						count.After++
					} else {
						count.Before++
					}
				}()
				got, made := live(t, journal, flow, point)
				if len(made) != i+1 {
					t.Fatalf("the process made %d writes, want its death at write %d, %q", len(made), i+1, write)
				}
				if kind(made[i]) != kind(write) {
					t.Errorf("write %d was %q, and %q in the undisturbed run: the flow's order is left to chance, so that not each write is a crash point", i+1, made[i], write)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("killed at %q, another end (-undisturbed +killed):\n%s", write, diff)
				}
			})
		}
	}
}

// sample is every how many-th write is a crash point; 1: each.
func sample(t *testing.T) int {
	t.Helper()
	text := os.Getenv(Every)
	if text == "" {
		return 1
	}
	every, err := strconv.Atoi(text)
	if err != nil || every < 1 {
		t.Fatalf("%s=%q: want a whole number from 1", Every, text)
	}
	return every
}

// live runs a flow once and holds the invariants against all that happened.
func live[End any](t *testing.T, journal *Journal, flow Flow[End], point faults.Point) (End, []string) {
	t.Helper()
	life := &Life{Point: point, byHand: map[string]bool{}}
	end := flow(t, life)
	if life.mortal == nil || life.namespace == "" {
		t.Fatal("the flow sets no process that dies, or no namespace: call life.Dies and life.In")
	}
	if point.Write > 0 && !life.mortal.Dead() {
		t.Fatalf("the process outlived %s", point)
	}
	journal.check(t, life.namespace, life.byHand)
	return end, life.mortal.Writes
}

// kind of a write: its verb and type, without the name, which may be chosen by
// the API server.
func kind(write string) string {
	at := strings.LastIndex(write, " ")
	return write[:max(at, 0)]
}
