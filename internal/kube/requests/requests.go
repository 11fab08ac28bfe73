package requests

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/buildreport"
	"gocache.dev/operator/internal/plan/request"
)

// MaxMessage is the longest message of a request, in bytes.
const MaxMessage = 1024

// Queue are the requests for one object.
type Queue struct {
	// Client reads from caches.
	Client client.Reader
	// Live reads past the caches.
	Live client.Reader
	// Kind is what the object does with requests.
	Kind request.Kind
	// Target is the object.
	Target client.Object
	// Answered reports whether a request is answered by what the object has found out
	// already, so that it is not taken up; nil: none is.
	Answered func(*v1alpha1.CacheRequest) bool
}

// Take returns the status.request of the object: current, while the object
// works on it or its outcome is not copied to the CacheRequest yet, or else the
// next one. Refuses is why a request is not accepted; empty: it is. Begun reports
// whether what the current one requests is being done.
func (q Queue) Take(ctx context.Context, current *v1alpha1.RequestStatus, now time.Time, refuses func(request.Request) string, begun func() bool) (*v1alpha1.RequestStatus, error) {
	open := false
	if current != nil {
		own, err := read.Object[v1alpha1.CacheRequest](ctx, q.Live, q.Target.GetNamespace(), current.Name)
		if err != nil {
			return current, err
		}
		open = own != nil && string(own.UID) == current.UID && !request.Finished(own) &&
			(current.Outcome != v1alpha1.RequestAccepted || !q.answered(own))
	}
	waiting, err := q.waiting(ctx)
	if err != nil {
		return current, err
	}
	// What an answer depends on does not change, so that the caches are enough: many
	// that one check has answered cost no reads past them.
	waiting = slices.DeleteFunc(waiting, q.answered)
	for {
		next, free := q.Kind.Next(waiting, current, open, begun())
		if !free {
			return current, nil
		}
		if next == nil {
			return nil, nil
		}
		// The caches may not have seen yet that it was finished: acted on again, it
		// would be done twice.
		own, err := read.Object[v1alpha1.CacheRequest](ctx, q.Live, next.Namespace, next.Name)
		if err != nil {
			return current, err
		}
		if own != nil && own.UID == next.UID && own.DeletionTimestamp.IsZero() && !request.Finished(own) && !q.answered(own) {
			accepted := q.Kind.Accept(request.Of(own), now, refuses)
			accepted.Message = bounded.Text(accepted.Message, MaxMessage)
			return accepted, nil
		}
		waiting = without(waiting, next)
	}
}

func (q Queue) answered(r *v1alpha1.CacheRequest) bool { return q.Answered != nil && q.Answered(r) }

// waiting are the requests that are for the object and not finished, by the
// client's cache.
func (q Queue) waiting(ctx context.Context) ([]*v1alpha1.CacheRequest, error) {
	var all v1alpha1.CacheRequestList
	if err := q.Client.List(ctx, &all, client.InNamespace(q.Target.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the CacheRequests: %w", err)
	}
	target := v1alpha1.RequestTarget{Kind: q.Kind.Name, Name: q.Target.GetName()}
	return request.Waiting(all.Items, target, string(q.Target.GetUID())), nil
}

func without(all []*v1alpha1.CacheRequest, one *v1alpha1.CacheRequest) []*v1alpha1.CacheRequest {
	var rest []*v1alpha1.CacheRequest
	for _, r := range all {
		if r != one {
			rest = append(rest, r)
		}
	}
	return rest
}

// ByRequest maps a CacheRequest to the object of a kind that it is for. A report of a
// build needs no pass of that object: consumers decide how many there are.
func ByRequest(kind string) func(context.Context, client.Object) []reconcile.Request {
	return func(_ context.Context, o client.Object) []reconcile.Request {
		r, ok := o.(*v1alpha1.CacheRequest)
		if !ok || r.Spec.TargetRef.Kind != kind || buildreport.Is(r) {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: r.Namespace, Name: r.Spec.TargetRef.Name}}}
	}
}
