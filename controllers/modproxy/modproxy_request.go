package modproxy

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/request"
)

// maxRequest is how much of a request a status echoes, in bytes.
const maxRequest = 512

// takeRequest takes up the request annotation. What it asks for is accepted
// until the weights were published, however often that is tried.
func (s *scope) takeRequest() {
	text, ok := s.proxy.Annotations[v1alpha1.RequestAnnotation]
	text = bounded.Text(text, maxRequest)
	last := s.proxy.Status.LastHandledRequest
	if !ok || last != nil && last.Request == text {
		return
	}
	status := &v1alpha1.RequestStatus{Request: text, Outcome: v1alpha1.RequestAccepted, Time: metav1.NewTime(s.now)}
	req, err := request.Parse(text)
	if err == nil {
		err = s.admit(req)
	}
	if err != nil {
		status.Outcome, status.Message = v1alpha1.RequestRefused, bounded.Text(err.Error(), 1024)
	}
	s.proxy.Status.LastHandledRequest = status
}

// admit says what is wrong with a request.
func (s *scope) admit(req request.Request) error {
	known := false
	for _, i := range s.proxy.Spec.Instances {
		known = known || i.Name == req.Argument
	}
	switch {
	case req.Action != request.Failover && req.Action != request.Failback:
		return fmt.Errorf("this release does not know the action %s for a ModProxy: it knows failover=INSTANCE, failback and failback=INSTANCE", req.Action)
	case req.Action == request.Failback && req.Argument == "":
		return nil
	case !known:
		return fmt.Errorf("there is no instance %q", req.Argument)
	case req.Action == request.Failover:
		return s.fit(req.Argument)
	}
	return nil
}

// fit says why clients cannot be moved to an instance.
func (s *scope) fit(name string) error {
	instance := find(s.proxy, name)
	switch {
	case instance.Convicted != nil:
		return fmt.Errorf("instance %s serves wrong bytes (%s): mend its store, and let it in again with failback=%s", name, instance.Convicted.Reason, name)
	case !instance.Healthy:
		return fmt.Errorf("instance %s is not healthy", name)
	}
	return nil
}

// accepted is the request that waits to be carried out.
func (s *scope) accepted() (request.Request, bool) {
	last := s.proxy.Status.LastHandledRequest
	if last == nil || last.Outcome != v1alpha1.RequestAccepted {
		return request.Request{}, false
	}
	req, err := request.Parse(last.Request)
	return req, err == nil
}

// request is what a person asked for, as the decision takes it.
func (s *scope) request() failover.Request {
	req, ok := s.accepted()
	switch {
	case !ok:
		return failover.Request{}
	case req.Action == request.Failover:
		return failover.Request{Failover: req.Argument}
	case req.Argument == "":
		return failover.Request{Failback: true}
	default: // an acquittal
		return failover.Request{}
	}
}

// acquitted is when a person let an instance in again: failback=INSTANCE.
func (s *scope) acquitted(instance string) time.Time {
	if req, ok := s.accepted(); ok && req.Action == request.Failback && req.Argument == instance {
		// A status has whole seconds. Rounded down, what was found a moment
		// before would convict again.
		return s.proxy.Status.LastHandledRequest.Time.Add(time.Second - time.Nanosecond).Truncate(time.Second)
	}
	if st := s.instanceStatus(instance); st != nil && st.AcquittedTime != nil {
		return st.AcquittedTime.Time
	}
	return time.Time{}
}

// requestDone answers the request that the published weights carry out.
func (s *scope) requestDone() {
	if _, ok := s.accepted(); ok {
		s.proxy.Status.LastHandledRequest.Outcome = v1alpha1.RequestSucceeded
	}
}
