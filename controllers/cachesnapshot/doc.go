// Package cachesnapshot reconciles a CacheSnapshot: it creates a CSI snapshot of
// the source's PVC and verifies it on a clone.
//
// It reads the CacheSnapshot, its source and the objects that it creates for it:
// VolumeSnapshots, clones and Jobs. When snapshots are due and how long they are
// kept is decided in gocache and modproxy; PVCs are filled from them in populator.
//
// Start at Reconcile; the stages are in internal/plan/verification.
package cachesnapshot
