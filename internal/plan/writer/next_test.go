package writer_test

import (
	"math/rand"
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/writer"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func TestDecide(t *testing.T) {
	warm, clean := writer.DueAction{Action: writer.WarmUp, Since: at(0)}, writer.DueAction{Action: writer.Cleanup, Since: at(0)}
	check := writer.DueAction{Action: writer.Integrity, Since: at(0)}
	urgent := check
	urgent.Urgent = true
	ran := func(w writer.DueAction, since, last int) writer.DueAction {
		w.Since, w.LastStart = at(since), at(last)
		return w
	}
	for name, tt := range map[string]struct {
		due  []writer.DueAction
		want writer.Action
	}{
		"none":                                 {nil, ""},
		"by rank":                              {[]writer.DueAction{check, clean, warm}, writer.WarmUp},
		"urgent first":                         {[]writer.DueAction{clean, warm, urgent}, writer.Integrity},
		"a warm-up that ran while one waited":  {[]writer.DueAction{ran(warm, 2, 1), check}, writer.Integrity},
		"one that waited since, and by rank":   {[]writer.DueAction{ran(warm, 2, 1), check, clean}, writer.Cleanup},
		"a doubt after a doubt, one waited":    {[]writer.DueAction{ran(urgent, 2, 1), warm}, writer.WarmUp},
		"a warm-up that ran before one waited": {[]writer.DueAction{ran(warm, 2, -1), check}, writer.WarmUp},
		"a clock that jumped back":             {[]writer.DueAction{ran(warm, 0, 9), ran(clean, 0, 9)}, writer.WarmUp},
		"the same in another order":            {[]writer.DueAction{ran(clean, 0, 9), ran(warm, 0, 9)}, writer.WarmUp},
	} {
		if got, ok := writer.Decide(tt.due); got.Action != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got.Action, ok, tt.want)
		}
	}
}

// TestNoActionStarves lets actions become due at random, again and again, and
// holds that none waits for more than one run of each of the others, and that
// of two that never ran the urgent one goes first.
func TestNoActionStarves(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed)) //nolint:gosec // a repeatable simulation
		var due []writer.DueAction
		last := map[writer.Action]time.Time{}
		lastUrgent := map[writer.Action]time.Time{}
		waited := map[writer.Action]int{}
		eager := r.Intn(3)
		for tick := range 300 {
			for i, a := range []writer.Action{writer.WarmUp, writer.Cleanup, writer.Integrity} {
				if has(due, a) || i != eager && r.Intn(5) > 0 {
					continue // the eager one is due all the time
				}
				w := writer.DueAction{Action: a, Since: at(tick), LastStart: last[a], Urgent: a == writer.Integrity && r.Intn(2) == 0}
				if w.Urgent {
					w.LastStart = lastUrgent[a]
				}
				due, waited[a] = append(due, w), 0
			}
			next, ok := writer.Decide(due)
			if !ok {
				continue
			}
			last[next.Action] = at(tick)
			if next.Urgent {
				lastUrgent[next.Action] = at(tick)
			}
			var rest []writer.DueAction
			for _, w := range due {
				if w.Action == next.Action {
					continue
				}
				if waited[w.Action]++; waited[w.Action] > 3 { // an urgent and a plain one may both go first
					t.Fatalf("seed %d, tick %d: %s waits for run %d", seed, tick, w.Action, waited[w.Action])
				}
				rest = append(rest, w)
			}
			due = rest
		}
	}
}

func has(due []writer.DueAction, a writer.Action) bool {
	for _, w := range due {
		if w.Action == a {
			return true
		}
	}
	return false
}
