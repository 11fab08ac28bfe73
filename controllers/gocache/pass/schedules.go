package pass

import (
	"errors"
	"fmt"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
)

// Schedules are those of the spec, as far as they could be parsed: a schedule
// that could not be parsed is nil, hence never due, and hinders nothing else.
type Schedules struct {
	WarmUp, Snapshots, Integrity, Cleanup *schedule.Plan
	// Invalid names each field that could not be parsed.
	Invalid error
}

// ParseSchedules parses all schedules of a GoCache.
func ParseSchedules(cache *v1alpha1.GoCache) Schedules {
	var all Schedules
	parse := func(field string, s v1alpha1.Schedule, salt string) *schedule.Plan {
		plan, err := schedule.Parse(s, string(cache.UID)+salt)
		if err != nil {
			all.Invalid = errors.Join(all.Invalid, fmt.Errorf("spec.%s.%w", field, err))
		}
		return plan
	}
	spec := cache.Spec
	if spec.WarmUp != nil {
		all.WarmUp = parse("warmUp", spec.WarmUp.Schedule, "")
	}
	if spec.Integrity != nil {
		all.Integrity = parse("integrity", spec.Integrity.Schedule, "/integrity")
	}
	if spec.Cleanup != nil {
		all.Cleanup = parse("cleanup", spec.Cleanup.Schedule, "/cleanup")
	}
	if spec.Snapshots != nil {
		all.Snapshots = parse("snapshots", spec.Snapshots.Schedule, "/snapshots")
	}
	return all
}
