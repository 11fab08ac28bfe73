// Package modproxy is the controller of ModProxies: their instances, the router
// in front of them, and the weights.
//
// A pass observes (where the instances are, what the probes found, which
// snapshots there are), makes the instances and the router, decides on the
// weights and publishes them, reads back what every replica of the router does,
// and then removes what the spec no longer names. Snapshots of the stores and
// their rollback are the package storerollback; what the parts share is in pass.
// How weights are chosen is decided by internal/plan/failover; what a router
// consists of, and of which type it is, is a matter of internal/kube/route.
//
// Start at Reconcile. Probes run beside it (internal/prober): they wake a pass
// only when an outcome changes or a threshold is reached, so a healthy proxy
// costs the API server nothing.
package modproxy
