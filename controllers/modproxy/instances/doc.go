// Package instances runs the instances of a ModProxy: of each a PVC with its
// store, a Service whose address stays, and a StatefulSet of one pod, in which
// the server and the agent of the store run side by side.
//
// It does not decide which instance serves. It replaces pods one after the
// other, each while another instance serves, keeps an instance down while its
// store is being replaced, and deletes an instance that the spec no longer names
// when the controller calls RemoveFormer, after the router has stopped using it.
//
// Start at Reconcile.
package instances
