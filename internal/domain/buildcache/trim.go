package buildcache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// MinAge is the least age of what may be removed from a cache that builds may
// be using: the marks of use are an hour coarse, and a build may run for a
// while with what it found at its start.
const MinAge = 2 * time.Hour

// Aged is an action entry or output with the time of its last use.
type Aged struct {
	Entry
	Used time.Time
}

// Bounds are what a trim is to reach.
type Bounds struct {
	MaxSize int64         // of all outputs in bytes; 0: any
	MaxAge  time.Duration // since the last use; 0: any
	MinAge  time.Duration // younger entries are kept, whatever the other bounds
	// KeepSince: what was used then or later stays too. Zero: nothing stays for it.
	KeepSince time.Time
}

// Plan is what a trim would remove.
type Plan struct {
	Actions []ID // least recently used first
	Outputs []ID // that nothing will name any more
	Bytes   int64
	Before  int64 // size of all outputs
	// Over is by how many bytes what stays exceeds MaxSize, since all of it has
	// to stay.
	Over int64
}

// PlanTrim decides which entries go: those unused for longer than MaxAge, then
// the least recently used until the outputs fit into MaxSize. An output goes
// when no entry names it any more and it has not been used since either.
//
// sizes and uses of outputs are given by ID.
func PlanTrim(actions []Aged, outputs map[ID]Aged, b Bounds, now time.Time) Plan {
	slices.SortFunc(actions, func(x, y Aged) int {
		return cmp.Or(x.Used.Compare(y.Used), slices.Compare(x.Action[:], y.Action[:]))
	})
	p := planning{bounds: b, now: now, outputs: outputs, refs: map[ID]int{}}
	for id, o := range outputs {
		p.size += o.Size
		p.refs[id] = 0
	}
	p.plan.Before = p.size
	for i := range actions {
		if _, ok := p.refs[actions[i].Output]; ok {
			p.refs[actions[i].Output]++
		}
	}
	p.orphans()
	for i := range actions {
		if !p.mustRemove(&actions[i]) {
			break
		}
		p.remove(&actions[i])
	}
	if b.MaxSize > 0 {
		p.plan.Over = max(0, p.size-b.MaxSize)
	}
	slices.SortFunc(p.plan.Outputs, func(x, y ID) int { return slices.Compare(x[:], y[:]) })
	return p.plan
}

type planning struct {
	bounds  Bounds
	now     time.Time
	outputs map[ID]Aged
	refs    map[ID]int
	size    int64
	plan    Plan
}

func (p *planning) old(used time.Time) bool {
	if since := p.bounds.KeepSince; !since.IsZero() && !used.Before(since) {
		return false
	}
	return p.now.Sub(used) >= p.bounds.MinAge
}

// orphans removes outputs that nothing names to begin with.
func (p *planning) orphans() {
	for id, n := range p.refs {
		if n == 0 && p.old(p.outputs[id].Used) {
			p.drop(id)
		}
	}
}

func (p *planning) drop(id ID) {
	p.plan.Outputs = append(p.plan.Outputs, id)
	p.plan.Bytes += p.outputs[id].Size
	p.size -= p.outputs[id].Size
}

// mustRemove reports whether the least recently used entry has to go.
func (p *planning) mustRemove(a *Aged) bool {
	if !p.old(a.Used) {
		return false
	}
	tooOld := p.bounds.MaxAge > 0 && p.now.Sub(a.Used) > p.bounds.MaxAge
	return tooOld || p.bounds.MaxSize > 0 && p.size > p.bounds.MaxSize
}

func (p *planning) remove(a *Aged) {
	p.plan.Actions = append(p.plan.Actions, a.Action)
	n, ok := p.refs[a.Output]
	if !ok {
		return
	}
	p.refs[a.Output] = n - 1
	if n == 1 && p.old(p.outputs[a.Output].Used) {
		p.drop(a.Output)
	}
}

// Digest identifies the plan: an approval of it is for exactly these entries.
func (p *Plan) Digest() string {
	h := sha256.New()
	for _, list := range [][]ID{p.Actions, p.Outputs} {
		sorted := slices.SortedFunc(slices.Values(list), func(x, y ID) int { return slices.Compare(x[:], y[:]) })
		for _, id := range sorted {
			_, _ = h.Write(id[:]) // a hash never fails
		}
		_, _ = h.Write([]byte{'\n'})
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
