package storerollback

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// Events of the rollback of an instance's store, from what its status was and is:
// each step, and how long it took.
func Events(name string, was, is *v1alpha1.StoreRollbackStatus) []event.Event {
	if is == nil {
		return nil
	}
	if was == nil || !was.QuarantinedTime.Equal(&is.QuarantinedTime) {
		was = &v1alpha1.StoreRollbackStatus{QuarantinedTime: is.QuarantinedTime}
	}
	since := func(at *metav1.Time) string { return at.Sub(is.QuarantinedTime.Time).Round(time.Second).String() }
	from := "an empty store"
	if is.Snapshot != "" {
		from = "CacheSnapshot " + is.Snapshot
	}
	var events []event.Event
	if is.NotBefore != nil && was.NotBefore == nil {
		events = append(events, event.Warning("RollbackPostponed", "Rollback", "The rollback of the store of %s was %s. It stays out until then", name, is.Message))
	}
	if is.Attempt > was.Attempt && !is.Failed {
		events = append(events, event.Normal("RollbackStarted", "Rollback", "Began to replace the store of %s by %s", name, from))
	}
	if is.ReplacedTime != nil && was.ReplacedTime == nil {
		events = append(events, event.Normal("StoreReplaced", "Rollback", "Replaced the store of %s by %s, %s after it was quarantined", name, from, since(is.ReplacedTime)))
	}
	if is.VerifiedTime != nil && was.VerifiedTime == nil && is.Attempt > 0 {
		events = append(events, event.Normal("RollbackVerified", "Rollback", "The reference modules and a check of the whole store proved %s intact, %s after it was quarantined", name, since(is.VerifiedTime)))
	}
	if is.CompletionTime != nil && was.CompletionTime == nil {
		events = append(events, event.Normal("RollbackCompleted", "Rollback", "Instance %s served with its whole weight again, %s after it was quarantined", name, since(is.CompletionTime)))
	}
	if is.Failed && !was.Failed {
		events = append(events, event.Warning("RollbackFailed", "Rollback", "The store of %s could not be replaced by an intact one: %s; repair it manually, then create a CacheRequest of action Reinstate and argument %s", name, is.Message, name))
	}
	return events
}
