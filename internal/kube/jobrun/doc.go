// Package jobrun builds the Jobs that work on caches, and reads how they ended.
//
// A Job here runs one pod, once: the reader of the outcome decides whether to
// try again, since it must be recorded first. The outcome is the exit code and
// the termination message of the main container. Where these cannot be had
// (evicted, out of memory, past its deadline, the pod gone) the outcome records
// that: it must not count as a verdict.
//
// A client that may create Jobs and pods in a namespace can create some with the names,
// labels and owners of the operator's. So a report counts only from the Job that
// [Start] created, by its uid, or from one that runs the same, which
// [Authenticate] checks, and only from the one pod that the Job controls and
// that runs what the template of the Job describes, which [Observe] checks.
package jobrun
