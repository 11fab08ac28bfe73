// Package e2e tests the operator on a real cluster, as black-box tests: real
// pods, CSI snapshots, go clients, and a manager that is killed.
//
// There is one file per scenario. They run on one cluster, which TestMain starts and
// removes: first, one after another, those that end the manager, drain the node or
// count what clients of a proxy notice, and then, side by side, those that disturb no
// other. Some have a namespace of their own, and the others share two: one
// with all samples, whose cache takes minutes to warm, and one with a small
// cache, warm in seconds. A test names at its top the one it uses, and restores
// that namespace so that the others, and a second run, find what they need.
//
//	CLUSTER       local (default), kind or current
//	CLUSTER_NAME  name of the local or kind cluster (default gocache-e2e)
//	CLAIMS        how many clones TestManyClaims asks for at once (default 18)
//	E2E_KEEP=1    leave the cluster as it is at the end, to look at it
//
// Every wait is bounded, and its error contains the last observation. A test that fails shows the
// objects, the events and the end of the manager's log.
package e2e
