package modproxy

import (
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

// wishChecks finds out which checks are wanted: the last one that is due by the
// schedule, one that a person asked for, one that is to prove that a store is
// sound again.
func (r *Reconciler) wishChecks(s *scope) error {
	plan, err := schedule.Parse(s.proxy.Spec.Integrity.Schedule, string(s.proxy.UID))
	if err != nil {
		return pass.Invalid("spec.integrity.%v", err)
	}
	wishes := map[string]prober.Check{}
	for _, i := range s.proxy.Spec.Instances {
		report := s.Found[i.Name].Store
		if report == nil {
			continue // its agent says first what it has done
		}
		wish := prober.Check{Since: storerollback.NeededSince(s.proxy, i.Name)}
		wish.Unhurried = wish.Since.IsZero()
		if req, ok := pass.Accepted(s.proxy); ok && req.Action == v1alpha1.RequestCheckIntegrity {
			wish.Since = later(wish.Since, pass.RequestedTime(s.proxy))
		}
		due, at := plan.Due(later(s.proxy.CreationTimestamp.Time, report.Began), s.Now)
		switch {
		case due:
			wish.Since = later(wish.Since, at)
		case !at.IsZero():
			s.result.WakeIn(max(at.Sub(s.Now), pass.ConfirmInterval))
		}
		wishes[i.Name] = wish
	}
	r.prober.RequestChecks(client.ObjectKeyFromObject(s.proxy), wishes)
	return nil
}

// storeFault is what the last check of a store found wrong; nil: nothing.
func storeFault(r *prober.StoreReport) *failover.Fault {
	if r == nil || r.Verdict == nil || r.Verdict.Verdict != integrity.OutcomeCorrupt {
		return nil
	}
	return &failover.Fault{Reason: v1alpha1.ReasonStoreCorrupt, Evidence: pass.Evidence(r.Verdict), Time: r.Ended, Contained: r.Verdict.Contained}
}

// storeCheckStatus is the last check of a store, as it stands or as it is known
// anew.
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
		is.Message = bounded.Text(pass.Evidence(r.Verdict), 1024)
	}
	return is
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
