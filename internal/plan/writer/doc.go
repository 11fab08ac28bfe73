// Package writer decides which of several actions that are due gets the one
// writer of a cache PVC next.
//
// Urgent ones go first, then each by its rank; but an action that has run since
// another became due gives way to that one. So each waits at most for one run
// of each of the others (of a check: an urgent and a plain one), however often
// those become due again.
//
// When each action is due is decided in packages warmup, livecheck and cleanup.
package writer
