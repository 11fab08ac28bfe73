package warmup_test

import (
	"testing"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/plan/warmup"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	daily, err := schedule.Parse(v1alpha1.Schedule{Schedule: "@daily"}, "")
	if err != nil {
		t.Fatal(err)
	}
	ran := warmup.Observation{Ran: true, Inputs: "a", LastInputs: "a", LastStart: now.Add(-time.Hour), LastEnd: now.Add(-59 * time.Minute)}
	with := func(f func(*warmup.Observation)) warmup.Observation {
		c := ran
		f(&c)
		return c
	}
	tests := []struct {
		name        string
		observation warmup.Observation
		due         bool
		wake        time.Time
	}{
		{"never ran", warmup.Observation{Inputs: "a"}, true, time.Time{}},
		{"ran, nothing scheduled", ran, false, time.Time{}},
		{"ran, the sources changed", with(func(f *warmup.Observation) { f.Inputs = "b" }), true, time.Time{}},
		{"ran, on another volume", with(func(f *warmup.Observation) { f.NewVolume = true; f.Failures = 1; f.LastEnd = now }), true, time.Time{}},
		{"cleaned, and not warm since", with(func(f *warmup.Observation) { f.Unproven = true }), true, time.Time{}},
		{"cleaned, not warm, and failed just now", with(func(f *warmup.Observation) { f.Unproven = true; f.Failures = 1; f.LastEnd = now }), false, now.Add(warmup.FirstPause)},
		{"requested", with(func(f *warmup.Observation) { f.Requested = true }), true, time.Time{}},
		{"scheduled for midnight", with(func(f *warmup.Observation) { f.Schedule = daily }), false, now.Add(12 * time.Hour)},
		{"midnight has passed", with(func(f *warmup.Observation) { f.Schedule = daily; f.LastStart = now.Add(-13 * time.Hour) }), true, time.Time{}},
		{"failed just now", with(func(f *warmup.Observation) { f.Failures = 1; f.LastEnd = now }), false, now.Add(warmup.FirstPause)},
		{"failed a while ago", with(func(f *warmup.Observation) { f.Failures = 1 }), true, time.Time{}},
		{"failed just now, and the sources changed since", with(func(f *warmup.Observation) { f.Failures = 1; f.LastEnd = now; f.Inputs = "b" }), true, time.Time{}},
		{"failed, and would fail again", with(func(f *warmup.Observation) { f.Failures = 1; f.Hopeless = true }), false, time.Time{}},
		{"failed, would fail again, and the toolchain changed", with(func(f *warmup.Observation) { f.Failures = 1; f.Hopeless = true; f.Inputs = "b" }), true, time.Time{}},
		{"failed just now, and its volume was expanded since", with(func(f *warmup.Observation) { f.Failures = 1; f.LastEnd = now; f.Expanded = true }), true, time.Time{}},
		{"succeeded, and its volume was expanded since", with(func(f *warmup.Observation) { f.Expanded = true }), false, time.Time{}},
		{"failed, would fail again, and its volume was expanded", with(func(f *warmup.Observation) { f.Failures = 1; f.Hopeless = true; f.Expanded = true }), false, time.Time{}},
		{"failed often", with(func(f *warmup.Observation) { f.Failures = 1000; f.LastEnd = now }), false, now.Add(warmup.LongestPause)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.observation.Now = now
			d := warmup.Decide(tt.observation)
			if d.Due != tt.due || !d.Wake.Equal(tt.wake) || d.Due && d.Cause == "" {
				t.Errorf("got %+v, want due %v, wake %v", d, tt.due, tt.wake)
			}
		})
	}
}

// TestSince holds since when a warm-up is due: by that it takes its turn among the
// runs of the writer.
func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	hourly, err := schedule.Parse(v1alpha1.Schedule{Schedule: "@hourly"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		observation warmup.Observation
		want        time.Time
	}{
		"a new cache, from its creation on":              {warmup.Observation{Created: ago(9)}, ago(9)},
		"a change, from the end of the last one on":      {warmup.Observation{Created: ago(90), Ran: true, Inputs: "b", LastInputs: "a", LastStart: ago(30), LastEnd: ago(20)}, ago(20)},
		"a retry, from the end of its pause on":          {warmup.Observation{Ran: true, Failures: 1, LastStart: ago(60), LastEnd: ago(50)}, ago(50).Add(warmup.FirstPause)},
		"a schedule, from its time on":                   {warmup.Observation{Ran: true, Schedule: hourly, LastStart: ago(90), LastEnd: ago(80)}, now},
		"a schedule whose time came during the last one": {warmup.Observation{Ran: true, Schedule: hourly, LastStart: ago(90), LastEnd: now.Add(time.Second), Now: now.Add(time.Minute)}, now.Add(time.Second)},
	} {
		if tt.observation.Now.IsZero() {
			tt.observation.Now = now
		}
		if d := warmup.Decide(tt.observation); !d.Due || !d.Since.Equal(tt.want) {
			t.Errorf("%s: %+v, want since %s", name, d, tt.want)
		}
	}
}

// TestPause holds that each failure in a row doubles the pause, up to the longest.
func TestPause(t *testing.T) {
	for failures, want := range map[int32]time.Duration{
		0: warmup.FirstPause, 1: warmup.FirstPause, 2: 2 * warmup.FirstPause, 3: 4 * warmup.FirstPause, 4: 8 * warmup.FirstPause, 100: warmup.LongestPause,
	} {
		if got := warmup.Pause(failures); got != min(want, warmup.LongestPause) {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}
