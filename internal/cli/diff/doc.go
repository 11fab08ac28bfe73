// Package diff compares the content of two snapshots of caches by the manifests
// that their writers have left on the volumes.
//
// A manifest is read where it is: by a Job on a clone of each snapshot, which runs
// the agent's diff and whose log has one change a line.
package diff
