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
// Only Book changes the verdict, and a Job is removed only after it was
// booked, so a crash between any two steps loses no verdict and books none
// twice. An attempt that could not tell is made again, a few times, until the
// deadline; what is then still unknown stays unknown.
package verification
