package modproxy

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// consistencyEvents tell when instances came to contradict each other, and
// agreed again.
func consistencyEvents(before, after []metav1.Condition) []event.Event {
	was := meta.IsStatusConditionFalse(before, v1alpha1.ConsistentCondition)
	is := meta.FindStatusCondition(after, v1alpha1.ConsistentCondition)
	switch {
	case is == nil:
		return nil
	case is.Status == metav1.ConditionFalse && !was:
		return []event.Event{event.Warning(is.Reason, "Compare", "%s", is.Message)}
	case is.Status == metav1.ConditionTrue && was:
		return []event.Event{event.Normal("InstancesAgree", "Compare", "The instances served the same bytes again")}
	}
	return nil
}
