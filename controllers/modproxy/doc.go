// Package modproxy conducts a ModProxy: its instances, the router in front of
// them, and the weights.
//
// It knows the instances' pods and stores, what the probes said, and what the
// router's replicas do. It does not know how weights are chosen
// (internal/plan/failover) nor what a router is made of (internal/kube/route).
//
// Start at Reconcile. Probes run beside it (internal/prober): they wake a pass
// only when an outcome changes or a threshold is reached, so a healthy proxy
// costs the API server nothing.
package modproxy
