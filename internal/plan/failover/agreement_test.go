package failover_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"gocache.dev/operator/internal/plan/failover"
)

// TestCompare: the wrong instance is determined by trust first, then by the agreed
// sums, then by the majority of three; of two neither is.
func TestCompare(t *testing.T) {
	const p, f, u = failover.Passed, failover.Failed, failover.Unknown
	type outcomes map[string]failover.Outcome
	x, y, z := failover.Sums{Zip: "h1:x", Mod: "h1:m"}, failover.Sums{Zip: "h1:y", Mod: "h1:m"}, failover.Sums{Zip: "h1:x", Mod: "h1:n"}
	type sums = map[string]failover.Sums
	for name, tt := range map[string]struct {
		served failover.Served
		want   outcomes
		text   string // of blue; empty: it agrees
	}{
		"they agree":                         {failover.Served{Sums: sums{"blue": x, "green": x}}, outcomes{"blue": p, "green": p}, ""},
		"they agree against what was agreed": {failover.Served{Sums: sums{"blue": y, "green": y}, Agreed: x}, outcomes{"blue": p, "green": p}, ""},
		"nobody to compare with":             {failover.Served{Sums: sums{"blue": x}, Pinned: y}, outcomes{}, ""},
		"two, and nobody knows":              {failover.Served{Sums: sums{"blue": x, "green": y}}, outcomes{"blue": u, "green": u}, "the correct one is unknown"},
		"the go.mod differs":                 {failover.Served{Sums: sums{"blue": x, "green": z}}, outcomes{"blue": u, "green": u}, "h1:n"},
		"two, and one had agreed":            {failover.Served{Sums: sums{"blue": y, "green": x}, Agreed: x}, outcomes{"blue": f, "green": p}, "blue contradicts what all instances had agreed on"},
		"a person's word beats an agreement": {failover.Served{Sums: sums{"blue": y, "green": x}, Agreed: y, Pinned: failover.Sums{Zip: "h1:x"}}, outcomes{"blue": f, "green": p}, "blue contradicts the sums in spec"},
		"nobody serves what was agreed":      {failover.Served{Sums: sums{"blue": y, "green": z}, Agreed: x}, outcomes{"blue": u, "green": u}, "the correct one is unknown"},
		"two against one":                    {failover.Served{Sums: sums{"blue": y, "green": x, "red": x}}, outcomes{"blue": f, "green": p, "red": p}, "blue contradicts the majority"},
		"an agreement beats two":             {failover.Served{Sums: sums{"blue": y, "green": x, "red": x}, Agreed: y}, outcomes{"blue": p, "green": f, "red": f}, "green, red contradicts what"},
		"two against two":                    {failover.Served{Sums: sums{"blue": y, "green": x, "red": x, "grey": y}}, outcomes{"blue": u, "green": u, "red": u, "grey": u}, "the correct one is unknown"},
		"three of three":                     {failover.Served{Sums: sums{"blue": y, "green": x, "red": z}}, outcomes{"blue": u, "green": u, "red": u}, "the correct one is unknown"},
	} {
		tt.served.Module = "example.com/c@v1.0.0"
		got := failover.Compare([]failover.Served{tt.served})
		if !reflect.DeepEqual(got.Outcomes, map[string]failover.Outcome(tt.want)) {
			t.Errorf("%s: outcomes %v, want %v", name, got.Outcomes, tt.want)
		}
		if text := got.Differences["blue"]; (text == "") != (tt.text == "") || !strings.Contains(text, tt.text) {
			t.Errorf("%s: %q, want %q", name, text, tt.text)
		}
		if _, agreed := got.Agreed[tt.served.Module]; agreed != (tt.text == "" && len(tt.want) > 0) {
			t.Errorf("%s: agreed on %v", name, got.Agreed)
		}
	}
}

// TestCompareMany: one difference counts among many agreements, in any order.
func TestCompareMany(t *testing.T) {
	x, y := failover.Sums{Zip: "h1:x"}, failover.Sums{Zip: "h1:y"}
	same := failover.Served{Module: "a@v1.0.0", Sums: map[string]failover.Sums{"blue": x, "green": x}}
	differ := failover.Served{Module: "b@v1.0.0", Sums: map[string]failover.Sums{"blue": y, "green": x}, Agreed: x}
	for _, all := range [][]failover.Served{{same, differ}, {differ, same}, {differ, differ, same}} {
		got := failover.Compare(all)
		if got.Outcomes["blue"] != failover.Failed || got.Outcomes["green"] != failover.Passed || got.Differences["blue"] == "" {
			t.Errorf("%+v", got)
		}
	}
}

// TestCompareNeverFailsAll holds that whatever is served, an instance that serves a
// module is not singled out, and that one that agrees with all is not either.
func TestCompareNeverFailsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	some := func() failover.Sums {
		return []failover.Sums{{}, {Zip: "h1:x"}, {Zip: "h1:x", Mod: "h1:m"}, {Zip: "h1:y", Mod: "h1:m"}}[r.IntN(4)]
	}
	for range 5000 {
		served := failover.Served{Module: "m", Sums: map[string]failover.Sums{}, Pinned: some(), Agreed: some()}
		for i := range r.IntN(8) {
			served.Sums[fmt.Sprint(i)] = failover.Sums{Zip: []string{"h1:x", "h1:y", "h1:z"}[r.IntN(3)], Mod: "h1:m"}
		}
		got := failover.Compare([]failover.Served{served})
		failed := 0
		for name, o := range got.Outcomes {
			if o == failover.Failed {
				failed++
			}
			if o != failover.Passed && got.Differences[name] == "" {
				t.Fatalf("%+v: %s agrees with all and is %v", served, name, o)
			}
		}
		if failed > 0 && failed == len(got.Outcomes) {
			t.Fatalf("%+v: all are singled out: %+v", served, got)
		}
	}
}
