package request

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gocache.dev/operator/api/v1alpha1"
)

// Request is one request.
type Request struct {
	// Name and UID of the CacheRequest.
	Name, UID string
	// Action that is requested, and its argument.
	Action   v1alpha1.RequestAction
	Argument string
}

// Of is what a CacheRequest requests.
func Of(r *v1alpha1.CacheRequest) Request {
	return Request{Name: r.Name, UID: string(r.UID), Action: r.Spec.Action, Argument: r.Spec.Argument}
}

// Cause is the text by which a run, and its record in a status, refer to the
// request: at most 128 bytes, and distinct for each request.
func (r Request) Cause() string {
	return fmt.Sprintf("%s %s/%s", r.Action, r.Name, r.UID)
}

// CausedBy reports whether a cause is a request for an action.
func CausedBy(cause string, action v1alpha1.RequestAction) bool {
	return strings.HasPrefix(cause, string(action)+" ")
}

// Finished reports whether a request has its final outcome.
func Finished(r *v1alpha1.CacheRequest) bool { return r.Status.CompletionTime != nil }

// Waiting are the requests for an object that are neither finished nor being
// deleted, in the order of their creation. A request that was first seen for
// another object of the same name is not for this one.
func Waiting(all []v1alpha1.CacheRequest, target v1alpha1.RequestTarget, uid string) []*v1alpha1.CacheRequest {
	var waiting []*v1alpha1.CacheRequest
	for i := range all {
		r := &all[i]
		if r.Spec.TargetRef == target && !Finished(r) && r.DeletionTimestamp.IsZero() && (r.Status.TargetUID == "" || r.Status.TargetUID == uid) {
			waiting = append(waiting, r)
		}
	}
	slices.SortFunc(waiting, func(a, b *v1alpha1.CacheRequest) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return waiting
}
