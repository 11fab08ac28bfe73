package cacherequest

import (
	"cmp"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/request"
)

// happened is the event of a request that was finished.
func happened(q *v1alpha1.CacheRequest, p request.Progress) []event.Event {
	what := string(q.Spec.Action) + " of " + q.Spec.TargetRef.Kind + " " + q.Spec.TargetRef.Name
	switch p.Outcome {
	case v1alpha1.RequestSucceeded:
		return []event.Event{event.Normal("RequestSucceeded", "Request", "%s succeeded: %s", what, cmp.Or(p.Message, "done"))}
	case v1alpha1.RequestFailed:
		return []event.Event{event.Warning("RequestFailed", "Request", "%s failed: %s", what, p.Message)}
	case v1alpha1.RequestRefused:
		return []event.Event{event.Warning("RequestRefused", "Request", "%s was refused: %s", what, p.Message)}
	case v1alpha1.RequestWaiting, v1alpha1.RequestAccepted:
	}
	return nil
}
