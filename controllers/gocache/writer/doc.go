// Package writer runs the one Job that works on a GoCache's PVC: warm-ups,
// integrity checks and cleanups, each an action.
//
// It decides what is due and what has to wait, starts the Job, and records its
// outcome in the status. Which of several due actions is next is decided by
// internal/plan/writer. It never runs two Jobs at once, nor one while a snapshot
// is being created. Start at Reconcile; a new kind of work implements action.
package writer
