package populate

import (
	"cmp"
	"time"

	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/plan/snapshot"
)

const (
	// ComplainAfter is the age of an intermediate PVC at which a provisioner's
	// complaint is passed on, and that of the VolumeSnapshot of a shared cache at
	// which the snapshot controller's is: most first complaints cure themselves.
	ComplainAfter = 10 * time.Second
	// silentAfter is the age of an intermediate PVC at which a silent provisioner is
	// reported, and that of the VolumeSnapshot of a shared cache at which it is
	// reported that it does not become ready.
	silentAfter = 2 * time.Minute

	// firstPause and longestPause are the pauses between clones for which the
	// provisioner gave the node back; longestPause is that of the provisioner's own
	// retries. forgetAfter is how long such a rejection counts.
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
	forgetAfter  = time.Hour

	// unusedAfter is the age at which the pair of a PVC that waits for a node or another
	// class is deleted: its objects would stay in the cluster without end.
	unusedAfter = time.Hour

	// moment, often, soon, later are the pauses before what no watch reports is looked at again.
	moment = 200 * time.Millisecond
	often  = 2 * time.Second
	soon   = 15 * time.Second
	later  = time.Minute
)

// Decide returns the next step for one PVC.
func Decide(f Observation) Decision {
	switch {
	case f.Claim.Deleting:
		return dropping(f, Decision{State: Deleting})
	case f.Claim.Lost:
		return dropping(f, Decision{State: Lost})
	case f.Claim.Bound:
		return dropping(f, bound(f))
	case f.Intermediate == nil:
		return withoutIntermediate(f)
	case f.Intermediate.Foreign:
		return wait(Obstructed, f, later)
	case f.Intermediate.Deleting:
		return wait(Clearing, f, 0)
	case f.Intermediate.VolumeName != "":
		return withVolume(f)
	default:
		return withIntermediate(f)
	}
}

// bound judges a PVC that has its volume.
func bound(f Observation) Decision {
	switch {
	case f.Volume == nil || f.Volume.Holder != HeldByClaim:
		return Decision{State: Lost} // the cluster is about to report it
	case f.Volume.PopulatedFrom != "":
		return Decision{State: Populated, Snapshot: f.Volume.PopulatedFrom}
	default:
		return Decision{State: Unpopulated}
	}
}

// dropping removes what has no purpose any more: the intermediate PVC, and then the
// pair that it was cloned from.
func dropping(f Observation, d Decision) Decision {
	d.Action = Wait
	switch {
	case f.Intermediate == nil:
		return withoutShare(f, d)
	case !f.Intermediate.Foreign && !f.Intermediate.Deleting:
		d.Action = DeleteIntermediate
	}
	return d
}

// withoutShare deletes the pair of a PVC that needs none now.
func withoutShare(f Observation, d Decision) Decision {
	if f.Share.Exists {
		d.Action = DeleteShare
	}
	return d
}

// withoutUnused deletes the pair of a PVC that waits for something else, after a while.
func withoutUnused(f Observation, d Decision) Decision {
	left := unusedAfter - f.Share.Age
	switch {
	case !f.Share.Exists:
	case left <= 0:
		d.Action = DeleteShare
	case d.After == 0 || left < d.After:
		d.After = left
	}
	return d
}

// withoutIntermediate reports whether a population can begin.
func withoutIntermediate(f Observation) Decision {
	if f.Claim.VolumeName != "" {
		return wait(Preset, f, 0)
	}
	if f.Pool.Given {
		return wait(Binding, f, soon)
	}
	if d := unusable(f); d != nil {
		return withoutShare(f, *d)
	}
	if d := unfit(f); d != nil {
		return withoutUnused(f, *d)
	}
	if f.Class.WaitsForNode && f.Claim.Node == "" {
		return withoutUnused(f, wait(WaitingForNode, f, 0))
	}
	if f.Pool.Member != "" && f.Source.Same && f.Source.Candidate.Proven {
		return Decision{State: Pooled, Action: TakeFromPool, Snapshot: f.Source.Snapshot, Member: f.Pool.Member}
	}
	if pause := rejectionPause(rejections(f.Claim)) - f.Claim.SinceRejected; f.Class.WaitsForNode && pause > 0 {
		return wait(NodeRejected, f, pause)
	}
	if f.Share.Needed && !f.Share.Ready {
		return share(f)
	}
	d := Decision{State: Ready, Action: CreateIntermediate, Snapshot: f.Source.Snapshot, After: soon}
	if f.Class.WaitsForNode {
		d.Node = f.Claim.Node
	}
	return d
}

// share is the next step in carrying the chosen snapshot into the namespace.
func share(f Observation) Decision {
	s := f.Share
	switch {
	case s.Foreign:
		return withoutShare(f, wait(SharingObstructed, f, later))
	case s.Stale:
		return Decision{State: Sharing, Action: DeleteShare, Snapshot: f.Source.Snapshot, After: often}
	case !s.Complete:
		return Decision{State: Sharing, Action: CreateShare, Snapshot: f.Source.Snapshot, After: often}
	case s.Age >= silentAfter || s.Complaint != "" && s.Age >= ComplainAfter:
		d := wait(SharingFailing, f, soon)
		d.Detail = s.Complaint
		return d
	default:
		return wait(Sharing, f, often)
	}
}

// unusable is why the source offers nothing, or nil.
func unusable(f Observation) *Decision {
	s := f.Source
	var d Decision
	switch {
	case s.Elsewhere != "":
		d = wait(SourceElsewhere, f, 0)
	case s.Refused != "":
		d = wait(NotShared, f, later)
		d.Detail = s.Refused
	case !s.Found:
		d = wait(SourceNotFound, f, 0)
	case s.Snapshot == "":
		d = wait(NothingVerified, f, 0)
	default:
		return uncloneable(f)
	}
	return &d
}

// uncloneable is why the chosen snapshot is not cloned, or nil.
func uncloneable(f Observation) *Decision {
	var d Decision
	switch f.Source.Candidate.Standing {
	case snapshot.Missing, snapshot.Foreign, snapshot.Weaker:
		d = wait(NothingVerified, f, 0)
	case snapshot.Replaced:
		d = wait(SnapshotReplaced, f, later)
	case snapshot.Deleting, snapshot.Lost:
		d = wait(SnapshotDeleting, f, later)
	case snapshot.Skipped:
		d = wait(Skipped, f, 0)
	case snapshot.Corrupt:
		d = wait(SnapshotCorrupt, f, 0)
	case snapshot.Failed:
		d = wait(NotProven, f, 0)
	case snapshot.Pending:
		d = wait(Unverified, f, 0)
	case snapshot.NotReady:
		d = wait(SnapshotNotReady, f, soon)
	case snapshot.Usable:
		return nil
	}
	return &d
}

// unfit is why the PVC cannot hold a clone of the source, or nil.
func unfit(f Observation) *Decision {
	var d Decision
	switch {
	case f.Claim.Bytes < f.Source.Bytes:
		d = wait(TooSmall, f, 0)
	case f.Class.Name == "":
		d = wait(NoClass, f, later)
	case !f.Class.Found:
		d = wait(ClassNotFound, f, later)
	case f.Source.Driver != "" && f.Source.Driver != f.Class.Provisioner:
		d = wait(ClassCannotClone, f, later)
		d.Detail = f.Source.Driver
	default:
		return nil
	}
	return &d
}

// withIntermediate judges an intermediate PVC that has no volume yet.
func withIntermediate(f Observation) Decision {
	p := f.Intermediate
	switch {
	case f.Source.Refused != "":
		return refused(f)
	case moved(f):
		return drop(NodeChanged, f)
	case f.Share.Needed && !f.Share.Complete: // it cannot be finished, or not proven
		return drop(SnapshotWithdrawn, f)
	case distrusted(f.Source) || f.Source.Candidate.Standing == snapshot.Replaced || going(f.Source) && stuck(p):
		return drop(SnapshotWithdrawn, f)
	case p.MadeForNode != "" && p.Node == "":
		d := drop(NodeRejected, f)
		d.Action, d.Detail, d.Rejections = FreeNode, cmp.Or(p.Complaint, p.Progress), rejections(f.Claim)+1
		d.After = rejectionPause(d.Rejections)
		return d
	case p.Complaint != "" && p.Age >= ComplainAfter:
		d := wait(CloneFailing, f, later)
		d.Detail = p.Complaint
		return d
	case p.Progress != "" && p.Age >= ComplainAfter:
		d := wait(Cloning, f, later)
		d.Detail = p.Progress
		return d
	case p.Age >= silentAfter:
		return wait(CloneSilent, f, later)
	default:
		return wait(Cloning, f, soon)
	}
}

// withVolume judges an intermediate PVC that has, or had, its volume.
func withVolume(f Observation) Decision {
	switch {
	case f.Volume == nil:
		return drop(VolumeLost, f)
	case f.Volume.Holder == HeldByClaim:
		return wait(Binding, f, later)
	case f.Volume.Holder == HeldByOther:
		return drop(VolumeInUse, f)
	case !f.Intermediate.Bound:
		return wait(Cloning, f, soon)
	case f.Volume.Preexisting:
		// Dropping the intermediate PVC would release a volume of another owner, and
		// the next intermediate PVC might get a different one: a person has to look.
		return wait(NotAClone, f, 0)
	case f.Source.Refused != "":
		return refused(f)
	case distrusted(f.Source):
		return drop(SnapshotWithdrawn, f)
	case moved(f):
		return drop(NodeChanged, f)
	case f.Claim.VolumeName != "":
		return wait(Preset, f, later)
	case !f.Source.Same || !f.Source.Candidate.Proven:
		// That the clone was made from verified content can be shown only while
		// the CSI snapshot that was verified still exists: names can be reused.
		return drop(SnapshotWithdrawn, f)
	default:
		return Decision{State: Cloned, Action: HandOver, Snapshot: f.Source.Snapshot}
	}
}

// rejections in a row, as far as they still count: the scheduler may come back
// to a PVC long after its last pod was deleted.
func rejections(c Claim) int {
	if c.SinceRejected > forgetAfter {
		return 0
	}
	return c.Rejections
}

// rejectionPause is the time from the last of some rejections in a row to the next
// clone. A provisioner that gives a node back counts no attempts of its own: it sees
// another PVC each time. The first rejection needs no pause, since another node may
// have room; several may be a limit of the storage that each attempt counts against.
func rejectionPause(rejections int) time.Duration {
	if rejections < 2 {
		return 0
	}
	return schedule.Backoff{First: firstPause, Longest: longestPause}.Pause(int32(rejections - 1)) //nolint:gosec // a few
}

// moved means that the scheduler's choice is no longer what the intermediate
// PVC was made for.
func moved(f Observation) bool {
	return f.Intermediate.MadeForNode != "" && f.Intermediate.MadeForNode != f.Claim.Node
}

// distrusted means that the chosen snapshot exists and is not, or no longer, one
// whose content is proven.
func distrusted(s Source) bool {
	return s.Candidate.Standing != snapshot.Missing && !s.Candidate.Proven
}

// going means that a snapshot is on its way out, or gone. What it held was
// verified, and a provisioner that has begun may well finish: to drop the
// intermediate PVC under its hands would only leave its mark on the CSI
// snapshot for long.
func going(s Source) bool {
	switch s.Candidate.Standing { //nolint:exhaustive // the others are there
	case snapshot.Missing, snapshot.Deleting, snapshot.Lost:
		return true
	default:
		return false
	}
}

// stuck means that the provisioner does not seem to finish.
func stuck(p *IntermediatePVC) bool {
	return p.Complaint != "" || p.Progress == "" && p.Age >= silentAfter
}

func wait(state State, f Observation, after time.Duration) Decision {
	return Decision{State: state, Action: Wait, Snapshot: f.Source.Snapshot, Bytes: f.Source.Bytes, After: after}
}

func drop(state State, f Observation) Decision {
	return Decision{State: state, Action: DeleteIntermediate, Snapshot: f.Source.Snapshot}
}

// refused drops the clone of a shared cache whose source may not be used any more.
func refused(f Observation) Decision {
	d := drop(NotShared, f)
	d.Detail = f.Source.Refused
	return d
}

// AssignedElsewhere is what becomes of a decision when another PVC took the volume of the
// pool first: what there is now is looked at in a moment.
func AssignedElsewhere(d Decision) Decision {
	return Decision{State: d.State, Action: Wait, Snapshot: d.Snapshot, After: moment}
}

// Refused is what becomes of a decision when the API server forbids the
// intermediate PVC, or the pair that it would be cloned from.
func Refused(d Decision, why string) Decision {
	state := Forbidden
	if d.Action == CreateShare {
		state = SharingRefused
	}
	return Decision{State: state, Action: Wait, Snapshot: d.Snapshot, Detail: why, After: later}
}
