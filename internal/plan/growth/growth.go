package growth

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"gocache.dev/operator/internal/domain/store"
)

// Pause is how long an expansion that was refused is let rest.
const Pause = time.Hour

// State is the state of a PVC that may grow.
type State string

// The states.
const (
	// Unmeasured: no run has measured the capacity that the PVC has now.
	Unmeasured State = "Unmeasured"
	// Enough: there is room.
	Enough State = "Enough"
	// Grow: it shall be asked to grow now.
	Grow State = "Grow"
	// Growing: an expansion is under way.
	Growing State = "Growing"
	// Refused: the API server does not let it grow.
	Refused State = "Refused"
	// AtLimit: it is as large as it may become, and getting full.
	AtLimit State = "AtLimit"
	// OutOfInodes: its inodes are almost used up, and growth has added none.
	OutOfInodes State = "OutOfInodes"
)

// Observation is the observed state of a PVC.
type Observation struct {
	// Now is the time of this pass.
	Now time.Time
	// Rule: at UsedPercent, by Step, up to Limit.
	UsedPercent int32
	Step, Limit resource.Quantity
	// Requested by the PVC, and the Capacity that it has.
	Requested, Capacity resource.Quantity
	// Used percent that a run found, of the capacity Measured; nil: none did.
	Used     *int32
	Measured *resource.Quantity
	// InodesUsed of the Inodes of the file system; 0: it has no fixed number.
	InodesUsed, Inodes int64
	// GrownInodes is how many inodes it had when it was last expanded for their sake;
	// 0: it was not.
	GrownInodes int64
	// RefusedAt is when the API server refused an expansion to RefusedSize; zero:
	// it did not.
	RefusedAt   time.Time
	RefusedSize resource.Quantity
}

// Decision is the state of the PVC and the action.
type Decision struct {
	// State of it.
	State State
	// Size to ask for, in state Grow.
	Size resource.Quantity
	// Wake is when to look again; zero: only when something happens.
	Wake time.Time
}

// Decide decides whether a PVC is expanded.
func Decide(f Observation) Decision {
	switch {
	case f.Requested.Cmp(f.Capacity) > 0:
		return Decision{State: Growing}
	case f.Used == nil || f.Measured == nil || f.Measured.Cmp(f.Capacity) != 0:
		return Decision{State: Unmeasured}
	case *f.Used < f.UsedPercent && !f.fewInodes():
		return Decision{State: Enough}
	case *f.Used < f.UsedPercent && f.GrownInodes > 0 && f.Inodes <= f.GrownInodes:
		return Decision{State: OutOfInodes}
	}
	next := f.Capacity.DeepCopy()
	next.Add(f.Step)
	if next.Cmp(f.Limit) > 0 {
		next = f.Limit.DeepCopy()
	}
	if next.Cmp(f.Capacity) <= 0 {
		return Decision{State: AtLimit}
	}
	if again := f.RefusedAt.Add(Pause); !f.RefusedAt.IsZero() && next.Cmp(f.RefusedSize) >= 0 && again.After(f.Now) {
		return Decision{State: Refused, Wake: again}
	}
	return Decision{State: Grow, Size: next}
}

// fewInodes reports whether so many inodes are used that the rule applies.
func (f Observation) fewInodes() bool {
	percent := UsedPercent(f.InodesUsed, f.Inodes-f.InodesUsed)
	return f.Inodes > 0 && percent != nil && *percent >= f.UsedPercent
}

// ForInodes reports whether only the inodes make the PVC grow.
func (f Observation) ForInodes() bool {
	return f.Used != nil && *f.Used < f.UsedPercent && f.fewInodes()
}

// Measured is what a run measured of the file system of a volume, in bytes; 0 for all:
// nothing.
type Measured struct {
	// Used, Available and Capacity of the file system, and Tree, what the files of the
	// volume take.
	Used, Available, Capacity, Tree int64
	// InodesUsed of Inodes; 0: the file system has no fixed number.
	InodesUsed, Inodes int64
}

// Of returns what was measured of a volume of a size. Where the file system is larger,
// others use it, too: only the files of the volume count against its size, and the
// inodes are not the volume's to use up.
func (m Measured) Of(size int64) Measured {
	if m.Tree <= 0 || !store.Shared(m.Capacity, size) {
		return m
	}
	return Measured{Used: m.Tree, Available: min(m.Available, max(0, size-m.Tree)), Capacity: size, Tree: m.Tree}
}

// UsedPercent is the used part of a file system's usable space in percent, as
// df computes it: rounded up, and nil without a measurement.
func UsedPercent(used, available int64) *int32 {
	if used < 0 || available < 0 || used+available <= 0 {
		return nil
	}
	percent := int32(math.Ceil(float64(used) * 100 / float64(used+available)))
	return &percent
}
