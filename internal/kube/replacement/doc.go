// Package swaprun carries out the steps of a swap of volumes on the cluster: it
// reads what internal/plan/swap decides on, past all caches, and does what was
// decided.
//
// A controller keeps the intent in its status and writes it before each act
// that depends on it:
//
//	out, err := run.Advance(ctx, complete)
//	switch out.Decision.Step { BookCheck, NoteOld, GiveUp, Finish, Abandon: change the status }
//
// The act of one step is at most a few writes, each safe to repeat.
package replacement
