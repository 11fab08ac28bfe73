// Package modproxy reconciles a ModProxy: its instances, the router in front of
// them, and the weights by which clients are spread over them. Its parts instances
// and storerollback are packages below this one; failover and router are files of
// it. This package observes, lets the parts act in order, and reports.
//
// It reads what the background probes (internal/prober) have found, and what the
// replicas of the router report. How weights are chosen is in
// internal/plan/failover, and what a router consists of in internal/kube/route.
//
// Start at reconcileParts, which lists the parts in their order with the reason
// for each place. All parts have their turn in each pass, errors are joined, and
// the earliest wake-up wins. The probes wake a pass only when an outcome changes
// or a threshold is reached, so a healthy proxy costs the API server nothing.
package modproxy
