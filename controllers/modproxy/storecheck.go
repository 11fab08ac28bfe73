package modproxy

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/prober"
)

// requestChecks requests the checks of the stores that are due: the last one by
// the schedule, one that a user has requested, one that is to prove that a store
// is intact again.
func (r *Reconciler) requestChecks(_ context.Context, p *progress) error {
	plan, err := schedule.Parse(p.proxy.Spec.Integrity.Schedule, string(p.proxy.UID))
	if err != nil {
		return pass.Invalid("spec.integrity.%v", err)
	}
	due := map[string]prober.Check{}
	for _, i := range p.proxy.Spec.Instances {
		report := p.Found[i.Name].Store
		if report == nil {
			continue // its agent has to report first what it has done
		}
		check := prober.Check{Since: storerollback.NeededSince(p.proxy, i.Name)}
		check.Unhurried = check.Since.IsZero()
		if integrityRequested(p.proxy) {
			check.Since = later(check.Since, pass.RequestedTime(p.proxy))
		}
		scheduled, at := plan.Due(later(p.proxy.CreationTimestamp.Time, report.Began), p.Now)
		if scheduled {
			check.Since = later(check.Since, at)
		} else {
			p.result.WakeAt(p.Now, at)
		}
		due[i.Name] = check
	}
	r.prober.RequestChecks(client.ObjectKeyFromObject(p.proxy), due)
	return nil
}

// storeFault is what the last check of a store found corrupt; nil: nothing.
func storeFault(r *prober.StoreReport) *failover.Fault {
	if r == nil || r.Verdict == nil || r.Verdict.Verdict != integrity.OutcomeCorrupt {
		return nil
	}
	return &failover.Fault{Reason: v1alpha1.ReasonStoreCorrupt, Evidence: pass.Evidence(r.Verdict), Time: r.Ended, Contained: r.Verdict.Contained}
}

// storeCheckStatus is the last check of a store: the one that is recorded, or the
// one that its agent has reported since.
func storeCheckStatus(old *v1alpha1.StoreCheckStatus, r *prober.StoreReport) *v1alpha1.StoreCheckStatus {
	if r == nil || r.Verdict == nil {
		return old
	}
	verdict := v1alpha1.Verdict(r.Verdict.Verdict)
	if old != nil && old.Verdict == verdict && r.Ended.Sub(old.CompletionTime.Time).Abs() < prober.Jitter {
		return old
	}
	is := &v1alpha1.StoreCheckStatus{Verdict: verdict, CompletionTime: metav1.NewTime(r.Ended), Modules: int64(r.Verdict.Counts.Modules)}
	is.Withdrawn = int64(r.Verdict.Withdrawn)
	if r.Verdict.Verdict != integrity.Intact || is.Withdrawn > 0 {
		is.Message = bounded.Text(pass.Evidence(r.Verdict), pass.MaxText)
	}
	return is
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
