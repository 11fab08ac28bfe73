package modproxy

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/naming"
)

// became compares two states of one proxy.
func became(before, after *v1alpha1.ModProxy) []event.Event {
	var events []event.Event
	for _, now := range after.Status.Instances {
		for _, e := range instanceEvents(find(before, now.Name), now) {
			events = append(events, e.About(statefulSetOf(after, now.Name)))
		}
	}
	events = append(events, certificateEvents(before.Status.Conditions, after.Status.Conditions)...)
	events = append(events, consistencyEvents(before.Status.Conditions, after.Status.Conditions)...)
	events = append(events, databaseEvents(before.Status.Conditions, after.Status.Conditions)...)
	events = append(events, flipEvents(before.Status.LastWeightChange, after.Status.LastWeightChange)...)
	events = append(events, event.Refused(before.Status.LastHandledRequest, after.Status.LastHandledRequest)...)
	return append(events, event.Stalled(before.Status.Conditions, after.Status.Conditions)...)
}

// statefulSetOf is what an event about an instance points at.
func statefulSetOf(p *v1alpha1.ModProxy, instance string) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: naming.Child(p.Name, instance)},
	}
}

func find(p *v1alpha1.ModProxy, name string) v1alpha1.InstanceStatus {
	for _, i := range p.Status.Instances {
		if i.Name == name {
			return i
		}
	}
	return v1alpha1.InstanceStatus{Name: name}
}

func instanceEvents(was, is v1alpha1.InstanceStatus) []event.Event {
	var events []event.Event
	switch {
	case is.Quarantined != nil && was.Quarantined == nil:
		events = append(events, event.Warning("InstanceQuarantined", "Quarantine",
			"Instance %s was taken out for wrong bytes (%s): %s", is.Name, is.Quarantined.Reason, is.Quarantined.Message))
	case is.Quarantined == nil && was.Quarantined != nil:
		events = append(events, event.Normal("InstanceReinstated", "Reinstate", "Instance %s may serve again", is.Name))
	}
	if c := is.StoreCheck; c != nil && c.Withdrawn > 0 && (was.StoreCheck == nil || !was.StoreCheck.CompletionTime.Equal(&c.CompletionTime)) {
		events = append(events, event.Warning("EntriesWithdrawn", "CheckStore", "The check of the store of %s removed what was wrong, to be fetched anew: %s", is.Name, c.Message))
	}
	events = append(events, rollbackEvents(is.Name, was.Rollback, is.Rollback)...)
	if len(is.FailingProbes) > 0 && len(was.FailingProbes) == 0 {
		f := is.FailingProbes[0]
		events = append(events, event.Warning("InstanceUnhealthy", "Probe", "Instance %s failed probe %s: %s", is.Name, f.Kind, f.Message))
	}
	if is.Healthy && !was.Healthy {
		events = append(events, event.Normal("InstanceHealthy", "Probe", "Instance %s passed its probes", is.Name))
	}
	return events
}

// rollbackEvents tell how a store is replaced, and how long each step took.
func rollbackEvents(name string, was, is *v1alpha1.StoreRollbackStatus) []event.Event {
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
		events = append(events, event.Normal("StoreReplaced", "Rollback", "Replaced the store of %s by %s, %s after its conviction", name, from, since(is.ReplacedTime)))
	}
	if is.VerifiedTime != nil && was.VerifiedTime == nil && is.Attempt > 0 {
		events = append(events, event.Normal("RollbackVerified", "Rollback", "Canaries and a check of the whole store proved %s sound, %s after its conviction", name, since(is.VerifiedTime)))
	}
	if is.CompletionTime != nil && was.CompletionTime == nil {
		events = append(events, event.Normal("RollbackCompleted", "Rollback", "Instance %s served with its whole weight again, %s after its conviction", name, since(is.CompletionTime)))
	}
	if is.Failed && !was.Failed {
		events = append(events, event.Warning("RollbackFailed", "Rollback", "The store of %s could not be made sound: %s; mend it by hand and let it in with failback=%s", name, is.Message, name))
	}
	return events
}

func flipEvents(was, is *v1alpha1.WeightChangeStatus) []event.Event {
	switch {
	case is == nil:
		return nil
	case (was == nil || !was.AppliedTime.Equal(is.AppliedTime)) && is.From == is.To:
		return []event.Event{event.Normal("WeightsChanged", "Route", "Clients stay with %q: %s", is.To, is.Reason)}
	case was == nil || !was.AppliedTime.Equal(is.AppliedTime):
		return []event.Event{event.Normal("WeightsChanged", "Route", "Moved clients from %q to %q: %s", is.From, is.To, is.Reason)}
	case was.ConfirmedTime == nil && is.ConfirmedTime != nil:
		return []event.Event{event.Normal("WeightsConfirmed", "Route", "All replicas of the router served from %q", is.To)}
	default:
		return nil
	}
}
