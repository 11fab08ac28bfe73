// Package replacement carries out the steps of a volume replacement on the
// cluster. It reads what internal/plan/replacement decides on, uncached, and does
// what was decided.
//
// A controller keeps the intent in its status and writes it before each act that
// depends on it:
//
//	out, err := run.Advance(ctx, complete)
//	switch out.Decision.Step { RecordCheck, RecordOld, GiveUp, Finish, Abandon: change the status }
//
// The act of one step is at most a few writes, each safe to repeat.
package replacement
