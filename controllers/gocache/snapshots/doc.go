// Package snapshots makes the CacheSnapshots of a GoCache that its policy or a
// request asks for, keeps their ownership in step with the policy, and deletes
// those that it no longer keeps.
//
// It does not verify: a CacheSnapshot's own controller does, and its conditions
// are what is read here. Whether a snapshot is due is decided by
// internal/plan/snapshot; start at Reconcile.
package snapshots
