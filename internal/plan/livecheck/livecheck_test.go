package livecheck_test

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/schedule"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func daily(t *testing.T) *schedule.Plan {
	t.Helper()
	p, err := schedule.Parse(v1alpha1.Schedule{Schedule: "@daily"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// minutePast is a schedule for 12:01.
func minutePast(t *testing.T) *schedule.Plan {
	t.Helper()
	p, err := schedule.Parse(v1alpha1.Schedule{Schedule: "1 12 * * *"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDecide(t *testing.T) {
	corrupt := livecheck.Snapshot{Name: "s1", Volume: "v", Created: noon.Add(-time.Hour), Verdict: v1alpha1.VerdictCorrupt}
	const midnight = livecheck.Scheduled + "2026-11-21T00:00:00Z"
	const ofS1 = "CacheSnapshot s1 is Corrupt"
	check := func(cause string, ago time.Duration, unsettled int32) livecheck.Check {
		return livecheck.Check{Volume: "v", Cause: cause, Start: noon.Add(-ago), End: noon.Add(-ago + time.Second), InconclusiveAttempts: unsettled}
	}
	for name, tt := range map[string]struct {
		observation livecheck.Observation
		cause       string // empty: not due
		wake        time.Duration
	}{
		"nothing declared":                          {livecheck.Observation{Snapshots: []livecheck.Snapshot{corrupt}}, "", 0},
		"requested":                                 {livecheck.Observation{Request: "CheckIntegrity a/1"}, "CheckIntegrity a/1", 0},
		"requested, another check was made":         {livecheck.Observation{Request: "CheckIntegrity b/2", Last: check("CheckIntegrity a/1", time.Minute, 0)}, "CheckIntegrity b/2", 0},
		"requested, and told":                       {livecheck.Observation{Request: "CheckIntegrity a/1", Last: check("CheckIntegrity a/1", time.Minute, 0)}, "", 0},
		"requested, could not tell just now":        {livecheck.Observation{Request: "CheckIntegrity a/1", Last: check("CheckIntegrity a/1", time.Second, 1)}, "", livecheck.FirstPause},
		"requested, could not tell a while ago":     {livecheck.Observation{Request: "CheckIntegrity a/1", Last: check("CheckIntegrity a/1", time.Hour, 2)}, "CheckIntegrity a/1", 0},
		"requested, could not tell three times":     {livecheck.Observation{Request: "CheckIntegrity a/1", Last: check("CheckIntegrity a/1", time.Hour, 3)}, "", 0},
		"convicted":                                 {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt}}, ofS1, 0},
		"convicted, checked before":                 {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt}, Last: check(midnight, 2*time.Hour, 0)}, ofS1, 0},
		"convicted, checked since":                  {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt}, Last: check(midnight, time.Minute, 0)}, "", 0},
		"convicted, another volume checked since":   {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt}, Last: livecheck.Check{Volume: "u", Start: noon, End: noon}}, ofS1, 0},
		"convicted, of another volume":              {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{{Name: "s0", Volume: "u", Created: noon, Verdict: v1alpha1.VerdictCorrupt}}}, "", 0},
		"convicted, a newer one is intact":          {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt, {Name: "s2", Volume: "v", Created: noon, Verdict: v1alpha1.VerdictIntact}}}, "", 0},
		"convicted, a newer one could not be told":  {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt, {Name: "s2", Volume: "v", Created: noon, Verdict: v1alpha1.VerdictInconclusive}}}, ofS1, 0},
		"convicted, the check could not tell often": {livecheck.Observation{Declared: true, Snapshots: []livecheck.Snapshot{corrupt}, Last: check(ofS1, time.Minute, 3)}, "", 0},
		"scheduled for midnight":                    {livecheck.Observation{Declared: true, Schedule: daily(t), Created: noon}, "", 12 * time.Hour},
		"midnight has passed":                       {livecheck.Observation{Declared: true, Schedule: daily(t), Created: noon.Add(-24 * time.Hour)}, midnight, 0},
		"scheduled, could not tell just now":        {livecheck.Observation{Declared: true, Schedule: daily(t), Last: check(midnight, time.Second, 1)}, "", livecheck.FirstPause},
		"scheduled, could not tell a while ago":     {livecheck.Observation{Declared: true, Schedule: daily(t), Last: check(midnight, time.Hour, 1)}, midnight, 0},
		"Corrupt, inconclusive, before the next scheduled": {livecheck.Observation{
			Declared: true, Schedule: daily(t), Snapshots: []livecheck.Snapshot{corrupt}, Last: check(ofS1, time.Second, 1),
		}, "", livecheck.FirstPause},
		"Corrupt, inconclusive, after the next scheduled": {livecheck.Observation{
			Declared: true, Schedule: minutePast(t), Snapshots: []livecheck.Snapshot{corrupt}, Last: check(ofS1, 0, 2),
		}, "", time.Minute},
		"Corrupt, inconclusive three times, the next scheduled": {livecheck.Observation{
			Declared: true, Schedule: daily(t), Snapshots: []livecheck.Snapshot{corrupt}, Last: check(ofS1, time.Minute, 3),
		}, "", 12 * time.Hour},
		"scheduled, inconclusive, after the next scheduled": {livecheck.Observation{
			Declared: true, Schedule: minutePast(t), Last: check(midnight, 0, 2),
		}, "", time.Minute},
		"scheduled, inconclusive three times": {livecheck.Observation{
			Declared: true, Schedule: daily(t), Last: check(midnight, time.Minute, 3),
		}, "", 12 * time.Hour},
	} {
		tt.observation.Now, tt.observation.Volume = noon, "v"
		d := livecheck.Decide(tt.observation)
		if d.Due != (tt.cause != "") || d.Cause != tt.cause {
			t.Errorf("%s: %+v, want cause %q", name, d, tt.cause)
		}
		if wake := d.Wake; tt.wake > 0 && !wake.Equal(noon.Add(tt.wake)) || tt.wake == 0 && !wake.IsZero() {
			t.Errorf("%s: wakes at %s, want after %s", name, wake, tt.wake)
		}
		if d.Due && d.Since.Before(tt.observation.Last.End) {
			t.Errorf("%s: due since %s, before the last one ended", name, d.Since)
		}
	}
}

func TestCorruptSnapshots(t *testing.T) {
	s := func(name string, hour int, v v1alpha1.Verdict) livecheck.Snapshot {
		return livecheck.Snapshot{Name: name, Volume: "v", Created: noon.Add(time.Duration(hour) * time.Hour), Verdict: v, ByPolicy: true}
	}
	foreign := s("c", 3, v1alpha1.VerdictCorrupt)
	foreign.ByPolicy = false
	const bad, good, unknown = v1alpha1.VerdictCorrupt, v1alpha1.VerdictIntact, v1alpha1.VerdictInconclusive
	for name, tt := range map[string]struct {
		snapshots []livecheck.Snapshot
		want      []string
	}{
		"none":                           {nil, nil},
		"one":                            {[]livecheck.Snapshot{s("a", 1, bad)}, nil},
		"two":                            {[]livecheck.Snapshot{s("b", 2, bad), s("a", 1, bad)}, []string{"a", "b"}},
		"two, one between unknown":       {[]livecheck.Snapshot{s("a", 1, bad), s("x", 2, unknown), s("b", 3, bad)}, []string{"a", "b"}},
		"two, one between intact":        {[]livecheck.Snapshot{s("a", 1, bad), s("x", 2, good), s("b", 3, bad)}, nil},
		"two, and then intact":           {[]livecheck.Snapshot{s("a", 1, bad), s("b", 2, bad), s("x", 3, good)}, nil},
		"one, and one by hand":           {[]livecheck.Snapshot{s("a", 1, bad), foreign}, nil},
		"one, and one of another volume": {[]livecheck.Snapshot{s("a", 1, bad), {Name: "b", Volume: "u", Created: noon, Verdict: bad, ByPolicy: true}}, nil},
	} {
		if got := livecheck.CorruptSnapshots(livecheck.Observation{Volume: "v", Snapshots: tt.snapshots}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestUrgent(t *testing.T) {
	for cause, want := range map[string]bool{
		"": false, livecheck.Scheduled + "now": false, "CheckIntegrity a/1": false, "ReportFailure r/u": true, "CacheSnapshot a is Corrupt": true,
	} {
		if livecheck.Urgent(cause) != want {
			t.Errorf("%q is urgent: %v", cause, !want)
		}
	}
}

// TestAYear lets a year pass over a cache whose checks and snapshots end at
// random, with clocks that jump, and holds that no cause is tried more often
// than it may, that checks keep their schedule, that a Corrupt snapshot is checked
// at once, and that a PVC with no two bad snapshots in a row is never
// found Corrupt.
func TestAYear(t *testing.T) {
	for seed := range int64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			year(t, rand.New(rand.NewSource(seed))) //nolint:gosec // a repeatable simulation
		})
	}
}

func year(t *testing.T, r *rand.Rand) {
	t.Helper()
	f := livecheck.Observation{Created: noon, Volume: "v", Declared: true, Schedule: daily(t)}
	verdicts := []v1alpha1.Verdict{v1alpha1.VerdictIntact, v1alpha1.VerdictIntact, v1alpha1.VerdictInconclusive, v1alpha1.VerdictCorrupt}
	attempts, checks, settledAt := map[string]int{}, 0, noon
	now := noon
	const days = 365
	for tick := 0; tick < days*24; tick++ {
		now = now.Add(time.Hour)
		f.Now = now
		if r.Intn(500) == 0 {
			f.Now = now.Add(time.Duration(r.Intn(7200)-3600) * time.Second) // the manager's clock is off
		}
		if r.Intn(24*3) == 0 {
			v := verdicts[r.Intn(len(verdicts))]
			if n := len(f.Snapshots); n > 0 && f.Snapshots[n-1].Verdict == v1alpha1.VerdictCorrupt && v == v1alpha1.VerdictCorrupt {
				v = v1alpha1.VerdictIntact
			}
			f.Snapshots = append(f.Snapshots, livecheck.Snapshot{Name: fmt.Sprintf("s%06d", tick), Volume: "v", Created: f.Now, Verdict: v, ByPolicy: true})
			f.Snapshots = f.Snapshots[max(0, len(f.Snapshots)-5):]
		}
		d := livecheck.Decide(f)
		if !d.Due {
			if !d.Wake.IsZero() && d.Wake.Before(f.Now) {
				t.Fatalf("%s: woken in the past, at %s", f.Now, d.Wake)
			}
			if last := f.Now.Sub(settledAt); last > 50*time.Hour {
				t.Fatalf("%s: no check for %s", f.Now, last)
			}
			continue
		}
		checks++
		settledAt = now
		unsettled := int32(0)
		if r.Intn(3) == 0 {
			if unsettled = 1; f.Last.Cause == d.Cause {
				unsettled = f.Last.InconclusiveAttempts + 1
			}
			attempts[d.Cause]++
		}
		if unsettled > livecheck.MaxAttempts {
			t.Fatalf("%s: attempt %d of %q", f.Now, unsettled, d.Cause)
		}
		f.Last = livecheck.Check{Volume: "v", Cause: d.Cause, Start: f.Now, End: f.Now.Add(time.Minute), InconclusiveAttempts: unsettled}
		if names := livecheck.CorruptSnapshots(f); names != nil && !adjacent(f.Snapshots) {
			t.Fatalf("%s: convicted by %v of %+v", f.Now, names, f.Snapshots)
		}
	}
	if checks < days-3 || checks > days*5 {
		t.Errorf("%d checks in a year", checks)
	}
}

// adjacent reports whether two bad snapshots follow each other, with none
// between them that is intact.
func adjacent(snapshots []livecheck.Snapshot) bool {
	bad := false
	for _, s := range snapshots {
		switch s.Verdict {
		case v1alpha1.VerdictCorrupt:
			if bad {
				return true
			}
			bad = true
		case v1alpha1.VerdictIntact:
			bad = false
		case v1alpha1.VerdictInconclusive:
		}
	}
	return false
}
