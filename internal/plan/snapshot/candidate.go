package snapshot

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
)

// Standing is whether a CacheSnapshot may be used, and if not, why.
type Standing string

// The standings, in order of precedence: the first that applies is the answer.
const (
	// Missing: there is no such CacheSnapshot. It is the zero value, so that a
	// CacheSnapshot that was not examined is not used.
	Missing Standing = ""
	// Foreign: it was taken of another source.
	Foreign Standing = "Foreign"
	// Deleting: it is being deleted.
	Deleting Standing = "Deleting"
	// Skipped: it is exempt from verification.
	Skipped Standing = "Skipped"
	// Corrupt: it was verified and is not intact, and nothing is done about it
	// any more.
	Corrupt Standing = "Corrupt"
	// Replaced: another object took the place of the CSI snapshot that was
	// verified.
	Replaced Standing = "Replaced"
	// Lost: its CSI snapshot was deleted.
	Lost Standing = "Lost"
	// Failed: it will not be proven without a person: the last attempt was
	// inconclusive, the deadline has passed, no program could be built from it, or
	// the object is stalled for another reason.
	Failed Standing = "Failed"
	// Weaker: it was chosen by the name of its source, and is verified less
	// strictly than the policy of the source asks.
	Weaker Standing = "Weaker"
	// Pending: its verdict may still come.
	Pending Standing = "Pending"
	// NotReady: it is proven, and its CSI snapshot cannot be restored now, or no
	// clone of it could be read when its verification was repeated.
	NotReady Standing = "NotReady"
	// Usable: it may be cloned, restored and rolled back to.
	Usable Standing = "Usable"
)

// CSI is what was seen of the CSI snapshot of a CacheSnapshot.
type CSI string

// The values of CSI.
const (
	// CSINotRead: it was not read, and the status of the CacheSnapshot counts.
	CSINotRead CSI = ""
	// CSIReplaced: another object bears its name.
	CSIReplaced CSI = "Replaced"
	// CSIGone: it does not exist or is being deleted.
	CSIGone CSI = "Gone"
	// CSINotReady: the driver cannot restore it now.
	CSINotReady CSI = "NotReady"
	// CSIReady: it can be restored.
	CSIReady CSI = "Ready"
)

// Use is the purpose that a CacheSnapshot is needed for.
type Use struct {
	// Of is the source that it must have been taken of; zero: any.
	Of v1alpha1.SnapshotSource
	// BySource: it was chosen by the name of that source, and not by its own.
	BySource bool
	// CSI is what was seen of its CSI snapshot.
	CSI CSI
}

// Candidacy is the answer of Candidate.
type Candidacy struct {
	// Standing of the CacheSnapshot.
	Standing Standing
	// Proven: its content was verified, so that what is known to have been made
	// from it may be handed out even while it is being deleted.
	Proven bool
}

// Usable reports whether new content may be made from the CacheSnapshot.
func (c Candidacy) Usable() bool { return c.Standing == Usable }

// Candidate decides whether a CacheSnapshot may be offered to consumers,
// restored, rolled back to, compared with, or counted as verified by retention.
// It is the only place that does. It decides from what the status records of
// the work that was done; of conditions it reads what is recorded nowhere else:
// that the CSI snapshot was lost, and that the object is stalled, so that a
// person has to look at it before it is used.
func Candidate(c *v1alpha1.CacheSnapshot, u Use) Candidacy {
	if c == nil {
		return Candidacy{}
	}
	recorded := verification.Recorded(c)
	foreign := u.Of != (v1alpha1.SnapshotSource{}) && c.Spec.SourceRef != u.Of
	weaker := u.BySource && c.Status.WeakerThanPolicy != ""
	proven := recorded.Proven() && !stalled(c)
	out := Candidacy{Proven: proven && !foreign && !weaker}
	switch {
	case foreign:
		out.Standing = Foreign
	case !c.DeletionTimestamp.IsZero():
		out.Standing = Deleting
	case recorded.Mode == v1alpha1.VerificationSkip:
		out.Standing = Skipped
	case recorded.Settled() && recorded.Verdict == v1alpha1.VerdictCorrupt:
		out.Standing = Corrupt
	case u.CSI == CSIReplaced:
		out.Standing = Replaced
	case u.CSI == CSIGone || lost(c):
		out.Standing = Lost
	case !proven && (recorded.Settled() || stalled(c)):
		out.Standing = Failed
	case weaker:
		out.Standing = Weaker
	case !proven:
		out.Standing = Pending
	case u.CSI == CSINotReady || unready(c) || unreadable(c) || c.Status.VolumeSnapshotName == "" || c.Status.Source == nil:
		out.Standing = NotReady
	default:
		out.Standing = Usable
	}
	return out
}

// lost reports whether the CSI snapshot of a CacheSnapshot that was created is
// reported as deleted.
func lost(c *v1alpha1.CacheSnapshot) bool {
	return c.Status.CreationTime != nil && meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.SnapshotReadyCondition) && !unready(c)
}

// unready reports whether its CSI snapshot was ready to use and is not any more.
// It may be again: another verified snapshot is used until then.
func unready(c *v1alpha1.CacheSnapshot) bool {
	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.SnapshotReadyCondition)
	return c.Status.CreationTime != nil && ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == v1alpha1.ReasonSnapshotFailed
}

// unreadable reports whether the last repetition of its verification found that no
// clone can be created or read.
func unreadable(c *v1alpha1.CacheSnapshot) bool {
	return c.Status.Repeat != nil && c.Status.Repeat.Unreadable
}

func stalled(c *v1alpha1.CacheSnapshot) bool {
	return meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.StalledCondition)
}

// Repeated reports whether the verification of a CacheSnapshot is repeated by a
// policy, among the CacheSnapshots of its namespace: of the one that is offered by the
// name of its source, or of each that may be used. One that could not be read counts as
// if it could, since only a repetition finds that it can be read again.
func Repeated(c *v1alpha1.CacheSnapshot, policy *v1alpha1.RepeatPolicy, all []v1alpha1.CacheSnapshot) bool {
	if policy == nil || !readable(c, policy.Snapshots == v1alpha1.RepeatNewest) {
		return false
	}
	if policy.Snapshots != v1alpha1.RepeatNewest {
		return policy.Snapshots == v1alpha1.RepeatAll
	}
	self := Kept{Name: c.Name, Created: Created(c)}
	for i := range all {
		o := &all[i]
		if o.Spec.SourceRef == c.Spec.SourceRef && o.Namespace == c.Namespace && o.Name != c.Name &&
			older(self, Kept{Name: o.Name, Created: Created(o)}) && Candidate(o, Use{BySource: true}).Usable() {
			return false
		}
	}
	return true
}

// readable reports whether a CacheSnapshot would be usable if a clone could be read.
func readable(c *v1alpha1.CacheSnapshot, bySource bool) bool {
	if unreadable(c) {
		c = c.DeepCopy()
		c.Status.Repeat.Unreadable = false
		meta.RemoveStatusCondition(&c.Status.Conditions, v1alpha1.SnapshotReadyCondition)
	}
	return Candidate(c, Use{BySource: bySource}).Usable()
}
