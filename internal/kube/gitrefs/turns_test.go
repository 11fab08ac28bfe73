package gitrefs

import (
	"fmt"
	"slices"
	"testing"
)

// TestTurns holds how many look-ups run at once, that namespaces have their turns one
// after the other, and that nothing is left of those that are done.
func TestTurns(t *testing.T) {
	var places turns
	var ended []func() // of what runs, in the order of its start
	var started []string
	queue := func(namespace string, n int) {
		for i := range n {
			name := fmt.Sprint(namespace, i)
			places.run(namespace, func(work func()) { started, ended = append(started, name), append(ended, work) }, func() {})
		}
	}
	queue("a", maxPerNamespace+2)
	if len(started) != maxPerNamespace {
		t.Fatalf("of one namespace run %v", started)
	}
	for _, namespace := range []string{"b", "c", "d", "e"} {
		queue(namespace, maxPerNamespace)
	}
	if len(started) != maxLookups || slices.ContainsFunc(started, func(s string) bool { return s[0] == 'e' }) {
		t.Fatalf("of all run %v", started)
	}
	next := func(end int) string {
		work := ended[end]
		ended = slices.Delete(ended, end, end+1)
		was := len(started)
		work()
		if len(started) != was+1 {
			t.Fatalf("a place that is free starts %v", started[was:])
		}
		return started[was]
	}
	// One of b ends: a, which has waited for longest, has no place for more; one of a does.
	if got := next(maxPerNamespace); got != "e0" {
		t.Errorf("after one of b: %s", got)
	}
	if got := next(0); got != "a4" {
		t.Errorf("after one of a: %s", got)
	}
	if got := next(1); got != "e1" {
		t.Errorf("after another of a: %s", got)
	}
	for len(ended) > 0 {
		work := ended[0]
		ended = ended[1:]
		work()
	}
	if len(started) != maxPerNamespace+2+4*maxPerNamespace {
		t.Errorf("started %v", started)
	}
	if places.total != 0 || len(places.running) != 0 || len(places.waiting) != 0 || len(places.order) != 0 {
		t.Errorf("left: %d, %v, %v, %v", places.total, places.running, places.waiting, places.order)
	}
}
