package gocache

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/unimplemented"
)

// NotImplemented are the fields that this release does not act on.
var NotImplemented = []unimplemented.Field[*v1alpha1.GoCache]{
	{Path: "spec.storage.growth", Set: func(c *v1alpha1.GoCache) bool { return c.Spec.Storage.Growth != nil }},
	{Path: "spec.storage.size (lowered)", Set: func(c *v1alpha1.GoCache) bool {
		applied := c.Status.Storage.AppliedSize
		return applied != nil && c.Spec.Storage.Size.Cmp(*applied) < 0
	}},
	{Path: "spec.storage.storageClassName (changed)", Set: func(c *v1alpha1.GoCache) bool {
		class, applied := c.Spec.Storage.StorageClassName, c.Status.Storage.AppliedClass
		return class != nil && applied != "" && *class != applied
	}},
	{Path: "spec.warmUp.sources[].git", Set: func(c *v1alpha1.GoCache) bool {
		if c.Spec.WarmUp == nil {
			return false
		}
		for _, s := range c.Spec.WarmUp.Sources {
			if s.Git != nil {
				return true
			}
		}
		return false
	}},
	{Path: "spec.integrity", Set: func(c *v1alpha1.GoCache) bool { return c.Spec.Integrity != nil }},
	{Path: "spec.cleanup", Set: func(c *v1alpha1.GoCache) bool { return c.Spec.Cleanup != nil }},
	{Path: "spec.restore", Set: func(c *v1alpha1.GoCache) bool { return c.Spec.Restore != nil }},
}
