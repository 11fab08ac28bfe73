package router

import (
	"context"
	"sync"
	"time"
)

const (
	// waitFor is how long one attempt of a client waits for an instance. Clients
	// make three attempts.
	waitFor = 6 * time.Second
	// outageWait is how long clients wait after no instance was there for the first
	// time: three of their attempts. Later ones get the error at once, so that a
	// go command with hundreds of requests does not wait for each of them.
	outageWait = 20 * time.Second
	// firstPause and longestPause are between two looks whether an instance is
	// back.
	firstPause, longestPause = 100 * time.Millisecond, time.Second
)

// absentHeader marks, inside of the sidecar, an answer that is HAProxy's own
// because it reached no instance.
const absentHeader = "X-Gocache-Absent"

// outage is the time in which no instance is there: their pods were deleted
// together, or a node with all of them restarts. Only requests notice it; so an
// outage ends with an answer of an instance, or when none was noticed for long.
// It is safe for concurrent use.
type outage struct {
	// coming reports whether an instance may come back; nil: it may. One that is
	// quarantined may not.
	coming func() bool
	now    func() time.Time

	mu         sync.Mutex
	since      time.Time
	lastNotice time.Time
}

// wait reports whether a request that began at a time and met no instance is
// to wait and try again.
func (o *outage) wait(began time.Time) bool {
	if o.coming != nil && !o.coming() {
		return false
	}
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || now.Sub(o.lastNotice) > outageWait {
		o.since = now
	}
	o.lastNotice = now
	return now.Sub(began) < waitFor && now.Sub(o.since) < outageWait
}

// end notes that an instance has answered.
func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
}

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
