package failover_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"gocache.dev/operator/internal/plan/failover"
)

// TestCompare: who is wrong is told by trust first, then by what was agreed on,
// then by the majority of three; of two nobody is.
func TestCompare(t *testing.T) {
	const p, f, u = failover.Passed, failover.Failed, failover.Unknown
	type outcomes map[string]failover.Outcome
	x, y, z := failover.Sums{Zip: "h1:x", Mod: "h1:m"}, failover.Sums{Zip: "h1:y", Mod: "h1:m"}, failover.Sums{Zip: "h1:x", Mod: "h1:n"}
	type sums = map[string]failover.Sums
	for name, tt := range map[string]struct {
		told failover.Told
		want outcomes
		says string // of blue; empty: it agrees
	}{
		"they agree":                         {failover.Told{Sums: sums{"blue": x, "green": x}}, outcomes{"blue": p, "green": p}, ""},
		"they agree against what was agreed": {failover.Told{Sums: sums{"blue": y, "green": y}, Agreed: x}, outcomes{"blue": p, "green": p}, ""},
		"nobody to compare with":             {failover.Told{Sums: sums{"blue": x}, Pinned: y}, outcomes{}, ""},
		"two, and nobody knows":              {failover.Told{Sums: sums{"blue": x, "green": y}}, outcomes{"blue": u, "green": u}, "nobody can say which is right"},
		"the go.mod differs":                 {failover.Told{Sums: sums{"blue": x, "green": z}}, outcomes{"blue": u, "green": u}, "h1:n"},
		"two, and one had agreed":            {failover.Told{Sums: sums{"blue": y, "green": x}, Agreed: x}, outcomes{"blue": f, "green": p}, "blue contradicts what all instances had agreed on"},
		"a person's word beats an agreement": {failover.Told{Sums: sums{"blue": y, "green": x}, Agreed: y, Pinned: failover.Sums{Zip: "h1:x"}}, outcomes{"blue": f, "green": p}, "blue contradicts the sums in spec"},
		"nobody serves what was agreed":      {failover.Told{Sums: sums{"blue": y, "green": z}, Agreed: x}, outcomes{"blue": u, "green": u}, "nobody can say"},
		"two against one":                    {failover.Told{Sums: sums{"blue": y, "green": x, "red": x}}, outcomes{"blue": f, "green": p, "red": p}, "blue contradicts the majority"},
		"an agreement beats two":             {failover.Told{Sums: sums{"blue": y, "green": x, "red": x}, Agreed: y}, outcomes{"blue": p, "green": f, "red": f}, "green, red contradicts what"},
		"two against two":                    {failover.Told{Sums: sums{"blue": y, "green": x, "red": x, "grey": y}}, outcomes{"blue": u, "green": u, "red": u, "grey": u}, "nobody can say"},
		"three of three":                     {failover.Told{Sums: sums{"blue": y, "green": x, "red": z}}, outcomes{"blue": u, "green": u, "red": u}, "nobody can say"},
	} {
		tt.told.Module = "example.com/c@v1.0.0"
		got := failover.Compare([]failover.Told{tt.told})
		if !reflect.DeepEqual(got.Outcomes, map[string]failover.Outcome(tt.want)) {
			t.Errorf("%s: outcomes %v, want %v", name, got.Outcomes, tt.want)
		}
		if says := got.Differences["blue"]; (says == "") != (tt.says == "") || !strings.Contains(says, tt.says) {
			t.Errorf("%s: %q, want %q", name, says, tt.says)
		}
		if _, agreed := got.Agreed[tt.told.Module]; agreed != (tt.says == "" && len(tt.want) > 0) {
			t.Errorf("%s: agreed on %v", name, got.Agreed)
		}
	}
}

// TestCompareMany: one difference counts among many agreements, in any order.
func TestCompareMany(t *testing.T) {
	x, y := failover.Sums{Zip: "h1:x"}, failover.Sums{Zip: "h1:y"}
	same := failover.Told{Module: "a@v1.0.0", Sums: map[string]failover.Sums{"blue": x, "green": x}}
	differ := failover.Told{Module: "b@v1.0.0", Sums: map[string]failover.Sums{"blue": y, "green": x}, Agreed: x}
	for _, all := range [][]failover.Told{{same, differ}, {differ, same}, {differ, differ, same}} {
		got := failover.Compare(all)
		if got.Outcomes["blue"] != failover.Failed || got.Outcomes["green"] != failover.Passed || got.Differences["blue"] == "" {
			t.Errorf("%+v", got)
		}
	}
}

// TestCompareNeverFailsAll holds that whatever is served, somebody who serves a
// module is not singled out, and that who agrees with all is not either.
func TestCompareNeverFailsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	some := func() failover.Sums {
		return []failover.Sums{{}, {Zip: "h1:x"}, {Zip: "h1:x", Mod: "h1:m"}, {Zip: "h1:y", Mod: "h1:m"}}[r.IntN(4)]
	}
	for range 5000 {
		told := failover.Told{Module: "m", Sums: map[string]failover.Sums{}, Pinned: some(), Agreed: some()}
		for i := range r.IntN(8) {
			told.Sums[fmt.Sprint(i)] = failover.Sums{Zip: []string{"h1:x", "h1:y", "h1:z"}[r.IntN(3)], Mod: "h1:m"}
		}
		got := failover.Compare([]failover.Told{told})
		failed := 0
		for name, o := range got.Outcomes {
			if o == failover.Failed {
				failed++
			}
			if o != failover.Passed && got.Differences[name] == "" {
				t.Fatalf("%+v: %s agrees with all and is %v", told, name, o)
			}
		}
		if failed > 0 && failed == len(got.Outcomes) {
			t.Fatalf("%+v: all are singled out: %+v", told, got)
		}
	}
}
