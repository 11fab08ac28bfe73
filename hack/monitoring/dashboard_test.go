package monitoring

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

var update = flag.Bool("update", false, "write config/prometheus/dashboard.json")

// TestDashboard holds that the dashboard in the repository is the one of the source.
func TestDashboard(t *testing.T) {
	t.Parallel()
	want, err := Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "config/prometheus/dashboard.json")
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != string(want) {
		t.Errorf("%s is not what dashboard.go makes: run go test . -update in hack/monitoring (%v)", file, err)
	}
}

// TestQueries holds that the panels use metrics of the reference, with their labels.
func TestQueries(t *testing.T) {
	t.Parallel()
	for _, row := range rows {
		for _, p := range row.panels {
			for _, q := range p.queries {
				expr, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(q.expr, "$namespace", "ci"))
				if err != nil {
					t.Errorf("%s: %v", p.title, err)
					continue
				}
				exist(t, p.title, expr)
			}
		}
	}
}

// TestFirstEvent holds that a panel shows also the first event of a counter that was
// not there before, as long as its window reaches back to it.
func TestFirstEvent(t *testing.T) {
	t.Parallel()
	expr := "sum by (reason) (" + sinceFirst("gocache_warnings_total", "1h") + ")"
	promqltest.RunTest(t, fmt.Sprintf(`
load 1m
	gocache_warnings_total{kind="GoCache",reason="First"} _x5 1x200
	gocache_warnings_total{kind="GoCache",reason="Old"} 1x200

eval instant at 10m %[1]s
	{reason="First"} 1
	{reason="Old"} 1

eval instant at 64m %[1]s
	{reason="First"} 1

eval instant at 120m %[1]s
`, expr), promqltest.NewTestEngine(t, false, 0, 10_000))
}

// TestReportedShare holds that each build has a share of its own, of its hits and misses,
// and that a cache for which nothing was reported has none.
func TestReportedShare(t *testing.T) {
	t.Parallel()
	promqltest.RunTest(t, fmt.Sprintf(`
load 1m
	gocache_cache_reported_hits{namespace="ci",name="ci",build="billing/test"} 300x5
	gocache_cache_reported_misses{namespace="ci",name="ci",build="billing/test"} 100x5
	gocache_cache_reported_hits{namespace="ci",name="ci",build=""} 0x5
	gocache_cache_reported_misses{namespace="ci",name="ci",build=""} 7x5
	gocache_cache_reported_hits{namespace="other",name="ci",build=""} 5x5
	gocache_cache_reported_misses{namespace="other",name="ci",build=""} 0x5

eval instant at 1m %s
	{namespace="ci",name="ci",build="billing/test"} 0.75
	{namespace="ci",name="ci"} 0
`, reportedShare(`namespace=~"ci"`)), promqltest.NewTestEngine(t, false, 0, 10_000))
}
