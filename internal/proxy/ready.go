package proxy

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// readiness asks for a Report without ever waiting longer than its timeout:
// a stat on a dead network file system may never return. While a check
// hangs no second one is started.
type readiness struct {
	check   func() Report
	timeout time.Duration
	now     func() time.Time

	mu      sync.Mutex
	running chan struct{} // closed when the check under way ends; nil when there is none
	started time.Time
	last    Report
}

// report returns the outcome of the check under way, or of a new one.
func (r *readiness) report(ctx context.Context) Report {
	done, started := r.start()
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	select {
	case <-done:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.last
	case <-ctx.Done():
	case <-timer.C:
	}
	late := r.latest()
	late.Problem = fmt.Sprintf("the store has not answered for %s", r.now().Sub(started).Round(time.Millisecond))
	return late
}

// latest returns the last completed report without looking at the store.
func (r *readiness) latest() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *readiness) start() (done <-chan struct{}, started time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		finished := make(chan struct{})
		r.running, r.started = finished, r.now()
		go func() {
			report := r.check()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.last, r.running = report, nil
			close(finished)
		}()
	}
	return r.running, r.started
}
