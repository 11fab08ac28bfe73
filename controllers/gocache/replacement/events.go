package replacement

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// Events are those of a volume that is being replaced, or was.
func Events(before, after *v1alpha1.GoCache) []event.Event {
	was, is, last := before.Status.VolumeReplacement, after.Status.VolumeReplacement, after.Status.LastVolumeReplacement
	var events []event.Event
	switch {
	case is != nil && was == nil:
		events = append(events, event.Normal("VolumeReplacementStarted", "Replace", "Started to replace the volume of PVC %s (%s) with the content of CacheSnapshot %s", after.Name, is.Reason, is.Snapshot))
	case is != nil && len(is.Consumers) > 0 && len(was.Consumers) == 0:
		events = append(events, event.Warning(v1alpha1.ReasonWaitingForConsumers, "Replace", "The new volume of PVC %s is verified; the replacement %s", after.Name, is.Message))
	case is == nil && was != nil && last != nil && last.Failure != "":
		events = append(events, event.Warning(v1alpha1.ReasonVolumeReplacementFailed, "Replace", "The volume of PVC %s was not replaced (%s): %s", after.Name, last.Reason, last.Failure))
	case is == nil && was != nil && last != nil:
		events = append(events, event.Normal("VolumeReplaced", "Replace", "Replaced the volume of PVC %s (%s) with the content of CacheSnapshot %s in %s", after.Name, last.Reason, last.Snapshot, last.CompletionTime.Sub(last.StartTime.Time)))
	}
	return events
}
