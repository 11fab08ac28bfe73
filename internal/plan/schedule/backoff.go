package schedule

import "time"

// Backoff is the pauses after failures in a row: each is twice the one before.
type Backoff struct {
	// First pause, and the Longest.
	First, Longest time.Duration
}

// Pause after so many failures in a row. After none it is that after one.
func (b Backoff) Pause(failures int32) time.Duration {
	pause := b.First
	for ; failures > 1 && pause < b.Longest; failures-- {
		pause *= 2
	}
	return min(pause, b.Longest)
}

// Later is the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
