// Package snapshot decides when a snapshot of a cache is created, under which
// name, and which snapshots are kept.
//
// Retention counts verified snapshots only. The newest verified one is never
// dropped, nor a pinned one, one in use, or one that is still on its way to
// its verdict. What was not verified is dropped before anything verified is.
//
// due.go decides when a snapshot is created, retention.go which are kept,
// candidate.go whether one may be used.
package snapshot
