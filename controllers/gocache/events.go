package gocache

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/controllers/gocache/writer"
	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/kube/event"
)

// events of a pass: what became different in the status, and what the parts did
// because of it.
func (p *progress) events() []event.Event {
	before, after := p.Stored, p.cache
	events := writer.Events(before, after)
	events = append(events, provision.Events(before, after)...)
	events = append(events, growthEvents(before, after)...)
	if latest := after.Status.LatestVerifiedSnapshot; latest != "" && latest != before.Status.LatestVerifiedSnapshot {
		events = append(events, event.Normal("SnapshotOffered", "Publish", "Offered CacheSnapshot %s: consumers get clones of it from now on", latest))
	}
	events = append(events, poolEvents(before, after)...)
	events = append(events, sharedEvents(before, after)...)
	events = append(events, repositoryEvents(before, after)...)
	events = append(events, replacement.Events(before, after)...)
	events = append(events, event.Stalled(before.Status.Conditions, after.Status.Conditions)...)
	return append(events, p.result.Events...)
}

// poolEvents report that the pool is filled, or that the cluster refuses to fill it.
func poolEvents(before, after *v1alpha1.GoCache) []event.Event {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.PoolFilledCondition)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.PoolFilledCondition)
	switch {
	case is == nil || was != nil && was.Reason == is.Reason:
		return nil
	case is.Reason == v1alpha1.ReasonPoolFilled:
		return []event.Event{event.Normal(v1alpha1.ReasonPoolFilled, "Pool", "%s", is.Message)}
	case is.Reason == v1alpha1.ReasonPoolRefused:
		return []event.Event{event.Warning(v1alpha1.ReasonPoolRefused, "Pool", "%s", is.Message)}
	default:
		return nil
	}
}

// growthEvents report that the PVC cannot grow.
func growthEvents(before, after *v1alpha1.GoCache) []event.Event {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.StorageSufficientCondition)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.StorageSufficientCondition)
	if is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	switch is.Reason {
	case v1alpha1.ReasonGrowthRefused, v1alpha1.ReasonAtLimit, v1alpha1.ReasonOutOfInodes:
		return []event.Event{event.Warning(is.Reason, "Grow", "%s", is.Message)}
	default:
		return nil
	}
}

// repositoryEvents report which repositories cannot be read any more, or can again.
func repositoryEvents(before, after *v1alpha1.GoCache) []event.Event {
	messages := map[string]string{}
	for _, r := range before.Status.WarmUp.Revisions {
		messages[r.URL+" "+r.Ref] = r.Message
	}
	var events []event.Event
	for _, r := range after.Status.WarmUp.Revisions {
		switch was := messages[r.URL+" "+r.Ref]; {
		case r.Message != "" && was == "":
			events = append(events, event.Warning("SourceUnreadable", "WarmUp", "The %s", unread(r)))
		case r.Message == "" && was != "":
			events = append(events, event.Normal("SourceReadable", "WarmUp", "The repository %s is read again, at commit %s", redact.URL(r.URL), short(r.Commit)))
		}
	}
	return events
}
