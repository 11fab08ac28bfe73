package replacement

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
)

// The results of a volume replacement.
const succeeded, failed = "Succeeded", "Failed"

var durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name: "gocache_volume_replacement_duration_seconds", Help: "Duration of volume replacements, by kind of the owner, reason and result (Succeeded or Failed).",
	Buckets: prometheus.ExponentialBuckets(5, 3, 8),
}, []string{"kind", "reason", "result"})

func init() {
	metrics.Registry.MustRegister(durations)
	gauges.Zero(durations.MetricVec, gauges.SnapshotSources, []string{
		string(v1alpha1.ReplacementRestore), string(v1alpha1.ReplacementRequestedRollback),
		string(v1alpha1.ReplacementRollback), string(v1alpha1.ReplacementMigration),
	}, []string{succeeded, failed})
}

// Count records a volume replacement that has ended between two statuses of its
// owner, which is of a kind.
func Count(kind string, before, after *v1alpha1.VolumeReplacementResult) {
	if after == nil || before != nil && before.CompletionTime.Equal(&after.CompletionTime) {
		return
	}
	result := succeeded
	if after.Failure != "" {
		result = failed
	}
	durations.WithLabelValues(kind, string(after.Reason), result).Observe(after.CompletionTime.Sub(after.StartTime.Time).Seconds())
}
