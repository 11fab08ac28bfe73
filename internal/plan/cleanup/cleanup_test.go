package cleanup_test

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/cleanup"
	"gocache.dev/operator/internal/plan/schedule"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func daily(t *testing.T) *schedule.Plan {
	t.Helper()
	p, err := schedule.Parse(v1alpha1.Schedule{Schedule: "0 3 * * *"}, "seed")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clean was cleaned this night, by schedule and without approval.
func clean(t *testing.T) cleanup.Observation {
	t.Helper()
	night := noon.Add(-9 * time.Hour)
	return cleanup.Observation{
		Now: noon, Created: noon.AddDate(0, 0, -9), Declared: true, Schedule: daily(t), Bounds: "b",
		LastPlan: night, LastStart: night.Add(time.Minute), LastEnd: night.Add(2 * time.Minute), Warmed: night.Add(-time.Hour),
	}
}

func TestDecide(t *testing.T) {
	plan := func(change ...func(*cleanup.Plan)) *cleanup.Plan {
		p := &cleanup.Plan{Digest: "sha256:d", Bounds: "b"}
		for _, f := range change {
			f(p)
		}
		return p
	}
	approved := func(p *cleanup.Plan) { p.Approved = true }
	other := func(p *cleanup.Plan) { p.Bounds = "a" }
	ended := noon.Add(-9*time.Hour + 2*time.Minute)
	tomorrow := noon.Add(15 * time.Hour)
	waits := map[string]bool{
		"the volume is almost full, and a plan waits": true, "made, approval required": true, "waits until the next start": true, "waits and is asked for anew": true,
	}
	for name, c := range map[string]struct {
		change func(*cleanup.Observation)
		want   cleanup.Decision
	}{
		"not declared": {func(f *cleanup.Observation) { f.Declared, f.Request = false, "cleanup#1" }, cleanup.Decision{}},
		"nothing due":  {func(*cleanup.Observation) {}, cleanup.Decision{Wake: tomorrow}},
		"no schedule":  {func(f *cleanup.Observation) { f.Schedule = nil }, cleanup.Decision{}},
		"scheduled": {
			func(f *cleanup.Observation) { f.Now = tomorrow.Add(time.Minute) },
			cleanup.Decision{Step: cleanup.Make, Cause: "scheduled for 2026-11-22T03:00:00Z", Since: tomorrow},
		},
		"the volume is almost full after a warm-up": {
			func(f *cleanup.Observation) { f.Full, f.Warmed = true, noon.Add(-time.Minute) },
			cleanup.Decision{Step: cleanup.Make, Cause: "the volume is almost full", Since: noon.Add(-time.Minute)},
		},
		"the volume is still almost full after a cleanup": {
			func(f *cleanup.Observation) { f.Full, f.Warmed = true, ended.Add(-time.Hour) },
			cleanup.Decision{Wake: tomorrow},
		},
		"the volume is almost full, and a plan waits": {
			func(f *cleanup.Observation) {
				f.Full, f.Warmed, f.Open, f.ApprovalRequired = true, noon.Add(-time.Minute), plan(), true
			},
			cleanup.Decision{Wake: tomorrow},
		},
		"requested": {
			func(f *cleanup.Observation) { f.Request, f.Requested = "cleanup#1", noon.Add(-time.Minute) },
			cleanup.Decision{Step: cleanup.Make, Cause: "cleanup#1", Since: noon.Add(-time.Minute)},
		},
		"made, automatic": {
			func(f *cleanup.Observation) { f.Open = plan() },
			cleanup.Decision{Step: cleanup.Apply, Cause: "the plan sha256:d was made", Since: ended},
		},
		"made, approval required": {
			func(f *cleanup.Observation) { f.Open, f.ApprovalRequired = plan(), true },
			cleanup.Decision{Wake: tomorrow},
		},
		"approved": {
			func(f *cleanup.Observation) { f.Open, f.ApprovalRequired = plan(approved), true },
			cleanup.Decision{Step: cleanup.Apply, Cause: "the plan sha256:d was approved", Since: ended},
		},
		"waits until the next start": {
			func(f *cleanup.Observation) { f.Open, f.ApprovalRequired, f.Now = plan(), true, tomorrow },
			cleanup.Decision{Step: cleanup.Make, Cause: "scheduled for 2026-11-22T03:00:00Z", Since: tomorrow},
		},
		"waits and is asked for anew": {
			func(f *cleanup.Observation) {
				f.Open, f.ApprovalRequired, f.Request, f.Requested = plan(), true, "cleanup#2", noon
			},
			cleanup.Decision{Step: cleanup.Make, Cause: "cleanup#2", Since: noon},
		},
		"other bounds than approved": {
			func(f *cleanup.Observation) { f.Open, f.ApprovalRequired = plan(approved, other), true },
			cleanup.Decision{Step: cleanup.Make, Cause: "the bounds changed since the plan was made", Since: ended},
		},
		"failed a moment ago": {
			func(f *cleanup.Observation) { f.Now, f.Failures = ended.Add(time.Second), 3 },
			cleanup.Decision{Wake: ended.Add(4 * time.Minute)},
		},
		"failed a moment ago, and asked for": {
			func(f *cleanup.Observation) {
				f.Now, f.Failures, f.Request, f.Requested = ended.Add(time.Second), 3, "cleanup#3", ended
			},
			cleanup.Decision{Step: cleanup.Make, Cause: "cleanup#3", Since: ended},
		},
		"failed a while ago": {
			func(f *cleanup.Observation) { f.Failures = 1 },
			cleanup.Decision{Step: cleanup.Make, Cause: "the last run could not be done", Since: ended},
		},
		"applying failed a while ago": {
			func(f *cleanup.Observation) { f.Failures, f.Open = 1, plan() },
			cleanup.Decision{Step: cleanup.Apply, Cause: "the plan sha256:d was made", Since: ended},
		},
		"paused": {func(f *cleanup.Observation) { f.Paused = true }, cleanup.Decision{Wake: tomorrow}},
		"paused, and warmed since": {
			func(f *cleanup.Observation) { f.Paused, f.Warmed = true, noon.Add(-time.Hour) },
			cleanup.Decision{Step: cleanup.Make, Cause: "a warm-up ran since a check had paused the cleanup", Since: noon.Add(-time.Hour)},
		},
	} {
		f := clean(t)
		c.change(&f)
		if diff := cmp.Diff(c.want, cleanup.Decide(f)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if f.Waits() != waits[name] {
			t.Errorf("%s: waits for approval: %v", name, f.Waits())
		}
	}
}

func TestPause(t *testing.T) {
	for failures, want := range map[int32]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 1 << 30: time.Hour} {
		if got := cleanup.Pause(failures); got != want {
			t.Errorf("after %d: %s, want %s", failures, got, want)
		}
	}
}

// year plays a cache for a year: runs take a quarter of an hour and fail, are
// paused or come to another plan at random; a person approves some day.
type year struct {
	cleanup.Observation
	random *rand.Rand
	log    strings.Builder
	plans  int
}

func (y *year) run(t *testing.T, d cleanup.Decision) {
	if d.Step == cleanup.Apply && (y.Open == nil || y.Open.Bounds != y.Bounds || y.ApprovalRequired && !y.Open.Approved) {
		t.Fatalf("%s: applied what nobody approved: %+v", y.Now, y.Open)
	}
	if y.Failures > 0 && y.Request == "" && y.Now.Sub(y.LastEnd) < cleanup.FirstPause {
		t.Fatalf("%s: tried again without a pause", y.Now)
	}
	if d.Since.After(y.Now) || d.Since.Before(y.LastEnd) {
		t.Fatalf("%s: due since %s, and the last run ended %s", y.Now, d.Since, y.LastEnd)
	}
	if d.Step == cleanup.Make {
		y.LastPlan = y.Now
	}
	y.LastStart, y.LastEnd = y.Now, y.Now.Add(15*time.Minute)
	y.Request, y.Paused = "", false
	outcome := "done"
	switch n := y.random.Intn(10); {
	case n == 0:
		outcome = "failed"
		y.Failures++
	case n == 1:
		outcome, y.Paused, y.Failures, y.Open = "paused", true, 0, nil
	case d.Step == cleanup.Make || n == 2:
		y.plans++
		y.Failures, y.Open = 0, &cleanup.Plan{Digest: fmt.Sprintf("sha256:%d", y.plans), Bounds: y.Bounds}
		outcome = y.Open.Digest
	default:
		y.Failures, y.Open = 0, nil
	}
	_, _ = fmt.Fprintf(&y.log, "%s %s (%s): %s\n", y.Now.Format("01-02 15:04"), d.Step, d.Cause, outcome)
}

// TestYear holds for forty years that only what was approved is applied,
// that nothing is tried without a pause, and that each day has a plan; the first
// year is written down.
func TestYear(t *testing.T) {
	for seed := range int64(40) {
		y := &year{Observation: clean(t), random: rand.New(rand.NewSource(seed))} //nolint:gosec // a repeatable simulation
		y.Now = y.LastEnd
		y.ApprovalRequired = seed%2 == 0
		for end := y.Now.AddDate(1, 0, 0); y.Now.Before(end); y.Now = y.Now.Add(time.Hour) {
			switch n := y.random.Intn(300); {
			case n < 3:
				y.Bounds = fmt.Sprint("b", y.random.Intn(3))
			case n < 6:
				y.Request, y.Requested = "cleanup#1", y.Now
			case n < 20 && y.Open != nil:
				y.Open.Approved = true
			case n < 40:
				y.Warmed = y.Now
			}
			d := cleanup.Decide(y.Observation)
			if d.Step != cleanup.None {
				y.run(t, d)
				continue
			}
			if y.Open != nil && !y.Waits() && y.Failures == 0 {
				t.Fatalf("%s: nothing is done about %+v, and it does not wait", y.Now, y.Open)
			}
			if d.Wake.IsZero() || !d.Wake.After(y.Now) {
				t.Fatalf("%s: not woken again: %+v", y.Now, d)
			}
			if y.Now.Sub(y.LastPlan) > 28*time.Hour {
				t.Fatalf("seed %d: %s: the last plan is of %s", seed, y.Now, y.LastPlan)
			}
		}
		if seed == 0 {
			golden(t, y.log.String())
		}
	}
}

func golden(t *testing.T, got string) {
	t.Helper()
	name := filepath.Join("testdata", "year.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name) //nolint:gosec // a fixed name
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}
