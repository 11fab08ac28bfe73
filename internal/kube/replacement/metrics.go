package replacement

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
)

var durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name: "gocache_volume_replacement_duration_seconds", Help: "Duration of volume replacements, by kind of the owner, reason and result (Succeeded or Failed).",
	Buckets: prometheus.ExponentialBuckets(5, 3, 8),
}, []string{"kind", "reason", "result"})

func init() { metrics.Registry.MustRegister(durations) }

// Count records a volume replacement that has ended between two statuses of its
// owner, which is of a kind.
func Count(kind string, before, after *v1alpha1.VolumeReplacementResult) {
	if after == nil || before != nil && before.CompletionTime.Equal(&after.CompletionTime) {
		return
	}
	result := "Succeeded"
	if after.Failure != "" {
		result = "Failed"
	}
	durations.WithLabelValues(kind, string(after.Reason), result).Observe(after.CompletionTime.Sub(after.StartTime.Time).Seconds())
}
