// Package gocache reconciles a GoCache. Its parts do the work, each in a package
// below this one: provision, writer, replacement and snapshots. This package
// observes, lets the parts act in order, and reports.
//
// It reads which CacheSnapshots exist and what their controllers report of them;
// how a snapshot is verified is in cachesnapshot, and how a PVC gets a clone of
// it in populator.
//
// Start at reconcileParts, which lists the parts in their order with the reason
// for each place. What one part must see of another is handed on there. All parts
// have their turn in each pass, errors are joined, and the earliest wake-up wins.
package gocache
