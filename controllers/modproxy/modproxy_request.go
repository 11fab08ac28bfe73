package modproxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/request"
)

// maxRequest is how much of a request a status echoes, in bytes.
const maxRequest = 512

// known is what a ModProxy does with requests: a new one takes the place of one
// that waits, since it may be to move clients at once.
func known() request.Kind {
	return request.Kind{Name: v1alpha1.ModProxyKind, Supersedes: true, Supports: []request.Form{
		{Action: request.Failover, Written: []string{"failover=INSTANCE"}},
		{Action: request.Failback, Written: []string{"failback", "failback=INSTANCE"}},
		{Action: request.Integrity}, {Action: request.Snapshot},
	}}
}

// takeRequest takes up the request annotation. What it asks for is accepted
// until the weights were published, however often that is tried.
func (s *scope) takeRequest() {
	text, present := s.proxy.Annotations[v1alpha1.RequestAnnotation]
	answer := known().Take(bounded.Text(text, maxRequest), present, s.proxy.Status.LastHandledRequest, s.refuses)
	if answer == nil {
		return
	}
	s.proxy.Status.LastHandledRequest = &v1alpha1.RequestStatus{
		Request: answer.Text, Outcome: answer.Outcome, Message: bounded.Text(answer.Message, 1024), Time: metav1.NewTime(s.Now),
	}
}

// refuses says what is wrong with a request; empty: nothing.
func (s *scope) refuses(req request.Request) string {
	exists := slices.ContainsFunc(s.proxy.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return i.Name == req.Argument })
	switch {
	case req.Action != request.Failover && req.Argument == "":
		return ""
	case req.Action == request.Integrity || req.Action == request.Snapshot:
		return req.Action + " is for the stores of all instances: it takes no argument"
	case !exists:
		return fmt.Sprintf("there is no instance %q", req.Argument)
	case req.Action == request.Failover:
		return s.unfit(req.Argument)
	}
	return ""
}

// unfit says why clients cannot be moved to an instance; empty: they can.
func (s *scope) unfit(name string) string {
	instance := pass.Instance(s.proxy, name)
	switch {
	case instance.Quarantined != nil:
		return fmt.Sprintf("instance %s serves wrong bytes (%s): mend its store, and let it in again with failback=%s", name, instance.Quarantined.Reason, name)
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
	case req.Action == request.Failover:
		return failover.Request{Failover: req.Argument}
	case req.Action == request.Failback && req.Argument == "":
		return failover.Request{Failback: true}
	default: // an acquittal, or nothing that moves weights
		return failover.Request{}
	}
}

// acquitted is when an instance was let in again: on the request
// failback=INSTANCE or after its store was rolled back, once it was proven
// sound.
func (s *scope) acquitted(instance string) time.Time {
	if req, ok := pass.Accepted(s.proxy); ok && req.Action == request.Failback && req.Argument == instance && (!pass.Quarantined(s.proxy, instance) || storerollback.Prove(s.proxy, s.Observed, instance, pass.RequestedTime(s.proxy)).Intact) {
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
	case req.Action == request.Integrity:
		outcome, message = s.integrityAnswer()
	case req.Action == request.Snapshot:
		outcome, message = s.snapshotAnswer()
	case req.Action == request.Failback && req.Argument != "":
		outcome, message = s.acquittalAnswer(req.Argument)
	}
	last := s.proxy.Status.LastHandledRequest
	last.Outcome, last.Message = outcome, bounded.Text(message, 1024)
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
