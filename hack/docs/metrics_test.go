package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// TestMetricsLint checks the names and texts of the metrics of all programs, as the
// reference has them, by the rules of Prometheus.
func TestMetricsLint(t *testing.T) {
	kinds := map[string]dto.MetricType{"gauge": dto.MetricType_GAUGE, "counter": dto.MetricType_COUNTER, "histogram": dto.MetricType_HISTOGRAM}
	var families []*dto.MetricFamily
	for _, m := range regexp.MustCompile("(?m)^\\| `(gocache_[a-z_]+)` \\| ([a-z]+) \\| .*? \\| .*? \\| (.*) \\|$").FindAllStringSubmatch(read(t, "docs/reference/metrics.md"), -1) {
		kind, ok := kinds[m[2]]
		if !ok {
			t.Errorf("%s is a %s", m[1], m[2])
		}
		families = append(families, &dto.MetricFamily{Name: &m[1], Type: &kind, Help: &m[3]})
	}
	if len(families) < 50 {
		t.Fatalf("found %d metrics", len(families))
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetricsToSee holds that the table of what to see names metrics that exist.
func TestMetricsToSee(t *testing.T) {
	guide, reference, found := strings.Cut(read(t, "docs/reference/metrics.md"), "<!-- generated: metrics -->")
	names := regexp.MustCompile(`gocache_[a-z_]+`).FindAllString(guide, -1)
	if !found || len(names) < 30 {
		t.Fatalf("found %d names of metrics", len(names))
	}
	for _, name := range names {
		if !strings.Contains(reference, "| `"+strings.TrimSuffix(name, "_count")+"` |") {
			t.Errorf("there is no metric %s", name)
		}
	}
}
