// Package growth decides when a claim is expanded before it is full.
//
// It grows by a step, up to a limit, when a run found the file system used to a
// percentage. One measurement makes it grow once: it is of the capacity that
// the claim had then, and says nothing of a larger one. While an expansion is
// under way none other is asked for. One that the API server refused is asked
// for again after a long pause. A claim never shrinks.
package growth
