// Package populator fills PVCs that name a GoCache or a CacheSnapshot as
// their dataSourceRef with a clone of verified content.
//
// It reads PersistentVolumeClaims, creates the intermediate PVCs for them, and
// checks whether a CacheSnapshot may be offered. How snapshots are made or
// verified is not its concern: it reads the condition with the result. Content of
// another namespace comes through a GoCache with spec.source: whether its source
// allows it is read in every pass, until the clone is handed over.
//
// The operator cannot write the status of a PVC. It therefore reports by events
// on the PVC, once per change of cause. Everything that decides is read from the
// API server at the start of a pass and not from a cache; caches only wake the
// controller and find the PVCs that wait for an object.
//
// Start at Reconcile, then package populate, which holds the states.
package populator
