// Package pool decides what becomes of the volumes that a GoCache keeps ready for
// the PVCs of consumers.
//
// A member of the pool is a PVC of the operator, cloned from the snapshot that
// consumers get now, and read once by a check before it counts as ready. Each has a
// slot, and the slot is its name, so that there are never more than the pool may
// have. What a member goes through is recomputed at each pass from what exists and
// from what the status records of it:
//
//	free slot            Create, one after the other
//	created              StartCheck, then wait until it ends: the volume is read
//	checked              Accept: its check is recorded as Intact; or Fail
//	recorded             Clear the Job and its pod, so that another pod can mount it
//	ready                a consumer's PVC can take the volume
//	taken                Discard the member, once that PVC has its volume
//
// A member is discarded, at any of these points, if a consumer would get other
// content now, if it does not fit the spec any more, if it is too old, if the
// operator has no record that it created it, if another client took its marks, or if
// another pod has mounted it. A slot is free again when its PVC and its Job are gone.
// What fails before it is ready is made again after a pause.
package pool
