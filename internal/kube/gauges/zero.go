package gauges

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"gocache.dev/operator/api/v1alpha1"
)

// The values of labels that several kinds have.
var (
	Verdicts = []string{string(v1alpha1.VerdictIntact), string(v1alpha1.VerdictCorrupt), string(v1alpha1.VerdictInconclusive)}
	// RunOutcomes are those of warm-ups and cleanups.
	RunOutcomes = []string{string(v1alpha1.RunSucceeded), string(v1alpha1.RunFailed), string(v1alpha1.RunInconclusive)}
	// WorkOutcomes are those of the Jobs on clones.
	WorkOutcomes = []string{string(v1alpha1.WorkSucceeded), string(v1alpha1.WorkFailed), string(v1alpha1.WorkInconclusive)}
	// SnapshotSources are the kinds that CacheSnapshots are made of.
	SnapshotSources = []string{v1alpha1.GoCacheKind, v1alpha1.ModProxyKind}
)

// Zero exports the series of a counter or histogram before their first event, one
// for each combination of the values of its labels, which are in the order of the
// labels. rate() and increase() of Prometheus compare with the value before, so
// that they miss the first event of a series that it begins. The values are fixed:
// Zero panics where their number is not that of the labels.
func Zero(vec *prometheus.MetricVec, values ...[]string) {
	combinations := [][]string{nil}
	for _, all := range values {
		var longer [][]string
		for _, c := range combinations {
			for _, v := range all {
				longer = append(longer, append(append([]string(nil), c...), v))
			}
		}
		combinations = longer
	}
	for _, c := range combinations {
		if _, err := vec.GetMetricWithLabelValues(c...); err != nil {
			panic(fmt.Sprintf("export a metric with the labels %v: %v", c, err))
		}
	}
}
