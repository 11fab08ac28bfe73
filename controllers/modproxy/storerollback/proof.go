package storerollback

import (
	"fmt"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/plan/failover"
)

// A quarantined instance is reinstated only on proof: its reference modules and
// a check of its whole store, both begun after there was reason to expect that it
// is intact. Until then it stays out, also on request.

// Proof that an instance is intact.
type Proof struct {
	Intact bool
	// Wrong is what was found since; empty: nothing.
	Wrong string
	// Waits is what has to be observed yet.
	Waits string
}

// Prove judges what was found out of an instance since a time. What is not
// probed is not waited for.
func Prove(p *v1alpha1.ModProxy, o pass.Observed, instance string, since time.Time) Proof {
	f := o.Found[instance]
	if streak, asked := f.Streaks[failover.Checksum]; asked {
		switch {
		case !streak.Last.After(since):
			return Proof{Waits: "the reference modules"}
		case streak.Outcome == failover.Failed:
			return Proof{Wrong: streak.Message}
		case streak.Outcome != failover.Passed:
			return Proof{Waits: "the reference modules"}
		}
	}
	if !pass.Checked(p, instance) {
		return Proof{Intact: true}
	}
	switch r := f.Store; {
	case r == nil || r.Verdict == nil || !r.Began.After(since):
		return Proof{Waits: "a check of the whole store"}
	case r.Verdict.Verdict == integrity.OutcomeCorrupt:
		return Proof{Wrong: pass.Evidence(r.Verdict)}
	case r.Verdict.Verdict != integrity.Intact:
		return Proof{Waits: fmt.Sprintf("a check of the whole store that is not inconclusive: %s", r.Verdict.Message)}
	}
	return Proof{Intact: true}
}

// NeededSince is since when a proof of an instance is needed; zero: it is not.
func NeededSince(p *v1alpha1.ModProxy, instance string) time.Time {
	if req, ok := pass.Accepted(p); ok && req.Action == v1alpha1.RequestReinstate && req.Argument == instance && pass.Quarantined(p, instance) {
		return pass.RequestedTime(p)
	}
	if status := pass.InstanceStatus(p, instance); status != nil && status.Rollback != nil {
		if rb := status.Rollback; rb.ReplacedTime != nil && rb.VerifiedTime == nil {
			return rb.ReplacedTime.Add(time.Second)
		}
	}
	return time.Time{}
}
