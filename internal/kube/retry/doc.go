// Package retry decides when an object is reconciled again after an error.
//
// The parts of a controller have their turns independently of each other, so a pass that
// failed in one of them may have something due in another: a quota that refuses a PVC must
// not delay the next step of a failback. The pauses between the passes of an object grow as
// usual, from 5 ms, but none is longer than what was due without the error, or a minute.
package retry
