// Package csisnapshot creates the CacheSnapshots that a policy requires, keeps
// their ownership in step with it, and deletes those that it no longer keeps.
// It also finds the snapshots of one object among all others.
//
// When one is due and which are kept is decided in internal/plan/snapshot.
package csisnapshot
