package modproxy

import (
	"context"
	"fmt"
	"slices"
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

// takeRequest takes up the next CacheRequest. What it asks for is accepted
// until the weights were published, however often that is tried.
func (r *Reconciler) takeRequest(ctx context.Context, s *scope) error {
	queue := requests.Queue{Client: r.Client, Live: r.Live, Kind: known(), Target: s.proxy}
	next, err := queue.Take(ctx, s.proxy.Status.Request, s.Now, s.refuses, func() bool { return false })
	s.proxy.Status.Request = next
	return err
}

// refuses is why a request is not accepted; empty: it is.
func (s *scope) refuses(req request.Request) string {
	exists := slices.ContainsFunc(s.proxy.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return i.Name == req.Argument })
	switch {
	case req.Argument == "":
		return ""
	case !exists:
		return fmt.Sprintf("there is no instance %q", req.Argument)
	case req.Action == v1alpha1.RequestFailover:
		return s.unfit(req.Argument)
	}
	return ""
}

// answer records what became of the accepted request.
func (s *scope) answer(outcome v1alpha1.RequestOutcome, message string) {
	r := s.proxy.Status.Request
	if outcome != r.Outcome {
		r.Time = metav1.NewTime(s.Now)
	}
	r.Outcome, r.Message = outcome, bounded.Text(message, requests.MaxMessage)
}

// answerOverdue answers a request that waits too long.
func (s *scope) answerOverdue() {
	answer, wake := known().Overdue(s.proxy.Status.Request, s.Now, func(req request.Request) request.Timeout {
		switch req.Action {
		case v1alpha1.RequestCheckIntegrity, v1alpha1.RequestReinstate:
			return request.Timeout{Within: checkTimeout, Answer: true}
		default:
			return request.Timeout{Within: requestTimeout, WaitsFor: ": the weights could not be given to the router"}
		}
	})
	s.result.WakeAt(s.Now, wake)
	if answer != nil {
		s.answer(answer.Outcome, answer.Message)
	}
}

// unfit says why clients cannot be moved to an instance; empty: they can.
func (s *scope) unfit(name string) string {
	instance := pass.Instance(s.proxy, name)
	switch {
	case instance.Quarantined != nil:
		return fmt.Sprintf("instance %s serves wrong bytes (%s): repair its store, and create a CacheRequest of action Reinstate and argument %s", name, instance.Quarantined.Reason, name)
	case !instance.Healthy:
		return fmt.Sprintf("instance %s is not healthy", name)
	}
	return ""
}

// request is what a person asked for, as the decision takes it.
func (s *scope) request() failover.Request {
	req, ok := pass.Accepted(s.proxy)
	switch {
	case !ok:
		return failover.Request{}
	case req.Action == v1alpha1.RequestFailover:
		return failover.Request{Failover: req.Argument}
	case req.Action == v1alpha1.RequestFailback:
		return failover.Request{Failback: true}
	default: // a reinstatement, or nothing that moves weights
		return failover.Request{}
	}
}

// acquitted is when an instance was let in again: on the request
// Reinstate or after its store was rolled back, once it was proven
// sound.
func (s *scope) acquitted(instance string) time.Time {
	if req, ok := pass.Accepted(s.proxy); ok && req.Action == v1alpha1.RequestReinstate && req.Argument == instance && (!pass.Quarantined(s.proxy, instance) || storerollback.Prove(s.proxy, s.Observed, instance, pass.RequestedTime(s.proxy)).Intact) {
		// A status has whole seconds. Rounded down, what was found a moment
		// before would convict again.
		return s.Now.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	}
	var at time.Time
	if st := pass.InstanceStatus(s.proxy, instance); st != nil {
		if st.ReinstatedTime != nil {
			at = st.ReinstatedTime.Time
		}
		if st.Rollback != nil && st.Rollback.VerifiedTime != nil {
			at = later(at, st.Rollback.VerifiedTime.Time)
		}
	}
	return at
}

// requestDone answers the request that the published weights carry out, or that
// came to an end by itself.
func (s *scope) requestDone() {
	req, ok := pass.Accepted(s.proxy)
	if !ok || !s.published {
		return
	}
	outcome, message := v1alpha1.RequestSucceeded, ""
	switch {
	case req.Action == v1alpha1.RequestCheckIntegrity:
		outcome, message = s.integrityAnswer()
	case req.Action == v1alpha1.RequestSnapshot:
		outcome, message = s.snapshotAnswer()
	case req.Action == v1alpha1.RequestReinstate:
		outcome, message = s.acquittalAnswer(req.Argument)
	}
	s.answer(outcome, message)
}

// acquittalAnswer is asked after the decision: who still stands convicted was
// not acquitted.
func (s *scope) acquittalAnswer(instance string) (v1alpha1.RequestOutcome, string) {
	if !pass.Quarantined(s.proxy, instance) {
		return v1alpha1.RequestSucceeded, ""
	}
	p := storerollback.Prove(s.proxy, s.Observed, instance, pass.RequestedTime(s.proxy))
	if p.Wrong != "" {
		return v1alpha1.RequestFailed, "instance " + instance + " still serves wrong bytes: " + p.Wrong
	}
	return v1alpha1.RequestAccepted, "instance " + instance + " stays out until it is proven sound; waiting for " + p.Waits
}

// integrityAnswer waits for a check of each store that began after the request.
func (s *scope) integrityAnswer() (v1alpha1.RequestOutcome, string) {
	var told []string
	for _, i := range s.proxy.Spec.Instances {
		r := s.Found[i.Name].Store
		switch {
		case !pass.Checked(s.proxy, i.Name):
		case r == nil || r.Verdict == nil || !r.Began.After(pass.RequestedTime(s.proxy)):
			return v1alpha1.RequestAccepted, "waiting for the check of the store of " + i.Name
		default:
			told = append(told, fmt.Sprintf("%s: %s", i.Name, r.Verdict.Verdict))
		}
	}
	if len(told) == 0 {
		return v1alpha1.RequestFailed, "no instance has a store that can be checked"
	}
	return v1alpha1.RequestSucceeded, strings.Join(told, ", ")
}

// snapshotAnswer names the snapshots that were made for the request.
func (s *scope) snapshotAnswer() (v1alpha1.RequestOutcome, string) {
	if len(s.taken) == 0 {
		return v1alpha1.RequestFailed, "no instance has a store that is worth to be captured: healthy, not convicted, and of a layout that can be verified"
	}
	return v1alpha1.RequestSucceeded, "made CacheSnapshots " + strings.Join(s.taken, ", ")
}
