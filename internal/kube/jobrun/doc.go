// Package jobrun builds the Jobs that work on caches, and reads how they ended.
//
// A Job here runs one pod, once: the reader of the outcome decides whether to
// try again, since it must be recorded first. The outcome is the exit code and
// the termination message of the main container. Where these cannot be had
// (evicted, out of memory, past its deadline, the pod gone) the outcome records
// that: it must not count as a verdict.
package jobrun
