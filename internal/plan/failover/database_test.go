package failover_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"gocache.dev/operator/internal/plan/failover"
)

// TestReached: an instance fails only where another one does better.
func TestReached(t *testing.T) {
	passed := failover.Reach{Outcome: failover.Passed}
	failed := failover.Reach{Outcome: failover.Failed, Message: "502"}
	absent := failover.Reach{Absent: true, Message: "it does not proxy it"}
	const p, f, u = failover.Passed, failover.Failed, failover.Unknown
	for name, tt := range map[string]struct {
		answers     []failover.Reach
		want        []failover.Outcome
		trouble     string
		betterNamed bool
	}{
		"all serve it":                      {answers: []failover.Reach{passed, passed}, want: []failover.Outcome{p, p}},
		"one does not reach it":             {answers: []failover.Reach{passed, failed}, want: []failover.Outcome{p, f}},
		"nobody reaches it":                 {answers: []failover.Reach{failed, failed}, want: []failover.Outcome{u, u}, trouble: "a: 502; b: 502"},
		"the only one does not reach it":    {answers: []failover.Reach{failed}, want: []failover.Outcome{u}, trouble: "a: 502"},
		"all leave it to clients":           {answers: []failover.Reach{absent, absent}, want: []failover.Outcome{p, p}},
		"one leaves it to clients":          {answers: []failover.Reach{passed, absent}, want: []failover.Outcome{p, f}, betterNamed: true},
		"one leaves it, the other fails":    {answers: []failover.Reach{absent, failed}, want: []failover.Outcome{u, u}, trouble: "b: 502"},
		"one leaves it, one fails, one not": {answers: []failover.Reach{absent, failed, passed}, want: []failover.Outcome{f, f, p}},
		"nobody was asked":                  {},
	} {
		answers := map[string]failover.Reach{}
		for i, a := range tt.answers {
			answers[string(rune('a'+i))] = a
		}
		outcomes, trouble := failover.Reached(answers)
		for i, want := range tt.want {
			if got := outcomes[string(rune('a'+i))]; got.Outcome != want {
				t.Errorf("%s: %c is %+v, want outcome %d", name, 'a'+i, got, want)
			}
		}
		if trouble != tt.trouble {
			t.Errorf("%s: trouble %q, want %q", name, trouble, tt.trouble)
		}
		if tt.betterNamed && !strings.HasSuffix(outcomes["b"].Message, "and a does") {
			t.Errorf("%s: %q does not say who does", name, outcomes["b"].Message)
		}
	}
}

// TestReachedNeverFailsAll holds that whatever the instances answer, they never
// all fail, and that none fails without one that passes.
func TestReachedNeverFailsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for range 2000 {
		answers := map[string]failover.Reach{}
		for i := range 1 + r.IntN(8) {
			answers[string(rune('a'+i))] = []failover.Reach{
				{Outcome: failover.Passed}, {Outcome: failover.Failed, Message: "no"}, {Outcome: failover.Unknown}, {Absent: true},
			}[r.IntN(4)]
		}
		outcomes, trouble := failover.Reached(answers)
		failed, passed := 0, 0
		for _, o := range outcomes {
			switch o.Outcome {
			case failover.Failed:
				failed++
			case failover.Passed:
				passed++
			case failover.Unknown:
			}
		}
		if failed > 0 && passed == 0 || trouble != "" && failed > 0 || len(outcomes) != len(answers) {
			t.Fatalf("%+v: %+v, trouble %q", answers, outcomes, trouble)
		}
	}
}
