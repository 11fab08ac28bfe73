// Package cleanup decides when a cleanup plan is made, and when it is applied.
//
// A plan is made by schedule, on request, again when the bounds change while
// one is open, and after a warm-up when a check had paused the cleanup. It is
// applied once it is approved, or at once when no approval is required. A plan
// that waits for approval is made again by schedule, so it is never older than
// one interval. A step that failed is tried again with growing pauses.
//
// The agent refuses to apply a plan that no longer matches the cache and
// reports the present one, which then has to be approved in turn.
package cleanup
