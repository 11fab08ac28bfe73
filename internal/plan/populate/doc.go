// Package populate decides the next step in giving a PVC the content of a
// verified snapshot.
//
// The PVC belongs to the user. A volume cannot be filled through it while it is
// pending, so another one, the intermediate PVC ("PVC prime" in the populator
// library), is made from the CSI snapshot; when the intermediate PVC has its
// volume, the volume is handed over to the user's PVC and the intermediate PVC
// is removed.
//
// The state is recomputed at each pass from what exists:
//
//	nothing can begin            SourceElsewhere, NotShared, SourceNotFound, NothingVerified,
//	                             Unverified, NotProven, SnapshotCorrupt, Skipped,
//	                             SnapshotDeleting, SnapshotReplaced, SnapshotNotReady, TooSmall, NoClass,
//	                             ClassNotFound, ClassCannotClone
//	it can, and waits            WaitingForNode, NodeRejected
//	  for a snapshot of another namespace   Sharing, SharingFailing, SharingRefused, SharingObstructed
//	the pool has a volume        Pooled: hand it over
//	it begins                    Ready: make the intermediate PVC
//	the intermediate PVC has no volume yet  Cloning, CloneSilent, CloneFailing
//	  and cannot get one         NodeRejected, NodeChanged, SnapshotWithdrawn
//	the intermediate PVC has its volume     Cloned: hand it over
//	  and not the right one      VolumeLost, VolumeInUse, NotAClone, NodeChanged,
//	                             SnapshotWithdrawn
//	handed over                  Binding
//	the PVC has its volume     Populated, Unpopulated
//	another component must act       Deleting, Lost, Preset, Obstructed, Clearing
//
// A cache may have a pool: volumes that were cloned from the snapshot that is offered,
// and read, before any PVC asked for them (package internal/plan/pool). One that fits is
// handed over in place of a clone, from the PVC that holds it, in the same single write.
// Until the user's PVC is bound to it, the volume is found through the pool.
//
// Which snapshot is cloned is settled when the intermediate PVC is made, and
// stands on it: a newer one in the meantime changes nothing. A snapshot of another
// namespace, of a cache that is shared, is carried over first by a pair of objects
// (package internal/kube/sharing), which is deleted after the intermediate PVC; the
// consent of its cache is looked at until the hand-over. Seven acts change the cluster
// (make the pair, take from the pool, make the intermediate PVC, hand over, free the
// node, drop the intermediate PVC, drop the pair); between any two of them a crash leaves one of the states
// above.
package populate
