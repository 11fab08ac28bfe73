package modproxy

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/naming"
)

// changes are the events of what differs between two states of one proxy.
func changes(before, after *v1alpha1.ModProxy) []event.Event {
	var events []event.Event
	for _, now := range after.Status.Instances {
		for _, e := range instanceEvents(pass.Instance(before, now.Name), now) {
			events = append(events, e.About(statefulSetOf(after, now.Name)))
		}
	}
	was, is := before.Status, after.Status
	events = append(events, certificateEvents(was.Conditions, is.Conditions)...)
	events = append(events, consistencyEvents(was.Conditions, is.Conditions)...)
	events = append(events, movedEvents(was.MovedVersions, is.MovedVersions)...)
	events = append(events, databaseEvents(was.Conditions, is.Conditions)...)
	events = append(events, weightEvents(was.LastWeightChange, is.LastWeightChange)...)
	return append(events, event.Stalled(was.Conditions, is.Conditions)...)
}

// statefulSetOf is the object that an event about an instance refers to.
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
			"Quarantined instance %s (%s): %s", is.Name, is.Quarantined.Reason, is.Quarantined.Message))
	case is.Quarantined == nil && was.Quarantined != nil:
		events = append(events, event.Normal("InstanceReinstated", "Reinstate", "Instance %s may serve again", is.Name))
	}
	if c := is.StoreCheck; c != nil && c.Withdrawn > 0 && (was.StoreCheck == nil || !was.StoreCheck.CompletionTime.Equal(&c.CompletionTime)) {
		events = append(events, event.Warning("EntriesWithdrawn", "CheckStore", "The check of the store of %s removed corrupt entries, to be fetched again: %s", is.Name, c.Message))
	}
	events = append(events, storerollback.Events(is.Name, was.Rollback, is.Rollback)...)
	if len(is.FailingProbes) > 0 && len(was.FailingProbes) == 0 {
		f := is.FailingProbes[0]
		events = append(events, event.Warning("InstanceUnhealthy", "Probe", "Instance %s failed probe %s: %s", is.Name, f.Kind, f.Message))
	}
	switch {
	case is.StoreFullSince != nil && was.StoreFullSince == nil:
		events = append(events, event.Warning("StoreFull", "Probe", "The store of instance %s is full: what does not fit is fetched again for each client; set storage.maxUsedPercent, or increase storage.size", is.Name))
	case is.StoreFullSince == nil && was.StoreFullSince != nil:
		events = append(events, event.Normal("StoreHasRoom", "Probe", "The store of instance %s has room for what it fetches again", is.Name))
	}
	if is.Healthy && !was.Healthy {
		events = append(events, event.Normal("InstanceHealthy", "Probe", "Instance %s passed its probes", is.Name))
	}
	return events
}

func weightEvents(was, is *v1alpha1.WeightChangeStatus) []event.Event {
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

// certificateEvents report that a Secret was refused, or was accepted again.
func certificateEvents(before, after []metav1.Condition) []event.Event {
	was := meta.FindStatusCondition(before, v1alpha1.CertificateReadyCondition)
	is := meta.FindStatusCondition(after, v1alpha1.CertificateReadyCondition)
	switch {
	case is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason:
		return nil
	case is.Status == metav1.ConditionFalse:
		return []event.Event{event.Warning(is.Reason, "ServeCertificate", "%s", is.Message)}
	case is.Status == metav1.ConditionTrue && was != nil && was.Status == metav1.ConditionFalse:
		return []event.Event{event.Normal("CertificateAccepted", "ServeCertificate", "%s", is.Message)}
	default:
		return nil
	}
}

// consistencyEvents report that instances contradict each other, or agree again.
func consistencyEvents(before, after []metav1.Condition) []event.Event {
	was := meta.IsStatusConditionFalse(before, v1alpha1.ConsistentCondition)
	is := meta.FindStatusCondition(after, v1alpha1.ConsistentCondition)
	switch {
	case is == nil:
		return nil
	case is.Status == metav1.ConditionFalse && !was:
		return []event.Event{event.Warning(is.Reason, "Compare", "%s", is.Message)}
	case is.Status == metav1.ConditionTrue && was:
		return []event.Event{event.Normal("InstancesAgree", "Compare", "The instances served the same content again")}
	}
	return nil
}

// databaseEvents report that the checksum database is out of reach, or was reached
// again. That a single instance fails is an event about the instance.
func databaseEvents(before, after []metav1.Condition) []event.Event {
	was, is := unreachableDatabase(before), unreachableDatabase(after)
	switch {
	case is != nil && was == nil:
		return []event.Event{event.Warning(is.Reason, "Probe", "%s", is.Message)}
	case was != nil && is == nil:
		return []event.Event{event.Normal("ChecksumDatabaseReached", "Probe", "The checksum database was reached through the proxy again")}
	}
	return nil
}

func unreachableDatabase(all []metav1.Condition) *metav1.Condition {
	c := meta.FindStatusCondition(all, v1alpha1.ChecksumDatabaseServedCondition)
	if c == nil || c.Reason != v1alpha1.ReasonChecksumDatabaseUnreachable {
		return nil
	}
	return c
}
