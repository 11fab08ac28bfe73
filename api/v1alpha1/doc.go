// Package v1alpha1 is the API of the operator: the kinds GoCache,
// CacheSnapshot, ModProxy and CacheRequest of group cache.gocache.dev.
//
// The types name things and nothing else. Every list, map and string is
// bounded, every rule that spans fields is a CEL rule in the schema, and every
// condition type and reason that a controller may set stands in
// condition_types.go with what it means to a person.
//
// +kubebuilder:object:generate=true
// +groupName=cache.gocache.dev
package v1alpha1
