// Package jobrun builds the Jobs that work on caches, and reads how they ended.
//
// A Job here runs one pod, once: whether to try again is decided by who reads
// the outcome, since it must be recorded first. The outcome is the exit code and
// the termination message of the main container. Where these cannot be had
// (evicted, out of memory, past its deadline, the pod gone) the outcome says
// so: nobody may take that for a verdict.
package jobrun
