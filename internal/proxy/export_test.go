package proxy

import (
	"context"
	"time"
)

// Readiness opens readiness to the tests.
type Readiness struct{ r *readiness }

// NewReadiness makes one.
func NewReadiness(check func() Report, timeout time.Duration, now func() time.Time) *Readiness {
	return &Readiness{&readiness{check: check, timeout: timeout, now: now}}
}

// Report asks it.
func (r *Readiness) Report(ctx context.Context) Report { return r.r.report(ctx) }

// Comparing is how many comparisons of tags are being made.
func (s *Server) Comparing() int {
	s.moved.mu.Lock()
	defer s.moved.mu.Unlock()
	return len(s.moved.looking)
}

// ComparisonTimeout is how long each may take.
func (s *Server) ComparisonTimeout() time.Duration { return s.moved.timeout }
