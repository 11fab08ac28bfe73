// Package growth decides when a PVC is expanded before it is full.
//
// It grows by a step, up to a limit, when a run found the file system used to a
// percentage. One measurement makes it grow once: it is of the capacity that
// the PVC had then, and does not apply to a larger one. While an expansion is
// under way none other is asked for. One that the API server refused is asked
// for again after a long pause. A PVC never shrinks.
package growth
