// Package swap decides the next step in replacing the volume of a claim under
// the claim's stable name: a rollback, a migration to another class or size, a
// seed.
//
// A claim cannot change its volume, so the claim itself is replaced. There are
// the live claim C with the old volume, the claim C-next with the new one, and
// at the end C-previous with the old one:
//
//	prepare   make C-next with the new content, and an integrity Job on it, its
//	          first consumer. Only a good verdict leads on; it is booked into
//	          the intent together with the names of both volumes.
//	secure    the owner bears a finalizer; both volumes are set to Retain, and
//	          what their policy was is remembered on the volumes themselves.
//	wait      until nobody uses C: no writer, no capture, no pod that names it.
//	switch    remove C-next and reserve its volume for C; remove C; make C on
//	          that volume. Consumers that are to be evicted are evicted after C
//	          is marked as deleted: from then on no pod that names it is started,
//	          so those that their controllers make again do not hold it again.
//	settle    give the new volume its policy back; reserve the old one for
//	          C-previous, or let its policy decide about it; end.
//	undo      of what was begun: a bad verdict, a volume that somebody deleted,
//	          an owner that goes. Once C is on its way out the way back is as
//	          long as the way on, and it is gone to its end; if the new volume
//	          is lost then, C is made on the old one.
//
// The intent is a status: each pass acts only on what stands in it, and derives
// the next step from it and from what exists. So a crash between any two writes
// leaves one of the situations that Next knows. Its invariants:
//
//   - A volume is released only after the one that replaces it was verified.
//   - No volume is ever without a claimRef: one that is free is taken by any
//     pending claim of its class. A volume is reserved for a claim by name.
//   - Nothing of C is touched before the intent, with both volumes, is written,
//     and the intent is removed only after everything is in its final state.
package replacement
