package schedule_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDue(t *testing.T) {
	tests := []struct {
		name      string
		schedule  v1alpha1.Schedule
		last, now string
		due       bool
		start     string // that is due, or is next; empty: never
	}{
		{"nothing scheduled", v1alpha1.Schedule{}, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", false, ""},
		{"not yet", v1alpha1.Schedule{Schedule: "@daily"}, "2026-01-01T12:00:00Z", "2026-01-01T23:59:59Z", false, "2026-01-02T00:00:00Z"},
		{"now", v1alpha1.Schedule{Schedule: "@daily"}, "2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z", true, "2026-01-02T00:00:00Z"},
		{"caught up once after a week", v1alpha1.Schedule{Schedule: "@daily"}, "2026-01-01T12:00:00Z", "2026-01-08T12:00:00Z", true, "2026-01-08T00:00:00Z"},
		{"the same an hour later", v1alpha1.Schedule{Schedule: "@daily"}, "2026-01-01T12:00:00Z", "2026-01-08T13:00:00Z", true, "2026-01-08T00:00:00Z"},
		{"every minute, for ten years", v1alpha1.Schedule{Schedule: "* * * * *"}, "2016-01-01T12:00:00Z", "2026-01-01T12:00:30Z", true, "2026-01-01T12:00:00Z"},
		{"at an interval, for ten years", v1alpha1.Schedule{Schedule: "@every 1s"}, "2016-01-01T12:00:00Z", "2026-01-01T12:00:00.5Z", true, "2026-01-01T12:00:00Z"},
		{"an interval counts from the last one", v1alpha1.Schedule{Schedule: "@every 7m"}, "2026-01-01T12:00:00Z", "2026-01-01T12:30:00Z", true, "2026-01-01T12:28:00Z"},
		{"monthly", v1alpha1.Schedule{Schedule: "0 0 1 * *"}, "2025-01-15T00:00:00Z", "2026-01-20T00:00:00Z", true, "2026-01-01T00:00:00Z"},
		{"not again after it was caught up", v1alpha1.Schedule{Schedule: "@daily"}, "2026-01-08T12:00:00Z", "2026-01-08T12:00:01Z", false, "2026-01-09T00:00:00Z"},
		{"in its own time zone", v1alpha1.Schedule{Schedule: "0 3 * * *", TimeZone: "Asia/Tokyo"}, "2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z", false, "2026-01-01T18:00:00Z"},
		{"missed by more than the deadline", v1alpha1.Schedule{Schedule: "@daily", StartingDeadline: &metav1.Duration{Duration: 60 * time.Second}}, "2026-01-01T12:00:00Z", "2026-01-02T00:02:00Z", false, "2026-01-03T00:00:00Z"},
		{"missed by exactly the deadline", v1alpha1.Schedule{Schedule: "@daily", StartingDeadline: &metav1.Duration{Duration: 60 * time.Second}}, "2026-01-01T12:00:00Z", "2026-01-02T00:01:00Z", true, "2026-01-02T00:00:00Z"},
		{"missed by less than the deadline", v1alpha1.Schedule{Schedule: "@daily", StartingDeadline: &metav1.Duration{Duration: 60 * time.Second}}, "2026-01-01T12:00:00Z", "2026-01-02T00:00:59Z", true, "2026-01-02T00:00:00Z"},
		{"one of several missed ones still in time", v1alpha1.Schedule{Schedule: "@hourly", StartingDeadline: &metav1.Duration{Duration: 600 * time.Second}}, "2026-01-01T00:00:00Z", "2026-01-01T09:05:00Z", true, "2026-01-01T09:00:00Z"},
		{"02:30 is left out in spring, and comes an hour later", v1alpha1.Schedule{Schedule: "30 2 * * *", TimeZone: "Europe/Berlin"}, "2026-03-28T12:00:00Z", "2026-03-28T12:00:00Z", false, "2026-03-29T01:30:00Z"},
		{"never", v1alpha1.Schedule{Schedule: "0 0 30 2 *"}, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := schedule.Parse(tt.schedule, "seed")
			if err != nil {
				t.Fatal(err)
			}
			due, start := p.Due(at(t, tt.last), at(t, tt.now))
			want := time.Time{}
			if tt.start != "" {
				want = at(t, tt.start)
			}
			if due != tt.due || !start.Equal(want) {
				t.Errorf("due %v start %v, want %v %v", due, start, tt.due, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, s := range map[string]v1alpha1.Schedule{
		"no cron expression":    {Schedule: "every day"},
		"not an IANA time zone": {Schedule: "@daily", TimeZone: "Mars/Olympus"},
	} {
		if _, err := schedule.Parse(s, ""); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: error %v, want one with %q", s, err, text)
		}
	}
}

// TestJitter holds that the offset is the object's own, fixed, and spread.
func TestJitter(t *testing.T) {
	s := v1alpha1.Schedule{Schedule: "@daily", Jitter: &metav1.Duration{Duration: time.Hour}}
	last := at(t, "2026-01-01T12:00:00Z")
	seen := map[time.Time]bool{}
	for i := range 50 {
		seed := strings.Repeat("x", i)
		p, err := schedule.Parse(s, seed)
		if err != nil {
			t.Fatal(err)
		}
		_, next := p.Due(last, last)
		offset := next.Sub(at(t, "2026-01-02T00:00:00Z"))
		if offset < 0 || offset >= time.Hour {
			t.Errorf("seed %q: offset %v, want within the jitter", seed, offset)
		}
		if _, again := p.Due(last, last); !again.Equal(next) {
			t.Errorf("seed %q: %v and then %v", seed, next, again)
		}
		seen[next] = true
	}
	if len(seen) < 45 {
		t.Errorf("50 seeds share %d offsets", len(seen))
	}
}

// TestNoStartIsLostToTheClock holds that a start is neither lost nor comes
// twice where a zone's clock is put forward or back, by an hour or by half of one.
func TestNoStartIsLostToTheClock(t *testing.T) {
	const day = 24 * time.Hour
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu"} {
		for text, every := range map[string]time.Duration{
			"@weekly": 7 * day, "@daily": day, "30 2 * * *": day, "15 2 * * 0": 7 * day, "45 1 * * *": day, "0 */6 * * *": day / 4, "@hourly": time.Hour,
		} {
			p, err := schedule.Parse(v1alpha1.Schedule{Schedule: text, TimeZone: zone}, "")
			if err != nil {
				t.Fatal(err)
			}
			last := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			_, last = p.Due(last, last)
			for last.Year() == 2026 {
				_, next := p.Due(last, last)
				if pause := next.Sub(last); pause > every+time.Hour || pause < every-time.Hour || pause <= 0 {
					t.Errorf("%s in %s: from %s to %s are %s", text, zone, last, next, pause)
				}
				last = next
			}
		}
	}
}
