// Package replacement decides the next step in replacing the volume of a
// PersistentVolumeClaim (PVC) under the PVC's stable name: a restore, a rollback,
// or a migration to another class or size.
//
// A PVC cannot change its volume, so the PVC itself is replaced. There are the
// live PVC C with the old volume, the PVC C-next with the new volume, and at the
// end C-previous with the old volume:
//
//	prepare   Create C-next with the new content, and an integrity Job on it, its
//	          first consumer. Only the verdict Intact leads on; it is recorded in
//	          the intent together with the names of both volumes.
//	secure    The owner gets a finalizer. Both volumes are set to Retain; their
//	          policy, and the owner's uid, are recorded on the volumes themselves.
//	wait      Wait until nothing uses C: no writer, no snapshot in progress, no pod
//	          that names it.
//	switch    Delete C-next and reserve its volume for C; delete C; create C on that
//	          volume. Consumers that are to be evicted are evicted after C is marked
//	          as deleted: no pod that names it is started from then on, so pods that
//	          their controllers create again do not hold C.
//	settle    Restore the policy of the new volume; reserve the old volume for
//	          C-previous, or let its policy decide about it; end.
//	undo      Revert what was begun: after a bad verdict, the deletion of a volume,
//	          or the deletion of the owner. Once C is being deleted, the replacement
//	          is completed instead, since the way back is as long; if the new volume
//	          is lost then, C is created on the old volume.
//
// The intent is a status: each pass acts only on what it records, and derives the
// next step from it and from what exists. A crash between any two writes leaves
// one of the situations that Decide handles. The invariants:
//
//   - A volume is released only after its replacement was verified.
//   - No volume is ever without a claimRef: any pending PVC of its class would take
//     it. A volume is reserved for a PVC by name.
//   - A volume that does not belong to a PVC of the owner is never written to. The
//     name of a volume in a PVC is no evidence: it is chosen by the creator of the PVC.
//   - C is not touched before the intent, with both volumes, is written, and the
//     intent is removed only after everything is in its final state.
package replacement
