package replacement

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"gocache.dev/operator/internal/plan/snapshot"
)

// Judge decides whether the content of a volume may be made from a
// CacheSnapshot: only verified ones are restored.
func Judge(snapshotName string, c snapshot.Candidacy) Source {
	name := "CacheSnapshot " + snapshotName
	switch c.Standing {
	case snapshot.Foreign:
		return Source{Refused: name + " was taken of something else"}
	case snapshot.Deleting:
		return Source{Refused: name + " is being deleted"}
	case snapshot.Skipped:
		return Source{Refused: name + " is exempt from verification (spec.verification.mode: Skip), and only verified snapshots are restored"}
	case snapshot.Corrupt:
		return Source{Refused: name + " is Corrupt"}
	case snapshot.Replaced:
		return Source{Refused: name + " was verified from a VolumeSnapshot that another object replaced, and only verified snapshots are restored"}
	case snapshot.Lost:
		return Source{Refused: "the CSI snapshot of " + name + " was deleted: nothing can be made from it"}
	case snapshot.Failed:
		return Source{Refused: name + " could not be verified, and only verified snapshots are restored"}
	case snapshot.Weaker:
		return Source{Refused: name + " is verified less strictly than the snapshot policy asks (status.weakerThanPolicy)"}
	case snapshot.Pending:
		return Source{Waits: name + " to be verified"}
	case snapshot.NotReady:
		return Source{Waits: "the CSI snapshot of " + name + " to be ready"}
	case snapshot.Usable:
		return Source{}
	case snapshot.Missing:
	}
	return Source{Refused: name + " does not exist"}
}

// Lowered reports whether a spec asks for less than was applied before.
func Lowered(spec resource.Quantity, applied *resource.Quantity) bool {
	return applied != nil && spec.Cmp(*applied) < 0
}

// Size of the new volume: what the spec asks for if it was lowered, else at
// least what there is.
func Size(spec resource.Quantity, applied *resource.Quantity, have ...resource.Quantity) resource.Quantity {
	size := spec.DeepCopy()
	if Lowered(spec, applied) {
		return size
	}
	for _, h := range have {
		if h.Cmp(size) > 0 {
			size = h.DeepCopy()
		}
	}
	return size
}
