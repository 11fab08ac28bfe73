package gocache

import (
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/unimplemented"
)

// NotImplemented are the fields that this release does not act on.
var NotImplemented = []unimplemented.Field[*v1alpha1.GoCache]{
	{Path: "spec.storage.size (lowered)", Set: func(c *v1alpha1.GoCache) bool {
		applied := c.Status.Storage.AppliedSize
		return applied != nil && c.Spec.Storage.Size.Cmp(*applied) < 0
	}},
	{Path: "spec.storage.storageClassName (changed)", Set: func(c *v1alpha1.GoCache) bool {
		class, applied := c.Spec.Storage.StorageClassName, c.Status.Storage.AppliedClass
		return class != nil && applied != "" && *class != applied
	}},
	{Path: "spec.storage.replacement", Set: func(c *v1alpha1.GoCache) bool {
		r := c.Spec.Storage.Replacement
		return r.Consumers == v1alpha1.ConsumersEvict || r.KeepPrevious != nil && r.KeepPrevious.Duration != keepPrevious
	}},
	{Path: "spec.cleanup", Set: func(c *v1alpha1.GoCache) bool { return c.Spec.Cleanup != nil }},
	{Path: "spec.snapshots.verification.onFindings=Repair", Set: verification(func(v v1alpha1.Verification) bool { return v.OnFindings == v1alpha1.FindingsRepair })},
	{Path: "spec.snapshots.verification.trust.firstSeen", Set: verification(func(v v1alpha1.Verification) bool { return v.Trust != nil && v.Trust.FirstSeen })},
	{Path: "spec.snapshots.verification.offlineBuild", Set: verification(func(v v1alpha1.Verification) bool { return v.OfflineBuild != nil })},
	{Path: "spec.restore", Set: func(c *v1alpha1.GoCache) bool { return c.Spec.Restore != nil }},
}

// keepPrevious is the default of spec.storage.replacement.keepPrevious: what is
// set by nobody is no wish.
const keepPrevious = 168 * time.Hour

// verification looks at how the snapshots of a cache are to be proven. Each of
// them would say the same, but whoever declared the cache looks there.
func verification(set func(v1alpha1.Verification) bool) func(*v1alpha1.GoCache) bool {
	return func(c *v1alpha1.GoCache) bool {
		return c.Spec.Snapshots != nil && set(c.Spec.Snapshots.Verification)
	}
}
