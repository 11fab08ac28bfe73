package prober

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/untrusted"
)

// StoreReport is what the agent beside a store reports, in the operator's own
// time.
type StoreReport struct {
	// Verdict of the last check; nil: none has ended yet.
	Verdict *integrity.Verdict
	// Began and Ended are the times of that check.
	Began, Ended time.Time
	// Running is when the check under way began; zero: none is.
	Running time.Time
	// Sample are modules that the store has.
	Sample []probe.Sampled
}

// Jitter is how much times of one check may differ between two reports: they are
// sent as ages, and shift with the network.
const Jitter = 5 * time.Second

// equals reports whether two reports lead to the same decisions.
func (r *StoreReport) equals(other *StoreReport) bool {
	if other == nil || (r.Verdict == nil) != (other.Verdict == nil) {
		return false
	}
	return r.Verdict == nil || r.Verdict.Verdict == other.Verdict.Verdict && r.Ended.Sub(other.Ended).Abs() < Jitter
}

// sampled are the modules that a report names, as far as a status can hold
// their names.
func (r *StoreReport) sampled() []probe.Sampled {
	if r == nil {
		return nil
	}
	some := slices.DeleteFunc(slices.Clone(r.Sample), func(s probe.Sampled) bool { return len(s.Path) > 256 || len(s.Version.Version) > 128 })
	return some[:min(len(some), probe.Samples)]
}

// report asks the agent beside the store for its report; nil: there is none, or
// no answer. An age is counted from before the question, so that a check never
// seems to have begun later than it did.
func (t Target) report(ctx context.Context, via connection, clock func() time.Time) *StoreReport {
	if t.Agent == "" || t.Layout == "" {
		return nil
	}
	ctx, cancel := via.within(ctx, t.Timeout)
	defer cancel()
	asked := clock()
	var report probe.StoreReport
	var err error
	if defect := via.read(t.Name, "store", func() { report, err = probe.Target{Agent: t.Agent, HTTP: via.http}.Store(ctx) }); defect != nil || err != nil {
		return nil
	}
	r := &StoreReport{Verdict: brief(report.Verdict), Sample: report.Sample[:min(len(report.Sample), probe.Samples)]}
	if report.Verdict != nil {
		r.Began, r.Ended = asked.Add(-report.Began), asked.Add(-report.Ended)
	}
	if report.Running != nil {
		r.Running = asked.Add(-*report.Running)
	}
	return r
}

// brief is what is kept of a verdict: a report may have a megabyte.
func brief(v *integrity.Verdict) *integrity.Verdict {
	if v == nil {
		return nil
	}
	b := &integrity.Verdict{Verdict: v.Verdict, Message: untrusted.Bound(v.Message), Counts: v.Counts, Corrupt: v.Corrupt, Withdrawn: v.Withdrawn, Contained: v.Contained}
	for _, e := range v.Examples {
		if e.Severity != "note" && len(b.Examples) < maxExamples {
			e.Path, e.Detail = untrusted.Bound(e.Path), untrusted.Bound(e.Detail)
			b.Examples = append(b.Examples, e)
		}
	}
	for _, e := range v.WithdrawnExamples[:min(len(v.WithdrawnExamples), maxExamples)] {
		e.Path, e.Detail = untrusted.Bound(e.Path), untrusted.Bound(e.Detail)
		b.WithdrawnExamples = append(b.WithdrawnExamples, e)
	}
	return b
}

// maxExamples of a verdict are kept.
const maxExamples = 10

// Check is a check of a store that is due.
type Check struct {
	// Since is the time after which a check must have begun; zero: none is due.
	Since time.Time
	// Unhurried leaves the disk to the server.
	Unhurried bool
}

// missedBy reports whether no check in a report began late enough.
func (c Check) missedBy(r *StoreReport) bool {
	return !c.Since.IsZero() && !r.Began.After(c.Since) && !r.Running.After(c.Since)
}

// RequestChecks replaces the checks that are due of a proxy's stores, by
// instance.
func (p *Prober) RequestChecks(proxy types.NamespacedName, checks map[string]Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.proxies[proxy]; s != nil {
		for instance, i := range s.instances {
			i.check = checks[instance]
		}
	}
}

// startCheck asks for a check. Without an answer it is asked again in the next
// round.
func (t Target) startCheck(ctx context.Context, via connection, c Check) {
	ctx, cancel := via.within(ctx, t.Timeout)
	defer cancel()
	_ = via.read(t.Name, "start of a check", func() { _ = probe.Target{Agent: t.Agent, Token: t.Token, HTTP: via.http}.CheckStore(ctx, c.Unhurried) })
}
