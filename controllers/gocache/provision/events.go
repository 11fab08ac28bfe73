package provision

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// Events are those of a PVC that has grown.
func Events(before, after *v1alpha1.GoCache) []event.Event {
	had, has := before.Status.Storage, after.Status.Storage
	if had.VolumeName == has.VolumeName && had.Capacity != nil && has.Capacity != nil && has.Capacity.Cmp(*had.Capacity) > 0 {
		return []event.Event{event.Normal("StorageGrown", "Grow", "PVC %s has grown from %s to %s", has.PersistentVolumeClaimName, had.Capacity, has.Capacity)}
	}
	return nil
}
