package request

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// Kind is what a kind of object does with requests.
type Kind struct {
	// Name of the kind.
	Name string
	// Supports are the supported actions.
	Supports []v1alpha1.RequestAction
	// Urgent actions go before all others, and before one that was accepted: that
	// one waits again. Only actions that may be begun again may be put off so.
	Urgent []v1alpha1.RequestAction
}

// Next is the request to accept or refuse now; nil: none, or the object still
// works on current. Open: the CacheRequest of current exists and has no final
// outcome. Begun: what it requests is being done, and that ends it.
func (k Kind) Next(waiting []*v1alpha1.CacheRequest, current *v1alpha1.RequestStatus, open, begun bool) (next *v1alpha1.CacheRequest, free bool) {
	waiting = slices.DeleteFunc(slices.Clone(waiting), func(r *v1alpha1.CacheRequest) bool {
		return current != nil && string(r.UID) == current.UID
	})
	urgent := slices.IndexFunc(waiting, func(r *v1alpha1.CacheRequest) bool { return slices.Contains(k.Urgent, r.Spec.Action) })
	switch {
	case current == nil:
	case current.Outcome != v1alpha1.RequestAccepted && open:
		return nil, false // until the outcome is copied
	case current.Outcome == v1alpha1.RequestAccepted && open && (urgent < 0 || slices.Contains(k.Urgent, current.Action)):
		return nil, false
	case current.Outcome == v1alpha1.RequestAccepted && begun:
		return nil, false // it was withdrawn too late
	}
	switch {
	case urgent >= 0:
		return waiting[urgent], true
	case len(waiting) > 0:
		return waiting[0], true
	}
	return nil, true
}

// Accept accepts a request. Refuses is why a supported request is not accepted;
// empty: it is.
func (k Kind) Accept(req Request, now time.Time, refuses func(Request) string) *v1alpha1.RequestStatus {
	status := &v1alpha1.RequestStatus{
		Name: req.Name, UID: req.UID, Action: req.Action, Argument: req.Argument,
		Outcome: v1alpha1.RequestAccepted, Time: metav1.NewTime(now),
	}
	why := ""
	if slices.Contains(k.Supports, req.Action) {
		why = refuses(req)
	} else {
		why = fmt.Sprintf("this release does not support the action %s for a %s: it supports %s", req.Action, k.Name, k.known())
	}
	if why != "" {
		status.Outcome, status.Message = v1alpha1.RequestRefused, why
	}
	return status
}

// Timeout is how long a request may wait.
type Timeout struct {
	// Within is the time from its acceptance.
	Within time.Duration
	// Begun: what it requests is being done, and that gives the answer.
	Begun bool
	// Answer: an answer is due within the time. Otherwise only the beginning is.
	Answer bool
	// WaitsFor is what it waited for; may be empty.
	WaitsFor string
}

// Answer is the outcome of a request for the status.
type Answer struct {
	// Outcome of it, and a message for the user.
	Outcome v1alpha1.RequestOutcome
	Message string
}

// Overdue answers an accepted request that was not begun, or not answered, in
// time, so that it does not delay later ones for ever; nil: not yet, and wake
// is when to ask again, if it is not zero.
func (k Kind) Overdue(current *v1alpha1.RequestStatus, now time.Time, timeout func(Request) Timeout) (answer *Answer, wake time.Time) {
	req, ok := Accepted(current)
	if !ok {
		return nil, time.Time{}
	}
	if !slices.Contains(k.Supports, req.Action) {
		return &Answer{v1alpha1.RequestRefused, "this release does not support the request: it supports " + k.known()}, time.Time{}
	}
	p := timeout(req)
	end := current.Time.Add(p.Within)
	out := &Answer{Outcome: v1alpha1.RequestFailed}
	switch {
	case p.Begun:
		return nil, time.Time{}
	case end.After(now):
		return nil, end
	case !p.Answer:
		out.Message = fmt.Sprintf("it could not be begun within %s%s; create another request when the cause is gone", p.Within, p.WaitsFor)
	case current.Message == "":
		out.Message = fmt.Sprintf("no result within %s%s", p.Within, p.WaitsFor)
	default:
		out.Message = fmt.Sprintf("%s; no more came of it within %s%s", current.Message, p.Within, p.WaitsFor)
	}
	return out, time.Time{}
}

// Accepted is the request that was accepted and waits for its answer.
func Accepted(current *v1alpha1.RequestStatus) (Request, bool) {
	if current == nil || current.Outcome != v1alpha1.RequestAccepted {
		return Request{}, false
	}
	return Request{Name: current.Name, UID: current.UID, Action: current.Action, Argument: current.Argument}, true
}

// Standing is the accepted request once it is in the status that was read,
// before: acted on earlier, a crash in between would do it twice.
func Standing(before, current *v1alpha1.RequestStatus) (Request, bool) {
	req, ok := Accepted(current)
	return req, ok && before != nil && before.UID == current.UID
}

// known lists all actions.
func (k Kind) known() string {
	var all []string
	for _, a := range k.Supports {
		all = append(all, string(a))
	}
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
