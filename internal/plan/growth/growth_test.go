package growth_test

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/internal/plan/growth"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func q(s string) resource.Quantity { return resource.MustParse(s) }

func TestDecide(t *testing.T) {
	full := growth.Observation{
		Now: noon, UsedPercent: 85, Step: q("10Gi"), Limit: q("100Gi"), Requested: q("50Gi"), Capacity: q("50Gi"),
		Used: ptr.To[int32](85), Measured: ptr.To(q("50Gi")),
	}
	with := func(change func(*growth.Observation)) growth.Observation {
		f := full
		change(&f)
		return f
	}
	for name, tt := range map[string]struct {
		observation growth.Observation
		state       growth.State
		size        string
		wake        time.Duration
	}{
		"full":                      {full, growth.Grow, "60Gi", 0},
		"not full":                  {with(func(f *growth.Observation) { f.Used = ptr.To[int32](84) }), growth.Enough, "", 0},
		"not measured":              {with(func(f *growth.Observation) { f.Used, f.Measured = nil, nil }), growth.Unmeasured, "", 0},
		"measured when it was less": {with(func(f *growth.Observation) { f.Measured = ptr.To(q("40Gi")) }), growth.Unmeasured, "", 0},
		"growing":                   {with(func(f *growth.Observation) { f.Requested = q("60Gi") }), growth.Growing, "", 0},
		"near the limit":            {with(func(f *growth.Observation) { f.Limit = q("55Gi") }), growth.Grow, "55Gi", 0},
		"at the limit":              {with(func(f *growth.Observation) { f.Limit = q("50Gi") }), growth.AtLimit, "", 0},
		"beyond the limit":          {with(func(f *growth.Observation) { f.Limit = q("40Gi") }), growth.AtLimit, "", 0},
		"the driver gave more":      {with(func(f *growth.Observation) { f.Requested = q("45Gi") }), growth.Grow, "60Gi", 0},
		"refused just now":          {with(func(f *growth.Observation) { f.RefusedAt, f.RefusedSize = noon, q("60Gi") }), growth.Refused, "", growth.Pause},
		"refused an hour ago":       {with(func(f *growth.Observation) { f.RefusedAt, f.RefusedSize = noon.Add(-growth.Pause), q("60Gi") }), growth.Grow, "60Gi", 0},
		"few inodes left":           {with(func(f *growth.Observation) { f.Used, f.InodesUsed, f.Inodes = ptr.To[int32](30), 85, 100 }), growth.Grow, "60Gi", 0},
		"enough inodes left":        {with(func(f *growth.Observation) { f.Used, f.InodesUsed, f.Inodes = ptr.To[int32](30), 84, 100 }), growth.Enough, "", 0},
		"no fixed number of inodes": {with(func(f *growth.Observation) { f.Used, f.InodesUsed = ptr.To[int32](30), 84 }), growth.Enough, "", 0},
		"growth has added inodes": {with(func(f *growth.Observation) {
			f.Used, f.InodesUsed, f.Inodes, f.GrownInodes = ptr.To[int32](30), 110, 120, 100
		}), growth.Grow, "60Gi", 0},
		"growth has added no inodes": {with(func(f *growth.Observation) {
			f.Used, f.InodesUsed, f.Inodes, f.GrownInodes = ptr.To[int32](30), 90, 100, 100
		}), growth.OutOfInodes, "", 0},
		"growth has added bytes, and they are used": {with(func(f *growth.Observation) { f.InodesUsed, f.Inodes, f.GrownInodes = 90, 100, 100 }), growth.Grow, "60Gi", 0},
		"refused, the step is less now":             {with(func(f *growth.Observation) { f.RefusedAt, f.RefusedSize, f.Step = noon, q("60Gi"), q("5Gi") }), growth.Grow, "55Gi", 0},
	} {
		d := growth.Decide(tt.observation)
		if d.State != tt.state || tt.size != "" && d.Size.Cmp(q(tt.size)) != 0 {
			t.Errorf("%s: %s %s, want %s %s", name, d.State, d.Size.String(), tt.state, tt.size)
		}
		if tt.wake > 0 != !d.Wake.IsZero() || tt.wake > 0 && !d.Wake.Equal(noon.Add(tt.wake)) {
			t.Errorf("%s: wakes at %s", name, d.Wake)
		}
	}
}

func TestUsedPercent(t *testing.T) {
	for _, tt := range []struct {
		used, available int64
		want            string
	}{{0, 100, "0"}, {1, 999, "1"}, {85, 15, "85"}, {851, 149, "86"}, {100, 0, "100"}, {0, 0, "none"}, {-1, 5, "none"}, {1 << 60, 1 << 60, "50"}} {
		got := "none"
		if p := growth.UsedPercent(tt.used, tt.available); p != nil {
			got = fmt.Sprint(*p)
		}
		if got != tt.want {
			t.Errorf("%d used, %d available: %s, want %s", tt.used, tt.available, got, tt.want)
		}
	}
}

// TestGrowth lets PVCs fill up at random, with drivers that are slow, give
// more than was asked for, or are refused, and holds that a PVC never shrinks,
// is never asked for more than its limit, grows once per measurement, and never
// stays full for long while it may grow.
func TestGrowth(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed)) //nolint:gosec // a repeatable simulation
		f := growth.Observation{UsedPercent: 85, Step: q("7Gi"), Limit: q("100Gi"), Requested: q("20Gi"), Capacity: q("20Gi"), Now: noon}
		used, grown, fullFor := q("1Gi"), 0, 0
		for range 500 {
			f.Now = f.Now.Add(10 * time.Minute)
			if r.Intn(3) == 0 { // a run fills, and measures
				used.Add(*resource.NewQuantity(r.Int63n(1<<30), resource.BinarySI))
				if used.Cmp(f.Capacity) > 0 {
					used = f.Capacity.DeepCopy()
				}
				f.Used = growth.UsedPercent(used.Value(), f.Capacity.Value()-used.Value())
				f.Measured = ptr.To(f.Capacity.DeepCopy())
				grown = 0
			}
			if f.Requested.Cmp(f.Capacity) > 0 && r.Intn(3) == 0 {
				f.Capacity = f.Requested.DeepCopy()
				if r.Intn(4) == 0 {
					f.Capacity.Add(q("1Mi"))
				}
			}
			d := growth.Decide(f)
			if fullFor++; f.Used == nil || *f.Used < 85 || d.State != growth.Enough && d.State != growth.Refused {
				fullFor = 0
			}
			if fullFor > 7 {
				t.Fatalf("seed %d: %s though full: %+v", seed, d.State, f)
			}
			if d.State != growth.Grow {
				continue
			}
			if d.Size.Cmp(f.Capacity) <= 0 || d.Size.Cmp(f.Limit) > 0 {
				t.Fatalf("seed %d: asked for %s with capacity %s and limit %s", seed, d.Size.String(), f.Capacity.String(), f.Limit.String())
			}
			if r.Intn(5) == 0 {
				f.RefusedAt, f.RefusedSize = f.Now, d.Size
				continue
			}
			if grown++; grown > 1 {
				t.Fatalf("seed %d: grew twice on one measurement", seed)
			}
			f.Requested, f.RefusedAt = d.Size, time.Time{}
		}
	}
}

// TestMeasuredOf holds what counts as used of a volume, by the size of its file system.
func TestMeasuredOf(t *testing.T) {
	const gib = int64(1) << 30
	own := growth.Measured{Used: gib / 2, Available: gib / 4, Capacity: gib * 9 / 10, Tree: gib / 3, Inodes: 100, InodesUsed: 50}
	rounded := own
	rounded.Capacity = gib + gib/20
	unwalked := growth.Measured{Used: 20 * gib, Available: 30 * gib, Capacity: 50 * gib}
	for name, tt := range map[string]struct {
		measured, want growth.Measured
	}{
		"its own":           {own, own},
		"rounded up":        {rounded, rounded},
		"measured by none":  {growth.Measured{}, growth.Measured{}},
		"shared, no walk":   {unwalked, unwalked},
		"shared":            {growth.Measured{Used: 20 * gib, Available: 30 * gib, Capacity: 50 * gib, Tree: gib / 4, Inodes: 9, InodesUsed: 8}, growth.Measured{Used: gib / 4, Available: gib * 3 / 4, Capacity: gib, Tree: gib / 4}},
		"shared, and full":  {growth.Measured{Used: 50 * gib, Capacity: 50 * gib, Tree: gib / 4}, growth.Measured{Used: gib / 4, Capacity: gib, Tree: gib / 4}},
		"more than its own": {growth.Measured{Used: 20 * gib, Available: 30 * gib, Capacity: 50 * gib, Tree: 2 * gib}, growth.Measured{Used: 2 * gib, Capacity: gib, Tree: 2 * gib}},
	} {
		if got := tt.measured.Of(gib); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	if got := own.Of(0); got != own {
		t.Errorf("without a size: %+v", got)
	}
}
