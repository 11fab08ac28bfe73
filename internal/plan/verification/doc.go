// Package verification decides the next step in the life of a CacheSnapshot.
//
// The stage is recomputed at each pass from what exists:
//
//	Admit     the source is there: remember what it is like
//	Capture   ask for the CSI snapshot
//	AwaitCut  the driver has not cut it yet
//	Check     make the clone and the integrity Job on it
//	AwaitJob  the Job runs
//	Book      the Job ended: write its outcome into the status
//	CleanUp   the outcome is in the status: remove Job, pods and clone
//	Done      nothing is left to do
//
// Corrupt content that may be pruned, if the policy is Repair, lead on from
// Book:
//
//	Mend, AwaitMend, BookMend  prune them on the clone
//	Recapture, AwaitRecut      nobody has the clone mounted: capture it
//	Drop                       the clone has been captured: remove it
//	Check ...                  what was captured again is verified as if it were
//	                           the first, on a clone of itself; once
//	Retire                     it is published: remove the first CSI snapshot
//
// And an offline build test that is asked for follows an Intact verdict:
//
//	Drill, AwaitDrill, BookDrill  build from the clone alone
//
// Only the Book stages change outcomes, and a Job is removed only after it was
// recorded, so a crash between any two steps loses no outcome and records none
// twice. There is one Job at a time on a clone, and its pods are gone before
// the next begins. An attempt that was inconclusive is made again on a fresh
// clone, a few times, until the deadline; what is then still unknown stays
// unknown.
package verification
