package queue_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/queue"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// among are the first twenty, some of which are active.
func among(active ...string) map[string]queue.Work {
	known := map[string]queue.Work{}
	for i := range 20 {
		known[fmt.Sprint(i)] = queue.Work{}
	}
	for _, id := range active {
		known[id] = queue.Work{State: queue.Inside}
	}
	return known
}

func ticket(i int) queue.Ticket {
	return queue.Ticket{ID: fmt.Sprint(i), Since: now.Add(time.Duration(i) * time.Second)}
}

func TestAsk(t *testing.T) {
	l := queue.New(2)
	ask := func(i int, active ...string) bool {
		t.Helper()
		begin, again, _ := l.Ask(ticket(i), among(active...), now)
		if !begin && (again < 5*time.Second || again > 3*time.Minute) {
			t.Errorf("%d asks again after %v", i, again)
		}
		return begin
	}
	if !ask(1) || !ask(2) || ask(3) || ask(4) {
		t.Error("not exactly two of four are let in")
	}
	if !ask(1, "1", "2") {
		t.Error("one who is in is sent away")
	}
	if ask(4, "1") || !ask(3, "1") {
		t.Error("the younger goes first")
	}
	// A restart: active ones are reported, and waiting ones ask again.
	l = queue.New(2)
	if ask(4, "1", "3") || !ask(4, "1") {
		t.Error("after a restart the limit is another")
	}
	var none *queue.Line
	if begin, _, _ := none.Ask(ticket(1), among("a", "b", "c"), now); !begin {
		t.Error("no line keeps somebody waiting")
	}
	// One that was admitted and never became active is forgotten.
	l = queue.New(1)
	l.Ask(ticket(1), among(), now)
	if begin, _, _ := l.Ask(ticket(2), among(), now.Add(time.Second)); begin {
		t.Error("two are let in")
	}
	if begin, _, _ := l.Ask(ticket(2), among(), now.Add(time.Hour)); !begin {
		t.Error("one who is gone is waited for")
	}
	l = queue.New(1)
	l.Ask(ticket(5), among(), now)
	l.Ask(ticket(1), among(), now)
	gone := among()
	delete(gone, "1")
	delete(gone, "5")
	l.Release("5")
	if begin, _, _ := l.Ask(ticket(2), gone, now); !begin {
		t.Error("one who was deleted is waited for")
	}
	l = queue.New(1)
	l.Ask(ticket(2), among(), now)
	l.Release("2")
	if begin, _, _ := l.Ask(ticket(3), among(), now.Add(time.Hour)); !begin {
		t.Error("one who left is waited for")
	}
}

// TestQuick lets the next in at once when those before were through so quickly
// that no question saw them active.
func TestQuick(t *testing.T) {
	l := queue.New(1)
	known := among()
	for i := range 10 {
		if begin, _, _ := l.Ask(ticket(i), known, now); !begin {
			t.Fatalf("%d waits for those who are through", i)
		}
		known[ticket(i).ID] = queue.Work{State: queue.Through}
		if i%2 == 1 {
			delete(known, ticket(i).ID)
		}
	}
}

// TestNeverTooMany holds for any course of things: never more than the limit at
// once though an active one shows late, and all are admitted.
func TestNeverTooMany(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 4))
		limit := 1 + r.IntN(4)
		l := queue.New(limit)
		at, shown, done := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for step := 0; len(done) < 20; step++ {
			if step > 5000 {
				t.Fatalf("seed %d: only %d of 20 got in", seed, len(done))
			}
			i := ticket(r.IntN(20))
			var active []string
			for id := range shown {
				active = append(active, id)
			}
			switch {
			case done[i.ID]:
			case at[i.ID] && !shown[i.ID]:
				shown[i.ID] = r.IntN(2) == 0
				if !shown[i.ID] {
					delete(shown, i.ID)
				}
			case at[i.ID]:
				delete(at, i.ID)
				delete(shown, i.ID)
				done[i.ID] = true
			default:
				if begin, _, _ := l.Ask(i, among(active...), now.Add(time.Duration(step)*100*time.Millisecond)); begin {
					at[i.ID] = true
				}
			}
			if len(at) > limit {
				t.Fatalf("seed %d: %d at once, limit %d", seed, len(at), limit)
			}
		}
	}
}

// TestShares lets a namespace in whatever another namespace has under way, has
// waiting, or has left without a node.
func TestShares(t *testing.T) {
	const limit = 4
	attacker := func(i int) queue.Ticket {
		return queue.Ticket{ID: fmt.Sprint("a", i), Share: "a", Since: now.Add(-time.Hour)}
	}
	victim := queue.Ticket{ID: "b0", Share: "b", Since: now}
	for name, state := range map[string]queue.State{"running": queue.Inside, "unschedulable": queue.Idle} {
		t.Run(name, func(t *testing.T) {
			l := queue.New(limit)
			known := map[string]queue.Work{victim.ID: {Share: "b"}}
			for i := range 100 {
				known[attacker(i).ID] = queue.Work{Share: "a"}
			}
			began := 0
			for i := range 100 {
				if begin, _, _ := l.Ask(attacker(i), known, now); begin {
					known[attacker(i).ID] = queue.Work{Share: "a", State: state}
					began++
				}
			}
			if began != l.Share() || began != limit-1 {
				t.Errorf("one namespace has %d of %d places, want %d", began, limit, limit-1)
			}
			if begin, again, ahead := l.Ask(victim, known, now); !begin {
				t.Errorf("another namespace waits %v for %d", again, ahead)
			}
			l = queue.New(limit) // after a restart
			if begin, _, _ := l.Ask(victim, known, now); !begin {
				t.Error("after a restart another namespace waits")
			}
		})
	}
}

// TestFewestFirst gives a place that becomes free to the namespace that has the
// fewest, though others have waited for longer.
func TestFewestFirst(t *testing.T) {
	l := queue.New(2)
	known := map[string]queue.Work{"x": {Share: "x", State: queue.Inside}, "a0": {Share: "a", State: queue.Inside}, "b0": {Share: "b"}}
	for i := 1; i < 10; i++ {
		id := fmt.Sprint("a", i)
		known[id] = queue.Work{Share: "a"}
		l.Ask(queue.Ticket{ID: id, Share: "a", Since: now.Add(-time.Hour)}, known, now)
	}
	victim := queue.Ticket{ID: "b0", Share: "b", Since: now}
	if begin, again, _ := l.Ask(victim, known, now); begin || again > 15*time.Second {
		t.Errorf("begins %v though no place is free, or asks again only after %v", begin, again)
	}
	known["x"] = queue.Work{Share: "x", State: queue.Through}
	if begin, _, _ := l.Ask(queue.Ticket{ID: "a1", Share: "a", Since: now.Add(-time.Hour)}, known, now); begin {
		t.Error("the namespace that has a place goes first")
	}
	if begin, _, _ := l.Ask(victim, known, now); !begin {
		t.Error("the namespace that has no place waits")
	}
}

// TestIdleTakesNoPlace holds for a line of one place, which cannot be shared.
func TestIdleTakesNoPlace(t *testing.T) {
	l := queue.New(1)
	known := map[string]queue.Work{"a": {Share: "a", State: queue.Idle}, "b": {Share: "b"}}
	if begin, _, _ := l.Ask(queue.Ticket{ID: "b", Share: "b", Since: now}, known, now); !begin {
		t.Error("work that does not run takes the place of another namespace")
	}
}

// TestAhead holds the number in the message of a ticket that waits: each that is
// inside or goes before it counts once.
func TestAhead(t *testing.T) {
	l := queue.New(3)
	full := among("10", "11", "12")
	for i := range 4 {
		if begin, _, ahead := l.Ask(ticket(i), full, now); begin || ahead != 3+i {
			t.Errorf("%d has %d before it, want %d", i, ahead, 3+i)
		}
	}
	// Two have ended, and those that wait have not asked again.
	if begin, _, ahead := l.Ask(ticket(3), among("10"), now); begin || ahead != 1+3 {
		t.Errorf("the last has %d before it, want one inside and three that wait", ahead)
	}
	if begin, _, _ := l.Ask(ticket(1), among("10"), now); !begin {
		t.Error("one of the first two does not get one of two free places")
	}
}
