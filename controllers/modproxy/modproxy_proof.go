package modproxy

import (
	"fmt"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/request"
)

// A convicted instance is let in again only on proof: its canaries and a check
// of its whole store, both begun after there was reason to believe that it is
// sound. Until then it stays out, whoever asks for it.

// proof of an instance's soundness.
type proof struct {
	sound bool
	// wrong says what was found since; empty: nothing.
	wrong string
	// waits says what is still to be seen.
	waits string
}

// proven judges what was found out of an instance since a time. What is not
// probed is not waited for.
func (s *scope) proven(instance string, since time.Time) proof {
	f := s.facts.found[instance]
	if streak, asked := f.Streaks[failover.Checksum]; asked {
		switch {
		case !streak.Last.After(since):
			return proof{waits: "the canaries"}
		case streak.Outcome == failover.Failed:
			return proof{wrong: streak.Message}
		case streak.Outcome != failover.Passed:
			return proof{waits: "the canaries"}
		}
	}
	if !s.checked(instance) {
		return proof{sound: true}
	}
	switch r := f.Store; {
	case r == nil || r.Verdict == nil || !r.Began.After(since):
		return proof{waits: "a check of the whole store"}
	case r.Verdict.Verdict == integrity.OutcomeCorrupt:
		return proof{wrong: evidence(r.Verdict)}
	case r.Verdict.Verdict != integrity.Intact:
		return proof{waits: fmt.Sprintf("a check of the whole store that can tell: %s", r.Verdict.Message)}
	}
	return proof{sound: true}
}

// checked says whether the store of an instance is checked by an agent.
func (s *scope) checked(instance string) bool { return s.layout(instance) != "" }

// layout of an instance's store; empty: there is none that could be checked.
func (s *scope) layout(instance string) string {
	for i := range s.proxy.Spec.Instances {
		if s.proxy.Spec.Instances[i].Name == instance {
			return string(layoutOf(s.proxy, &s.proxy.Spec.Instances[i]))
		}
	}
	return ""
}

// proofNeeded is since when proof of an instance's soundness is wanted; zero:
// it is not.
func (s *scope) proofNeeded(instance string) time.Time {
	if req, ok := s.accepted(); ok && req.Action == request.Failback && req.Argument == instance && s.stands(instance) {
		return s.requested()
	}
	if status := s.instanceStatus(instance); status != nil && status.Rollback != nil {
		if rb := status.Rollback; rb.ReplacedTime != nil && rb.VerifiedTime == nil {
			return rb.ReplacedTime.Add(time.Second)
		}
	}
	return time.Time{}
}

// stands says whether an instance is convicted.
func (s *scope) stands(instance string) bool {
	status := s.instanceStatus(instance)
	return status != nil && status.Quarantined != nil
}
