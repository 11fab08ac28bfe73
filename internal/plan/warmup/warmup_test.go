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
