package gocache

import (
	"fmt"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
)

// Field of the spec.
type Field struct {
	// Path of the field.
	Path string
	// Set says whether a cache makes use of it.
	Set func(*v1alpha1.GoCache) bool
}

// NotImplemented are the fields that this release does not act on.
var NotImplemented = []Field{
	{"spec.storage.growth", func(c *v1alpha1.GoCache) bool { return c.Spec.Storage.Growth != nil }},
	{"spec.storage.size (lowered)", func(c *v1alpha1.GoCache) bool {
		applied := c.Status.Storage.AppliedSize
		return applied != nil && c.Spec.Storage.Size.Cmp(*applied) < 0
	}},
	{"spec.storage.storageClassName (changed)", func(c *v1alpha1.GoCache) bool {
		class, applied := c.Spec.Storage.StorageClassName, c.Status.Storage.AppliedClass
		return class != nil && applied != "" && *class != applied
	}},
	{"spec.warmUp.sources[].git", func(c *v1alpha1.GoCache) bool {
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
	{"spec.integrity", func(c *v1alpha1.GoCache) bool { return c.Spec.Integrity != nil }},
	{"spec.cleanup", func(c *v1alpha1.GoCache) bool { return c.Spec.Cleanup != nil }},
	{"spec.restore", func(c *v1alpha1.GoCache) bool { return c.Spec.Restore != nil }},
}

// notImplemented names what this release does not act on.
func notImplemented(c *v1alpha1.GoCache) error {
	for _, field := range NotImplemented {
		if field.Set(c) {
			return &conditions.StalledError{
				Reason:  v1alpha1.ReasonNotImplemented,
				Message: fmt.Sprintf("%s is not implemented in this release: take it back", field.Path),
			}
		}
	}
	return nil
}
