// Package verification decides the next step in the life of a CacheSnapshot.
//
// The stage is recomputed at each pass from what exists:
//
//	Admit            the source is ready: record its state
//	CreateSnapshot   create the CSI snapshot
//	WaitForSnapshot  the CSI snapshot is not ready to use yet
//	Check            create the clone, record it, and create the verification Job on it
//	WaitForJob       the Job runs
//	RecordVerdict    the Job ended: write its outcome into the status
//	CleanUp          the outcome is in the status: delete Job, pods and clone
//	Done             nothing is left to do
//
// After a Corrupt verdict, if the policy is Repair, these follow RecordVerdict:
//
//	Repair, WaitForRepair,   remove the corrupt entries on the clone; if the clone
//	RecordRepair,            is gone, RestartRepair begins again
//	RestartRepair
//	SnapshotRepaired,        no pod has the clone mounted: create a snapshot of it
//	WaitForRepairedSnapshot
//	DeleteRepairedClone      that snapshot is ready to use: delete the clone
//	Check ...                the repaired snapshot is verified like the original
//	                         one, on a clone of itself; once
//	DeleteOriginalSnapshot   it is published: delete the original CSI snapshot
//
// An offline build test, if requested, follows an Intact verdict:
//
//	OfflineBuild,         build from the clone alone
//	WaitForOfflineBuild,
//	RecordOfflineBuild
//
// A snapshot that is offered is verified again by the policy, on a new clone. It
// stays what it is until that has a conclusive verdict: Intact, and it is offered
// further, or Corrupt, and it is withdrawn:
//
//	BeginRepeat,          record that it begins; check a clone; record the outcome
//	Repeat, WaitForRepeat,
//	RecordRepeat
//	EndRepeat             no verdict until the deadline, or in all attempts
//
// Only the Record stages change outcomes, and a Job is deleted only after its
// outcome was recorded, so a crash between any two steps loses no outcome and
// records none twice. There is one Job at a time on a clone, and its pods are
// gone before the next one starts. An inconclusive attempt is repeated on a new
// clone, a few times, until the deadline; then the verdict stays Inconclusive.
package verification
