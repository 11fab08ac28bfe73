package swap

import "k8s.io/apimachinery/pkg/api/resource"

// Candidate is a CacheSnapshot that new content may be made from.
type Candidate struct {
	// Name of it.
	Name string
	// Found: it exists.
	Found bool
	// Foreign: it was taken of another source.
	Foreign bool
	// Deleting: it is on its way out.
	Deleting bool
	// Skipped: it is exempt from verification. Corrupt: it was convicted.
	// Failed: it will never be verified. Verified: it was proven intact.
	Skipped, Corrupt, Failed, Verified bool
	// Restorable: its CSI snapshot exists and is ready.
	Restorable bool
}

// Judge says whether a snapshot may be restored: only what was verified is.
func Judge(c Candidate) Source {
	switch name := "CacheSnapshot " + c.Name; {
	case !c.Found:
		return Source{Refused: name + " does not exist"}
	case c.Foreign:
		return Source{Refused: name + " was taken of something else"}
	case c.Deleting:
		return Source{Refused: name + " is being deleted"}
	case c.Skipped:
		return Source{Refused: name + " is exempt from verification (spec.verification.mode Skip), and what was not verified is never restored"}
	case c.Corrupt:
		return Source{Refused: name + " was convicted: it holds wrong bytes"}
	case c.Failed:
		return Source{Refused: name + " could not be verified, and what was not verified is never restored"}
	case !c.Verified:
		return Source{Waits: name + " to be verified"}
	case !c.Restorable:
		return Source{Waits: "the CSI snapshot of " + name + " to be ready"}
	default:
		return Source{}
	}
}

// Lowered says whether a spec asks for less than was applied before.
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
