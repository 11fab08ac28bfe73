package gauges_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gocache.dev/operator/internal/kube/gauges"
)

// TestZero holds that a series of each combination of values is there before the first
// event, and that a number of values which is not that of the labels is a defect.
func TestZero(t *testing.T) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "test_total", Help: "x"}, []string{"kind", "outcome"})
	gauges.Zero(counter.MetricVec, []string{"a", "b"}, []string{"c", "d"})
	want := `
# HELP test_total x
# TYPE test_total counter
test_total{kind="a",outcome="c"} 0
test_total{kind="a",outcome="d"} 0
test_total{kind="b",outcome="c"} 0
test_total{kind="b",outcome="d"} 0
`
	if err := testutil.CollectAndCompare(counter, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("values of a label that does not exist are accepted")
		}
	}()
	gauges.Zero(counter.MetricVec, []string{"a"})
}
