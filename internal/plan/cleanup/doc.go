// Package cleanup decides when a cache is to be cleaned: when a plan is to be
// made, and when one is to be applied.
//
// A plan is made by schedule, on request, anew when the bounds change while one
// is open, and after a warm-up when a check had paused it. It is applied once it
// is approved, or at once when no approval is required. A plan that waits is made
// anew when the schedule says so: what waits is never older than that. What
// could not be done is tried again with growing pauses.
//
// The agent refuses to apply a plan that is the plan no more and reports the one
// that took its place, which then has to be approved in turn.
package cleanup
