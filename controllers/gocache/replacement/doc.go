// Package replacement replaces the volume under a GoCache's PVC: for a restore,
// a rollback, or a migration to another class or size.
//
// It decides what asks for a replacement, from which snapshot, and what has to
// end before; the steps themselves are carried out by internal/kube/replacement
// and decided by internal/plan/replacement. A replacement is an intent in the status:
// it is acted on only once it is stored, and it is continued by any later
// process. Start at Reconcile.
package replacement
