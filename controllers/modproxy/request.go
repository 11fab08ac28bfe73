package modproxy

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/request"
)

const (
	// requestTimeout is how long a request waits until the router has been given
	// the weights of it.
	requestTimeout = 10 * time.Minute
	// checkTimeout is how long one waits for checks of whole stores.
	checkTimeout = 24 * time.Hour
)

// known is what a ModProxy does with requests. One that moves clients does not
// wait until a check of whole stores has ended.
func known() request.Kind {
	return request.Kind{
		Name: v1alpha1.ModProxyKind,
		Supports: []v1alpha1.RequestAction{
			v1alpha1.RequestFailover, v1alpha1.RequestFailback, v1alpha1.RequestReinstate,
			v1alpha1.RequestCheckIntegrity, v1alpha1.RequestSnapshot,
		},
		Urgent: []v1alpha1.RequestAction{v1alpha1.RequestFailover, v1alpha1.RequestFailback},
	}
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cacherequests,verbs=get;list;watch

// takeRequest takes up the next CacheRequest. A request stays accepted until the
// weights were published, however often that is tried.
func (r *Reconciler) takeRequest(ctx context.Context, p *progress) error {
	queue := requests.Queue{Client: r.Client, Live: r.Live, Kind: known(), Target: p.proxy}
	refuses := func(req request.Request) string { return refuses(p.proxy, req) }
	next, err := queue.Take(ctx, p.proxy.Status.Request, p.Now, refuses, func() bool { return false })
	p.proxy.Status.Request = next
	return err
}

// refuses is why a request is not accepted; empty: it is.
func refuses(p *v1alpha1.ModProxy, req request.Request) string {
	switch {
	case req.Action == v1alpha1.RequestFailover && manual(p):
		return "spec.failover.mode is Manual: set spec.failover.activeInstance, which alone decides"
	case req.Action == v1alpha1.RequestSnapshot && p.Spec.Suspend:
		return "spec.suspend is set: no snapshot is created until it is not"
	case req.Argument == "":
		return ""
	case !named(p, req.Argument):
		return fmt.Sprintf("there is no instance %q", req.Argument)
	case req.Action == v1alpha1.RequestFailover:
		return unfit(p, req.Argument)
	}
	return ""
}

// answer records what became of the accepted request.
func answer(p *v1alpha1.ModProxy, now time.Time, outcome v1alpha1.RequestOutcome, message string) {
	r := p.Status.Request
	if outcome != r.Outcome {
		r.Time = metav1.NewTime(now)
	}
	r.Outcome, r.Message = outcome, bounded.Text(message, requests.MaxMessage)
}

// answerOverdue answers a request that waits too long.
func (r *Reconciler) answerOverdue(_ context.Context, p *progress) error {
	overdue, wake := known().Overdue(p.proxy.Status.Request, p.Now, func(req request.Request) request.Timeout {
		if req.Action == v1alpha1.RequestCheckIntegrity || req.Action == v1alpha1.RequestReinstate {
			return request.Timeout{Within: checkTimeout, Answer: true}
		}
		if req.Action == v1alpha1.RequestSnapshot {
			return request.Timeout{Within: requestTimeout, Answer: true}
		}
		return request.Timeout{Within: requestTimeout, WaitsFor: ": the weights could not be given to the router"}
	})
	p.result.WakeAt(p.Now, wake)
	if overdue != nil {
		answer(p.proxy, p.Now, overdue.Outcome, overdue.Message)
	}
	return nil
}

// unfit is why clients cannot be moved to an instance; empty: they can.
func unfit(p *v1alpha1.ModProxy, name string) string {
	instance := pass.Instance(p, name)
	switch {
	case instance.Quarantined != nil:
		return fmt.Sprintf("instance %s is quarantined (%s): repair its store, and create a CacheRequest of action Reinstate and argument %s", name, instance.Quarantined.Reason, name)
	case !instance.Healthy:
		return fmt.Sprintf("instance %s is not healthy", name)
	}
	return ""
}

// requestedMove is the accepted request as the decision on the weights takes it.
func requestedMove(p *v1alpha1.ModProxy) failover.Request {
	req, ok := pass.Accepted(p)
	switch {
	case !ok:
		return failover.Request{}
	case req.Action == v1alpha1.RequestFailover:
		return failover.Request{Failover: req.Argument}
	case req.Action == v1alpha1.RequestFailback:
		return failover.Request{Failback: true}
	default: // it is for a reinstatement, or moves no weights
		return failover.Request{}
	}
}

// integrityRequested reports whether the accepted request is for a check of the
// stores.
func integrityRequested(p *v1alpha1.ModProxy) bool {
	req, ok := pass.Accepted(p)
	return ok && req.Action == v1alpha1.RequestCheckIntegrity
}

// reinstated is when an instance was reinstated: on the request
// Reinstate or after its store was rolled back, once it was proven
// intact.
func reinstated(p *v1alpha1.ModProxy, o pass.Observed, instance string) time.Time {
	if req, ok := pass.Accepted(p); ok && req.Action == v1alpha1.RequestReinstate && req.Argument == instance &&
		(!pass.Quarantined(p, instance) || storerollback.Prove(p, o, instance, pass.RequestedTime(p)).Intact) {
		// A status has whole seconds. Rounded down, a fault that was found a moment
		// before would quarantine the instance again.
		return o.Now.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	}
	var at time.Time
	if status := pass.InstanceStatus(p, instance); status != nil {
		if status.ReinstatedTime != nil {
			at = status.ReinstatedTime.Time
		}
		if status.Rollback != nil && status.Rollback.VerifiedTime != nil {
			at = later(at, status.Rollback.VerifiedTime.Time)
		}
	}
	return at
}

// answerRequest answers the request that the published weights carry out, or that
// has come to an end by itself.
func (r *Reconciler) answerRequest(_ context.Context, p *progress) error {
	req, ok := pass.Accepted(p.proxy)
	if !ok || !p.routing.published {
		return nil
	}
	outcome, message := v1alpha1.RequestSucceeded, ""
	switch {
	case req.Action == v1alpha1.RequestCheckIntegrity:
		outcome, message = answerIntegrity(p.proxy, p.Observed)
	case req.Action == v1alpha1.RequestFailover && p.proxy.Status.PinnedInstance != req.Argument:
		outcome, message = v1alpha1.RequestFailed, cmp.Or(unfit(p.proxy, req.Argument), "spec.failover chooses another instance")
	case req.Action == v1alpha1.RequestSnapshot && p.proxy.Spec.Suspend:
		outcome, message = v1alpha1.RequestAccepted, "no snapshot is created while spec.suspend is set"
	case req.Action == v1alpha1.RequestSnapshot && p.storesErr != nil:
		outcome, message = v1alpha1.RequestAccepted, "tried again: "+p.storesErr.Error()
	case req.Action == v1alpha1.RequestSnapshot:
		outcome, message = answerSnapshot(p.stores)
	case req.Action == v1alpha1.RequestReinstate:
		outcome, message = answerReinstatement(p.proxy, p.Observed, req.Argument)
	}
	answer(p.proxy, p.Now, outcome, message)
	return nil
}

// answerReinstatement answers after the decision: an instance that is still
// quarantined was not reinstated.
func answerReinstatement(p *v1alpha1.ModProxy, o pass.Observed, instance string) (v1alpha1.RequestOutcome, string) {
	if !pass.Quarantined(p, instance) {
		return v1alpha1.RequestSucceeded, ""
	}
	proof := storerollback.Prove(p, o, instance, pass.RequestedTime(p))
	if proof.Wrong != "" {
		return v1alpha1.RequestFailed, "instance " + instance + " still has corrupt content: " + proof.Wrong
	}
	return v1alpha1.RequestAccepted, "instance " + instance + " stays out until it is proven intact; waiting for " + proof.Waits
}

// answerIntegrity waits for a check of each store that began after the request.
func answerIntegrity(p *v1alpha1.ModProxy, o pass.Observed) (v1alpha1.RequestOutcome, string) {
	var verdicts []string
	for _, i := range p.Spec.Instances {
		r := o.Found[i.Name].Store
		switch {
		case !pass.Checked(p, i.Name):
		case r == nil || r.Verdict == nil || !r.Began.After(pass.RequestedTime(p)):
			return v1alpha1.RequestAccepted, "waiting for the check of the store of " + i.Name
		default:
			verdicts = append(verdicts, fmt.Sprintf("%s: %s", i.Name, r.Verdict.Verdict))
		}
	}
	if len(verdicts) == 0 {
		return v1alpha1.RequestFailed, "no instance has a store that can be checked"
	}
	return v1alpha1.RequestSucceeded, strings.Join(verdicts, ", ")
}

// answerSnapshot names the snapshots that were created for the request.
func answerSnapshot(stores storerollback.Result) (v1alpha1.RequestOutcome, string) {
	if len(stores.Created) == 0 {
		return v1alpha1.RequestFailed, "no instance has a store that is worth a snapshot: healthy, not quarantined, and of a layout that can be verified"
	}
	return v1alpha1.RequestSucceeded, "created CacheSnapshots " + strings.Join(stores.Created, ", ")
}
