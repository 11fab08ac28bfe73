package buildcache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"time"
)

// MinAge is the least age of what may be removed from a cache that builds may
// be using: the marks of use are an hour coarse, and a build may run for a
// while with what it found at its start.
const MinAge = 2 * time.Hour

// Bounds are what a trim is to reach.
type Bounds struct {
	MaxSize int64         // of all outputs in bytes; 0: any
	MaxAge  time.Duration // since the last use; 0: any
	MinAge  time.Duration // younger entries are kept, whatever the other bounds
	// KeepSince: what was used then or later stays too. Zero: nothing stays for it.
	KeepSince time.Time
}

// Plan decides which files a trim removes: entries unused for longer than MaxAge,
// then the least recently used until the outputs fit into MaxSize. An output goes
// when no entry names it any more and it has not been used since either.
//
// It holds 32 bytes for each output and nothing for an entry, because a cache may
// have millions of them. So its caller lists the cache three times: first each output
// is added, then each entry, and after Decide the plan answers for each file.
type Plan struct {
	bounds Bounds
	now    time.Time
	// outputs by the first byte of their IDs; in the order of the others once the
	// first entry was added.
	outputs [256][]output
	// staged are outputs that were added last, with the first byte shard.
	staged []output
	shard  byte
	sorted bool
	goes   mark // entries that were used then or before go
	before int64
	bytes  int64
}

// output is what a plan holds of one.
type output struct {
	// id is what follows the first byte. The last 20 bytes are left out: the 96 bits
	// before them are different for all outputs that a cache can have.
	id    [11]byte
	state state
	last  mark // use of an entry that names it; zero: none does
	size  int64
}

// state of an output is a set of these.
type state uint8

const (
	unused state = 1 << iota // for so long that it may go
	kept                     // an entry that is left names it
)

// mark is when an entry was last used, and where times are equal, its ID.
type mark struct{ seconds, nanoseconds, id uint32 }

func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.seconds, o.seconds), cmp.Compare(m.nanoseconds, o.nanoseconds), cmp.Compare(m.id, o.id))
}

// markOf is never zero. Times before 1970 and after 2106 are as good as these.
func markOf(used time.Time, action ID) mark {
	m := mark{id: binary.BigEndian.Uint32(action[:])}
	switch s := used.Unix(); {
	case s < 1:
		m.seconds = 1
	case s > math.MaxUint32:
		m.seconds, m.nanoseconds = math.MaxUint32, math.MaxUint32
	default:
		m.seconds, m.nanoseconds = uint32(s), uint32(used.Nanosecond()) //nolint:gosec // less than 2^32, and than 10^9
	}
	return m
}

// NewPlan begins a plan; now is what ages are measured against.
func NewPlan(b Bounds, now time.Time) *Plan { return &Plan{bounds: b, now: now} }

// old reports whether something is old enough to go.
func (p *Plan) old(used time.Time) bool {
	if since := p.bounds.KeepSince; !since.IsZero() && !used.Before(since) {
		return false
	}
	return p.now.Sub(used) >= p.bounds.MinAge
}

// AddOutput adds an output. Those of a directory of the cache should come one after
// the other, which takes the least memory.
func (p *Plan) AddOutput(id ID, size int64, used time.Time) {
	if len(p.staged) > 0 && p.shard != id[0] {
		p.flush()
	}
	o := output{size: size}
	copy(o.id[:], id[1:])
	if p.old(used) {
		o.state = unused
	}
	p.shard, p.staged, p.before = id[0], append(p.staged, o), p.before+size
}

// flush moves the staged outputs to the others, without room for more.
func (p *Plan) flush() {
	all := &p.outputs[p.shard]
	if *all == nil {
		*all = slices.Clone(p.staged)
	} else {
		*all = append(*all, p.staged...)
	}
	p.staged = p.staged[:0]
}

func (p *Plan) sort() {
	if p.sorted {
		return
	}
	p.sorted = true
	p.flush()
	p.staged = nil
	for _, shard := range p.outputs {
		slices.SortFunc(shard, func(a, b output) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
}

func (p *Plan) find(id ID) *output {
	shard := p.outputs[id[0]]
	i, ok := slices.BinarySearchFunc(shard, id[1:12], func(o output, id []byte) int { return bytes.Compare(o.id[:], id) })
	if !ok {
		return nil
	}
	return &shard[i]
}

// AddAction adds an entry: its own ID, the output that it names, and its last use.
func (p *Plan) AddAction(action, named ID, used time.Time) {
	p.sort()
	if o := p.find(named); o != nil {
		if m := markOf(used, action); m.compare(o.last) > 0 {
			o.last = m
		}
	}
}

// Decide ends the planning.
func (p *Plan) Decide() {
	p.sort()
	// Whatever is old enough, is so for all earlier times as well.
	newest := latest(p.old)
	if p.bounds.MaxAge > 0 {
		p.goes = latest(func(used time.Time) bool { return p.old(used) && p.now.Sub(used) > p.bounds.MaxAge })
	}
	if p.bounds.MaxSize > 0 && p.before-p.removed(p.goes) > p.bounds.MaxSize {
		p.goes = least(newest, func(m mark) bool { return m.compare(p.goes) >= 0 && p.before-p.removed(m) <= p.bounds.MaxSize })
	}
	p.bytes = p.removed(p.goes)
}

// latest is the last mark of the times for which a predicate holds; those for which it
// holds are before all others.
func latest(holds func(time.Time) bool) mark {
	seconds := sort.Search(math.MaxUint32+1, func(s int) bool { return !holds(time.Unix(int64(s), 0)) })
	if seconds == 0 { // not even for the first
		return mark{}
	}
	last := int64(seconds - 1)
	nanoseconds := sort.Search(1e9, func(n int) bool { return !holds(time.Unix(last, int64(n))) })
	m := mark{uint32(last), uint32(nanoseconds - 1), math.MaxUint32} //nolint:gosec // by the bounds of the searches
	if seconds == math.MaxUint32+1 {
		m.nanoseconds = math.MaxUint32 // later times have this mark
	}
	return m
}

// least is the first mark up to the last one for which a predicate holds; those for
// which it does not hold are before all others. If it holds for none, it is the last.
func least(last mark, holds func(mark) bool) mark {
	search := func(most uint32, of func(uint32) mark) uint32 {
		return uint32(sort.Search(int(most), func(n int) bool { return holds(of(uint32(n))) })) //nolint:gosec // at most most
	}
	m := last
	m.seconds = search(last.seconds, func(n uint32) mark { return mark{n, math.MaxUint32, math.MaxUint32} })
	nanoseconds, id := last.nanoseconds, last.id
	if m.seconds < last.seconds {
		nanoseconds, id = math.MaxUint32, math.MaxUint32
	}
	m.nanoseconds = search(nanoseconds, func(n uint32) mark { return mark{m.seconds, n, math.MaxUint32} })
	if m.nanoseconds < nanoseconds {
		id = math.MaxUint32
	}
	m.id = search(id, func(n uint32) mark { return mark{m.seconds, m.nanoseconds, n} })
	return m
}

// removed is the size of the outputs that go when entries up to a mark do.
func (p *Plan) removed(until mark) (size int64) {
	for _, shard := range p.outputs {
		for i := range shard {
			if o := &shard[i]; o.state&unused != 0 && o.last.compare(until) <= 0 {
				size += o.size
			}
		}
	}
	return size
}

// Before is the size of all outputs.
func (p *Plan) Before() int64 { return p.before }

// Bytes is the size of the outputs that go.
func (p *Plan) Bytes() int64 { return p.bytes }

// Over is by how many bytes what stays exceeds MaxSize, since all of it has to stay.
func (p *Plan) Over() int64 {
	if p.bounds.MaxSize <= 0 {
		return 0
	}
	return max(0, p.before-p.bytes-p.bounds.MaxSize)
}

// RemovesAction reports whether an entry goes, after its last use as of now.
func (p *Plan) RemovesAction(action ID, used time.Time) bool {
	return markOf(used, action).compare(p.goes) <= 0
}

// RemovesOutput reports whether an output goes, after its last use as of now. One that
// was not added stays.
func (p *Plan) RemovesOutput(id ID, used time.Time) bool {
	o := p.find(id)
	return o != nil && o.state == unused && o.last.compare(p.goes) <= 0 && p.old(used)
}

// Keep keeps an output that an entry names after all.
func (p *Plan) Keep(id ID) {
	if o := p.find(id); o != nil {
		o.state |= kept
	}
}
