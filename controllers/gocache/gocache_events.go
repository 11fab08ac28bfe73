package gocache

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
)

// event is one thing that happened, for the person who must act or may rest.
type event struct {
	kind, reason, action, message string
}

// emit records what this pass did and what became different in the status.
func (r *Reconciler) emit(s *scope) {
	for _, e := range append(s.did(), became(s.before, s.cache)...) {
		r.Events.Eventf(s.cache, nil, e.kind, e.reason, e.action, "%s", e.message)
	}
}

// did are the events of the pass's own acts.
func (s *scope) did() []event {
	var events []event
	if s.done.warming != "" {
		events = append(events, event{corev1.EventTypeNormal, "WarmUpStarted", "WarmUp", "Started a warm-up: " + s.done.warming})
	}
	if s.done.taken != "" {
		events = append(events, event{corev1.EventTypeNormal, "SnapshotRequested", "Snapshot", fmt.Sprintf("Asked for CacheSnapshot %s: %s", s.done.taken, s.done.cause)})
	}
	for _, name := range s.done.dropped {
		events = append(events, event{corev1.EventTypeNormal, "SnapshotDropped", "Retain", "Dropped CacheSnapshot " + name + " by the retention policy"})
	}
	return events
}

// became compares two states of one cache.
func became(before, after *v1alpha1.GoCache) []event {
	var events []event
	if w := after.Status.WarmUp; w.Run != before.Status.WarmUp.Run {
		events = append(events, warmUpEvent(after))
	}
	if latest := after.Status.LatestVerifiedSnapshot; latest != "" && latest != before.Status.LatestVerifiedSnapshot {
		events = append(events, event{corev1.EventTypeNormal, "SnapshotOffered", "Publish", "Consumers get clones of CacheSnapshot " + latest + " from now on"})
	}
	if req := after.Status.LastHandledRequest; req != nil && req.Outcome == v1alpha1.RequestRefused &&
		(before.Status.LastHandledRequest == nil || before.Status.LastHandledRequest.Request != req.Request) {
		events = append(events, event{corev1.EventTypeWarning, "RequestRefused", "Request", req.Message})
	}
	stalled := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.StalledCondition)
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.StalledCondition)
	if stalled != nil && (was == nil || was.Reason != stalled.Reason) {
		events = append(events, event{corev1.EventTypeWarning, stalled.Reason, "Stall", stalled.Message})
	}
	return events
}

func warmUpEvent(c *v1alpha1.GoCache) event {
	w := c.Status.WarmUp
	switch w.Outcome {
	case v1alpha1.RunSucceeded:
		var took time.Duration
		if w.StartTime != nil && w.CompletionTime != nil {
			took = w.CompletionTime.Sub(w.StartTime.Time)
		}
		return event{corev1.EventTypeNormal, "Warmed", "WarmUp",
			fmt.Sprintf("Warmed in %s: %d module versions, %d build entries", took, c.Status.Counts.Modules, c.Status.Counts.BuildEntries)}
	case v1alpha1.RunInconclusive:
		return event{corev1.EventTypeWarning, "WarmUpDisrupted", "WarmUp", "The warm-up was disrupted: " + w.Message}
	default:
		return event{corev1.EventTypeWarning, v1alpha1.ReasonWarmUpFailed, "WarmUp", "The warm-up failed: " + w.Message}
	}
}
