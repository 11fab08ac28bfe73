package cacherequest

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/plan/request"
)

// setStatus writes the progress of a request into its status.
func setStatus(q *v1alpha1.CacheRequest, target request.Target, p request.Progress, now time.Time) {
	status := &q.Status
	status.ObservedGeneration = q.Generation
	status.Outcome, status.Message = p.Outcome, bounded.Text(p.Message, requests.MaxMessage)
	if status.TargetUID == "" {
		status.TargetUID = target.UID
	}
	mine := target.Request != nil && target.Request.UID == string(q.UID)
	switch {
	case p.Outcome == v1alpha1.RequestWaiting: // it waits, again if it was put off
		status.StartTime = nil
	case status.StartTime == nil && mine && p.Outcome != v1alpha1.RequestRefused:
		status.StartTime = target.Request.Time.DeepCopy()
	}
	set := conditions.Set{Conditions: &status.Conditions, Generation: q.Generation, Now: now}
	switch {
	case !p.Final():
		set.Progress(p.Reason, "%s", cmp.Or(p.Message, q.Spec.TargetRef.Kind+" "+q.Spec.TargetRef.Name+" works on it"))
		return
	case p.Outcome == v1alpha1.RequestSucceeded:
		set.Ready(p.Reason, "%s", cmp.Or(p.Message, "Done"))
	default:
		set.Stall(p.Reason, "%s", p.Message)
	}
	completed := metav1.NewTime(now)
	status.CompletionTime = &completed
}
