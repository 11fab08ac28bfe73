package request

import (
	"fmt"
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// DefaultTTL is how long a finished request is kept without spec.ttlAfterFinished.
const DefaultTTL = 24 * time.Hour

// Target is the object that a request is for.
type Target struct {
	// UID of it; empty: it does not exist.
	UID string
	// Suspended: spec.suspend is set.
	Suspended bool
	// Request is its status.request.
	Request *v1alpha1.RequestStatus
	// Answer is what the object has found out since, and answers the request, although
	// it was not done for it; nil: nothing.
	Answer *Answer
}

// Progress of a request that has no final outcome yet.
type Progress struct {
	// Reason is one of those of a CacheRequest's conditions.
	Reason string
	// Outcome so far.
	Outcome v1alpha1.RequestOutcome
	// Message for the user.
	Message string
}

// Final reports whether the outcome does not change any more.
func (p Progress) Final() bool {
	return p.Outcome != v1alpha1.RequestWaiting && p.Outcome != v1alpha1.RequestAccepted
}

// Follow is the progress of a request, by its target as it is now.
func Follow(r *v1alpha1.CacheRequest, target Target) Progress {
	ref := r.Spec.TargetRef
	name := ref.Kind + " " + ref.Name
	failed := func(reason, format string, args ...any) Progress {
		return Progress{Reason: reason, Outcome: v1alpha1.RequestFailed, Message: fmt.Sprintf(format, args...)}
	}
	switch seen := r.Status.TargetUID; {
	case target.UID == "" && seen == "":
		return failed(v1alpha1.ReasonTargetNotFound, "%s does not exist in namespace %s", name, r.Namespace)
	case target.UID == "":
		return failed(v1alpha1.ReasonTargetNotFound, "%s was deleted before it finished the request", name)
	case seen != "" && seen != target.UID:
		return failed(v1alpha1.ReasonTargetNotFound, "%s was deleted and created again: a request is for one object", name)
	}
	current := target.Request
	switch {
	case current != nil && current.UID == string(r.UID) && (current.Outcome != v1alpha1.RequestAccepted || target.Answer == nil):
		return Progress{Reason: reasons[current.Outcome], Outcome: current.Outcome, Message: current.Message}
	case target.Answer != nil:
		return Progress{Reason: reasons[target.Answer.Outcome], Outcome: target.Answer.Outcome, Message: target.Answer.Message}
	case target.Suspended:
		return Progress{Reason: v1alpha1.ReasonSuspended, Outcome: v1alpha1.RequestWaiting, Message: fmt.Sprintf("waits until %s is not suspended any more", name)}
	case current != nil:
		return Progress{Reason: v1alpha1.ReasonRequestWaiting, Outcome: v1alpha1.RequestWaiting, Message: fmt.Sprintf("waits for CacheRequest %s (%s), which %s works on", current.Name, current.Action, name)}
	}
	return Progress{Reason: v1alpha1.ReasonRequestWaiting, Outcome: v1alpha1.RequestWaiting, Message: fmt.Sprintf("waits for %s to accept it", name)}
}

var reasons = map[v1alpha1.RequestOutcome]string{
	v1alpha1.RequestAccepted:  v1alpha1.ReasonRequestAccepted,
	v1alpha1.RequestSucceeded: v1alpha1.ReasonRequestSucceeded,
	v1alpha1.RequestFailed:    v1alpha1.ReasonRequestFailed,
	v1alpha1.RequestRefused:   v1alpha1.ReasonRequestRefused,
}

// Expires is when a finished request is deleted.
func Expires(r *v1alpha1.CacheRequest) time.Time {
	ttl := DefaultTTL
	if r.Spec.TTLAfterFinished != nil {
		ttl = r.Spec.TTLAfterFinished.Duration
	}
	if IsReport(r.Spec.Action) {
		ttl = min(ttl, MaxReportTTL)
	}
	return r.Status.CompletionTime.Add(ttl)
}
