package gocache

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/unimplemented"
)

// NotImplemented are the fields that this release does not act on.
var NotImplemented = []unimplemented.Field[*v1alpha1.GoCache]{
	{Path: "spec.snapshots.verification.trust.firstSeen", Set: verification(func(v v1alpha1.Verification) bool { return v.Trust != nil && v.Trust.FirstSeen })},
}

// verification looks at how the snapshots of a cache are to be proven. Each of
// them would say the same, but whoever declared the cache looks there.
func verification(set func(v1alpha1.Verification) bool) func(*v1alpha1.GoCache) bool {
	return func(c *v1alpha1.GoCache) bool {
		return c.Spec.Snapshots != nil && set(c.Spec.Snapshots.Verification)
	}
}
