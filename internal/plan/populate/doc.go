// Package populate decides the next step in giving a claim the content of a
// verified snapshot.
//
// The claim is the user's. A volume cannot be filled through it while it is
// pending, so another claim, the prime, is made from the CSI snapshot; when
// the prime has its volume, the volume is handed over to the user's claim and
// the prime is removed.
//
// The state is recomputed at each pass from what exists:
//
//	nothing can begin            SourceElsewhere, SourceNotFound, NothingVerified,
//	                             Unverified, NotProven, Convicted, Skipped,
//	                             SnapshotDeleting, SnapshotReplaced, SnapshotNotReady, TooSmall, NoClass,
//	                             ClassNotFound, ClassCannotClone
//	it can, and waits            WaitingForNode
//	it begins                    Ready: make the prime
//	the prime has no volume yet  Cloning, CloneSilent, CloneFailing
//	  and cannot get one         NodeRejected, NodeChanged, SnapshotWithdrawn
//	the prime has its volume     Cloned: hand it over
//	  and not the right one      VolumeLost, VolumeInUse, NotAClone, NodeChanged,
//	                             SnapshotWithdrawn
//	handed over                  Binding
//	the claim has its volume     Populated, Unpopulated
//	somebody else must act       Deleting, Lost, Preset, Obstructed, Clearing
//
// Which snapshot is cloned is settled when the prime is made, and stands on
// it: a newer one in the meantime changes nothing. Four writes change the
// cluster (make the prime, hand over, free the node, drop the prime); between
// any two of them a crash leaves one of the states above.
package populate
