package buildcache_test

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	diff "github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/domain/buildcache"
)

// action is an entry, output what it may name.
type (
	action struct {
		id, names buildcache.ID
		used      time.Time
	}
	output struct {
		id   buildcache.ID
		size int64
		used time.Time
	}
)

// removed is what a plan removes.
type removed struct {
	actions, outputs    []buildcache.ID
	before, bytes, over int64
}

func plan(actions []action, outputs []output, b buildcache.Bounds, now time.Time) removed {
	p := buildcache.NewPlan(b, now)
	for _, o := range outputs {
		p.AddOutput(o.id, o.size, o.used)
	}
	for _, a := range actions {
		p.AddAction(a.id, a.names, a.used)
	}
	p.Decide()
	r := removed{before: p.Before(), bytes: p.Bytes(), over: p.Over()}
	for _, a := range actions {
		if p.RemovesAction(a.id, a.used) {
			r.actions = append(r.actions, a.id)
		}
	}
	for _, o := range outputs {
		if p.RemovesOutput(o.id, o.used) {
			r.outputs = append(r.outputs, o.id)
		}
	}
	return r
}

func compareIDs(a, b buildcache.ID) int { return slices.Compare(a[:], b[:]) }

func TestPlan(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	id := func(n byte) (i buildcache.ID) { i[0] = n; return i }
	hours := func(n int) time.Time { return now.Add(-time.Duration(n) * time.Hour) }
	var outputs []output
	for _, o := range []struct {
		n    byte
		size int64
		age  int
	}{{100, 10, 50}, {101, 20, 50}, {102, 40, 1}, {103, 80, 9}, {104, 5, 1}, {105, 7, 9}} {
		outputs = append(outputs, output{id(o.n), o.size, hours(o.age)})
	}
	var actions []action
	for _, a := range []struct {
		n, names byte
		age      int
	}{{1, 100, 50}, {2, 101, 40}, {3, 101, 5}, {4, 102, 1}, {5, 103, 9}, {6, 99, 30}} {
		actions = append(actions, action{id(a.n), id(a.names), hours(a.age)})
	}
	for name, c := range map[string]struct {
		bounds  buildcache.Bounds
		actions []buildcache.ID
		outputs []buildcache.ID
		bytes   int64
		over    int64
	}{
		"only what nothing names": {buildcache.Bounds{MinAge: buildcache.MinAge}, nil, []buildcache.ID{id(105)}, 7, 0},
		"age": {
			buildcache.Bounds{MaxAge: 20 * time.Hour, MinAge: buildcache.MinAge},
			[]buildcache.ID{id(1), id(2), id(6)}, []buildcache.ID{id(100), id(105)}, 17, 0,
		},
		"exactly that age": {
			buildcache.Bounds{MaxAge: 30 * time.Hour, MinAge: buildcache.MinAge},
			[]buildcache.ID{id(1), id(2)}, []buildcache.ID{id(100), id(105)}, 17, 0,
		},
		"size": {
			buildcache.Bounds{MaxSize: 146, MinAge: buildcache.MinAge},
			[]buildcache.ID{id(1)}, []buildcache.ID{id(100), id(105)}, 17, 0,
		},
		"it fits": {buildcache.Bounds{MaxSize: 155, MinAge: buildcache.MinAge}, nil, []buildcache.ID{id(105)}, 7, 0},
		"the young stay": {
			buildcache.Bounds{MaxSize: 1, MinAge: buildcache.MinAge},
			[]buildcache.ID{id(1), id(2), id(3), id(5), id(6)}, []buildcache.ID{id(100), id(101), id(103), id(105)}, 117, 44,
		},
		"exactly old enough": {
			buildcache.Bounds{MaxAge: time.Hour, MinAge: 9 * time.Hour},
			[]buildcache.ID{id(1), id(2), id(5), id(6)}, []buildcache.ID{id(100), id(103), id(105)}, 97, 0,
		},
		"what was used lately stays": {
			buildcache.Bounds{MaxSize: 1, MaxAge: 3 * time.Hour, MinAge: buildcache.MinAge, KeepSince: hours(40)},
			[]buildcache.ID{id(1)}, []buildcache.ID{id(100)}, 10, 151,
		},
	} {
		got := plan(actions, outputs, c.bounds, now)
		if d := diff.Diff(c.actions, got.actions); d != "" {
			t.Errorf("%s: actions:\n%s", name, d)
		}
		if d := diff.Diff(c.outputs, got.outputs); d != "" {
			t.Errorf("%s: outputs:\n%s", name, d)
		}
		if got.bytes != c.bytes || got.before != 162 || got.over != c.over {
			t.Errorf("%s: %d of %d bytes, %d over, want %d of 162, %d over", name, got.bytes, got.before, got.over, c.bytes, c.over)
		}
	}
}

// TestPlanIsLeastRecentlyUsed compares plans for random caches with the obvious way to
// make one: sort all entries by their last use, and remove one after the other. Many have
// equal times, some have impossible ones.
func TestPlanIsLeastRecentlyUsed(t *testing.T) {
	now := time.Unix(1_800_000_000, 500)
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable
		newID := func() (i buildcache.ID) {
			binary.BigEndian.PutUint64(i[:], random.Uint64())
			return i
		}
		used := func() time.Time {
			switch random.IntN(20) {
			case 0:
				return time.Time{}
			case 1:
				return now.Add(1 << 61)
			default:
				return now.Add(-time.Duration(random.IntN(5)) * time.Hour).Add(-time.Duration(random.IntN(2)))
			}
		}
		var outputs []output
		for range 1 + random.IntN(60) {
			outputs = append(outputs, output{newID(), random.Int64N(100), used()})
		}
		var actions []action
		for range 1 + random.IntN(80) {
			a := action{newID(), newID(), used()}
			if random.IntN(8) > 0 {
				a.names = outputs[random.IntN(len(outputs))].id
			}
			actions = append(actions, a)
		}
		b := buildcache.Bounds{MaxSize: random.Int64N(3000), MaxAge: time.Duration(random.IntN(5)) * time.Hour, MinAge: time.Duration(random.IntN(3)) * time.Hour}
		switch random.IntN(4) {
		case 0:
			b.KeepSince = now.Add(-time.Duration(random.IntN(5)) * time.Hour)
		case 1:
			b.MinAge = math.MinInt64
		}
		got, want := plan(actions, outputs, b, now), obvious(actions, outputs, b, now)
		for _, ids := range [][]buildcache.ID{got.actions, got.outputs, want.actions, want.outputs} {
			slices.SortFunc(ids, compareIDs)
		}
		if d := diff.Diff(want, got, diff.AllowUnexported(removed{})); d != "" {
			t.Fatalf("seed %d, %+v: (-want +got)\n%s", seed, b, d)
		}
	}
}

// obvious makes the plan by the definition.
func obvious(actions []action, outputs []output, b buildcache.Bounds, now time.Time) (r removed) {
	old := func(used time.Time) bool {
		return now.Sub(used) >= b.MinAge && (b.KeepSince.IsZero() || used.Before(b.KeepSince))
	}
	names, byID := map[buildcache.ID]int{}, map[buildcache.ID]output{}
	for _, o := range outputs {
		byID[o.id] = o
		r.before += o.size
	}
	actions = slices.Clone(actions)
	slices.SortFunc(actions, func(x, y action) int { return cmp.Or(x.used.Compare(y.used), compareIDs(x.id, y.id)) })
	for _, a := range actions {
		names[a.names]++
	}
	drop := func(o output) {
		if names[o.id] == 0 && old(o.used) {
			r.outputs, r.bytes = append(r.outputs, o.id), r.bytes+o.size
		}
	}
	for _, o := range outputs {
		drop(o)
	}
	for _, a := range actions {
		tooOld := b.MaxAge > 0 && now.Sub(a.used) > b.MaxAge
		if !old(a.used) || !tooOld && (b.MaxSize == 0 || r.before-r.bytes <= b.MaxSize) {
			break
		}
		r.actions = append(r.actions, a.id)
		names[a.names]--
		if o, ok := byID[a.names]; ok {
			drop(o)
		}
	}
	if b.MaxSize > 0 {
		r.over = max(0, r.before-r.bytes-b.MaxSize)
	}
	return r
}

// TestPlanKeeps holds that an output which is named or used after the decision stays, and
// one that was never added.
func TestPlanKeeps(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	old := now.Add(-10 * time.Hour)
	p := buildcache.NewPlan(buildcache.Bounds{MaxAge: time.Hour, MinAge: buildcache.MinAge}, now)
	p.AddOutput(buildcache.ID{1}, 1, old)
	p.AddOutput(buildcache.ID{2}, 1, old)
	p.AddAction(buildcache.ID{3}, buildcache.ID{1}, old)
	p.Decide()
	p.Keep(buildcache.ID{2})
	p.Keep(buildcache.ID{9})
	for what, c := range map[string]struct {
		id   buildcache.ID
		used time.Time
		want bool
	}{
		"planned": {buildcache.ID{1}, old, true}, "used since": {buildcache.ID{1}, now, false},
		"named since": {buildcache.ID{2}, old, false}, "not added": {buildcache.ID{9}, old, false},
	} {
		if got := p.RemovesOutput(c.id, c.used); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if !p.RemovesAction(buildcache.ID{3}, old) || p.RemovesAction(buildcache.ID{3}, now) {
		t.Error("an entry goes by its last use")
	}
}

// TestPlanMemory holds what a plan takes for each output; entries take nothing.
func TestPlanMemory(t *testing.T) {
	const outputs = 1 << 18
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	now := time.Unix(1_800_000_000, 0)
	before := heap()
	p := buildcache.NewPlan(buildcache.Bounds{MaxSize: 1, MinAge: buildcache.MinAge}, now)
	id := func(i int) (id buildcache.ID) {
		binary.BigEndian.PutUint32(id[:], uint32(i)<<14) //nolint:gosec // less than 2^18
		return id
	}
	for i := range outputs {
		p.AddOutput(id(i), 1, now)
	}
	for i := range 2 * outputs {
		p.AddAction(id(i), id(i/2), now)
	}
	p.Decide()
	each := float64(heap()-before) / outputs
	runtime.KeepAlive(p)
	if each > 36 {
		t.Errorf("%.1f bytes for each output, of which the plan itself is %d in all", each, unsafe.Sizeof(*p))
	}
}
