package buildcache_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/domain/buildcache"
)

func TestPlanTrim(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	id := func(n byte) (i buildcache.ID) { i[0] = n; return i }
	hours := func(n int) time.Time { return now.Add(-time.Duration(n) * time.Hour) }
	action := func(n, out byte, age int) buildcache.Aged {
		return buildcache.Aged{Entry: buildcache.Entry{Action: id(n), Output: id(out)}, Used: hours(age)}
	}
	output := func(n byte, size int64, age int) (buildcache.ID, buildcache.Aged) {
		return id(n), buildcache.Aged{Entry: buildcache.Entry{Output: id(n), Size: size}, Used: hours(age)}
	}
	outputs := map[buildcache.ID]buildcache.Aged{}
	for _, o := range []struct {
		n    byte
		size int64
		age  int
	}{{100, 10, 50}, {101, 20, 50}, {102, 40, 1}, {103, 80, 9}, {104, 5, 1}, {105, 7, 9}} {
		k, v := output(o.n, o.size, o.age)
		outputs[k] = v
	}
	actions := func() []buildcache.Aged {
		return []buildcache.Aged{
			action(1, 100, 50), action(2, 101, 40), action(3, 101, 5), action(4, 102, 1), action(5, 103, 9), action(6, 99, 30),
		}
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
		"size": {
			buildcache.Bounds{MaxSize: 146, MinAge: buildcache.MinAge},
			[]buildcache.ID{id(1)}, []buildcache.ID{id(100), id(105)}, 17, 0,
		},
		"the young stay": {
			buildcache.Bounds{MaxSize: 1, MinAge: buildcache.MinAge},
			[]buildcache.ID{id(1), id(2), id(6), id(5), id(3)}, []buildcache.ID{id(100), id(101), id(103), id(105)}, 117, 44,
		},
		"what was used lately stays": {
			buildcache.Bounds{MaxSize: 1, MaxAge: 3 * time.Hour, MinAge: buildcache.MinAge, KeepSince: hours(40)},
			[]buildcache.ID{id(1)}, []buildcache.ID{id(100)}, 10, 151,
		},
	} {
		p := buildcache.PlanTrim(actions(), outputs, c.bounds, now)
		if diff := cmp.Diff(c.actions, p.Actions); diff != "" {
			t.Errorf("%s: actions:\n%s", name, diff)
		}
		if diff := cmp.Diff(c.outputs, p.Outputs); diff != "" {
			t.Errorf("%s: outputs:\n%s", name, diff)
		}
		if p.Bytes != c.bytes || p.Before != 162 || p.Over != c.over {
			t.Errorf("%s: %d of %d bytes, %d over, want %d of 162, %d over", name, p.Bytes, p.Before, p.Over, c.bytes, c.over)
		}
	}
}

func TestPlanDigest(t *testing.T) {
	a := buildcache.Plan{Actions: []buildcache.ID{{1}, {2}}, Outputs: []buildcache.ID{{3}}}
	b := buildcache.Plan{Actions: []buildcache.ID{{2}, {1}}, Outputs: []buildcache.ID{{3}}}
	c := buildcache.Plan{Actions: []buildcache.ID{{2}, {1}, {3}}}
	if a.Digest() != b.Digest() || a.Digest() == c.Digest() {
		t.Error("a digest is of what is planned, in any order")
	}
}
