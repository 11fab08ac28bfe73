package pass

import (
	"time"

	"gocache.dev/operator/internal/kube/event"
)

const (
	// ConfirmInterval is when what was published is read back again until it has
	// arrived, and the shortest time after which a pass is asked for.
	ConfirmInterval = 500 * time.Millisecond
	// Interval is when the router is read back without a cause: one of its
	// replicas may have been replaced.
	Interval = 30 * time.Second
)

// Result is what every part returns. A part that finds facts for conditions, or
// something that a later part must see, adds them in a Result of its own.
type Result struct {
	// Wake is when the part asks for another pass; zero: a watch will wake it.
	Wake time.Duration
	// Events of what the part did that changes nothing in the status. They are
	// recorded once the status is written.
	Events []event.Event
}

// WakeAt asks for a pass at a time, unless one is asked for earlier.
func (r *Result) WakeAt(now, t time.Time) {
	if !t.IsZero() {
		r.WakeIn(max(t.Sub(now), ConfirmInterval))
	}
}

// WakeIn asks for a pass after a while, unless one is asked for earlier.
func (r *Result) WakeIn(d time.Duration) {
	if r.Wake == 0 || d < r.Wake {
		r.Wake = d
	}
}

// Add takes over what another part returned: the earliest wake-up wins.
func (r *Result) Add(other Result) {
	if other.Wake > 0 {
		r.WakeIn(other.Wake)
	}
	r.Events = append(r.Events, other.Events...)
}
