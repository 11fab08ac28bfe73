package schedule_test

import (
	"math"
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/schedule"
)

func TestBackoff(t *testing.T) {
	b := schedule.Backoff{First: 30 * time.Second, Longest: 5 * time.Minute}
	for failures, want := range map[int32]time.Duration{
		0: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute, 4: 4 * time.Minute, 5: 5 * time.Minute, math.MaxInt32: 5 * time.Minute,
	} {
		if got := b.Pause(failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
}

func TestLater(t *testing.T) {
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	if schedule.Later(a, b) != b || schedule.Later(b, a) != b || schedule.Later(a, a) != a {
		t.Error("not the later time")
	}
}
