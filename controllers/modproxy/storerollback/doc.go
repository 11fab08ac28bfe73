// Package storerollback keeps snapshots of the stores of a ModProxy's instances,
// and replaces the store of a quarantined instance by the newest verified one, or
// by an empty store where that can be filled again.
//
// What happens next is decided by internal/plan/rollback (of an instance) and
// internal/plan/replacement (of its volume), and carried out by
// internal/kube/replacement. An intent is in the stored status before it is acted
// on. Whether an instance is intact afterwards is judged by Prove, from what the
// probes and the agent beside the store have found. The pods are not started or
// stopped here: package instances keeps an instance down while its store is being
// replaced. Start at Reconcile.
package storerollback
