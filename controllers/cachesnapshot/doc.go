// Package cachesnapshot conducts the life of a CacheSnapshot: a CSI snapshot of
// a cache's claim, proven on a clone of itself.
//
// It knows the snapshot, its source and what it made for it: a VolumeSnapshot,
// a clone and an integrity Job. It does not know when snapshots are due or how
// long they are kept (gocache), nor who uses them (populator).
//
// Start at Reconcile; the stages stand in internal/plan/verification.
package cachesnapshot
