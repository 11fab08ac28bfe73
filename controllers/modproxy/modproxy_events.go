package modproxy

import (
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/naming"
)

// became compares two states of one proxy.
func became(before, after *v1alpha1.ModProxy) []event.Event {
	var events []event.Event
	for _, now := range after.Status.Instances {
		for _, e := range instanceEvents(pass.Instance(before, now.Name), now) {
			events = append(events, e.About(statefulSetOf(after, now.Name)))
		}
	}
	events = append(events, certificateEvents(before.Status.Conditions, after.Status.Conditions)...)
	events = append(events, consistencyEvents(before.Status.Conditions, after.Status.Conditions)...)
	events = append(events, databaseEvents(before.Status.Conditions, after.Status.Conditions)...)
	events = append(events, flipEvents(before.Status.LastWeightChange, after.Status.LastWeightChange)...)
	return append(events, event.Stalled(before.Status.Conditions, after.Status.Conditions)...)
}

// statefulSetOf is what an event about an instance points at.
func statefulSetOf(p *v1alpha1.ModProxy, instance string) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: naming.Child(p.Name, instance)},
	}
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
	events = append(events, storerollback.Events(is.Name, was.Rollback, is.Rollback)...)
	if len(is.FailingProbes) > 0 && len(was.FailingProbes) == 0 {
		f := is.FailingProbes[0]
		events = append(events, event.Warning("InstanceUnhealthy", "Probe", "Instance %s failed probe %s: %s", is.Name, f.Kind, f.Message))
	}
	if is.Healthy && !was.Healthy {
		events = append(events, event.Normal("InstanceHealthy", "Probe", "Instance %s passed its probes", is.Name))
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
