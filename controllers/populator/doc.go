// Package populator fills claims that name a GoCache or a CacheSnapshot as
// their dataSourceRef with a clone of verified content.
//
// It knows PersistentVolumeClaims, the prime claims it makes for them, and how
// to tell whether a CacheSnapshot may be offered. It does not know how
// snapshots are made or verified: it reads the condition that says so.
//
// A claim has no status of ours to write, so the claim's owner is told by
// events, once per change of cause. Everything that decides is read from the
// API server at the start of a pass and not from a cache; caches only wake the
// controller and tell which claims wait for an object.
//
// Start at Reconcile, then package populate, which holds the states.
package populator
