package modproxy

import (
	"context"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/schedule"
)

// storeReport is what the agent beside a store told, in the operator's own
// time.
type storeReport struct {
	verdict      *integrity.Verdict // of the last check; nil: none ended yet
	began, ended time.Time          // of that check
	running      time.Time          // when the one under way began; zero: none is
	// sample are modules that the store has.
	sample []probe.Sampled
}

// checkWish is a check that is to have begun after a time; zero: none is wished
// for. Unhurried checks leave the disk to the server.
type checkWish struct {
	since     time.Time
	unhurried bool
}

// missedBy says whether no check that a report tells of began late enough.
func (w checkWish) missedBy(r *storeReport) bool {
	return !w.since.IsZero() && !r.began.After(w.since) && !r.running.After(w.since)
}

// says whether two reports lead to the same decisions.
func (r *storeReport) says(other *storeReport) bool {
	if other == nil || (r.verdict == nil) != (other.verdict == nil) {
		return false
	}
	// Times are ages as of an answer, and jitter with the network.
	return r.verdict == nil || r.verdict.Verdict == other.verdict.Verdict && r.ended.Sub(other.ended).Abs() < jitter
}

const jitter = 5 * time.Second

// askStore asks the agent beside the store for its report; nil: there is none,
// or no answer. An age is counted from before the question, so that a check
// never seems to have begun later than it did.
func (t target) askStore(ctx context.Context, client *http.Client, clock func() time.Time) *storeReport {
	if t.agent == "" || t.layout == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	asked := clock()
	report, err := probe.Target{Agent: t.agent, HTTP: client}.Store(ctx)
	if err != nil {
		return nil
	}
	r := &storeReport{verdict: report.Verdict, sample: report.Sample}
	if report.Verdict != nil {
		r.began, r.ended = asked.Add(-report.Began), asked.Add(-report.Ended)
	}
	if report.Running != nil {
		r.running = asked.Add(-*report.Running)
	}
	return r
}

// checkStore asks for a check. Without an answer it is asked again in the next
// round.
func (t target) checkStore(ctx context.Context, client *http.Client, wish checkWish) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	_ = probe.Target{Agent: t.agent, HTTP: client}.CheckStore(ctx, wish.unhurried)
}

// wantChecks makes wishes the checks that are wanted of a proxy's instances.
func (p *prober) wantChecks(name types.NamespacedName, wishes map[string]checkWish) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for instance, i := range p.instances(name) {
		i.check = wishes[instance]
	}
}

// wishChecks finds out which checks are wanted: the last one that is due by the
// schedule, one that a person asked for, one that is to prove that a store is
// sound again.
func (r *Reconciler) wishChecks(s *scope) error {
	plan, err := schedule.Parse(s.proxy.Spec.Integrity.Schedule, string(s.proxy.UID))
	if err != nil {
		return invalid("spec.integrity.%v", err)
	}
	wishes := map[string]checkWish{}
	for _, i := range s.proxy.Spec.Instances {
		report := s.facts.found[i.Name].store
		if report == nil {
			continue // its agent says first what it has done
		}
		wish := checkWish{since: s.proofNeeded(i.Name)}
		wish.unhurried = wish.since.IsZero()
		if req, ok := s.accepted(); ok && req.Action == request.Integrity {
			wish.since = later(wish.since, s.requested())
		}
		due, at := plan.Due(later(s.proxy.CreationTimestamp.Time, report.began), s.now)
		switch {
		case due:
			wish.since = later(wish.since, at)
		case !at.IsZero():
			s.wake = min(s.wake, max(at.Sub(s.now), confirmInterval))
		}
		wishes[i.Name] = wish
	}
	r.prober.wantChecks(client.ObjectKeyFromObject(s.proxy), wishes)
	return nil
}

// storeFault is what the last check of a store found wrong; nil: nothing.
func (f found) storeFault() *failover.Fault {
	if f.store == nil || f.store.verdict == nil || f.store.verdict.Verdict != integrity.Condemned {
		return nil
	}
	return &failover.Fault{Reason: v1alpha1.ReasonStoreCorrupt, Evidence: evidence(f.store.verdict), Time: f.store.ended}
}

// evidence is what a person must know of a verdict.
func evidence(v *integrity.Verdict) string {
	text := v.Message
	for _, e := range v.Examples {
		if e.Severity != "note" {
			return fmt.Sprintf("%s; such as %s: %s", text, e.Path, e.Detail)
		}
	}
	return text
}

// storeCheckStatus is the last check of a store, as it stands or as it is known
// anew.
func storeCheckStatus(old *v1alpha1.StoreCheckStatus, r *storeReport) *v1alpha1.StoreCheckStatus {
	if r == nil || r.verdict == nil {
		return old
	}
	verdict := v1alpha1.Verdict(r.verdict.Verdict)
	if old != nil && old.Verdict == verdict && r.ended.Sub(old.CompletionTime.Time).Abs() < jitter {
		return old
	}
	is := &v1alpha1.StoreCheckStatus{Verdict: verdict, CompletionTime: metav1.NewTime(r.ended), Modules: int64(r.verdict.Counts.Modules)}
	if r.verdict.Verdict != integrity.Intact {
		is.Message = bounded.Text(evidence(r.verdict), 1024)
	}
	return is
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
