package pushes

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/internal/kube/gauges"
)

// requests has no namespace in its labels: every request could otherwise make a
// series.
var requests = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "gocache_push_webhook_requests_total",
	Help: "Requests to the receiver of push webhooks, by outcome: Accepted, Unproven, UnknownPath, NotPost, RateLimited, TooLarge, Incomplete or NotReady.",
}, []string{"outcome"})

func init() {
	metrics.Registry.MustRegister(requests)
	gauges.Zero(requests.MetricVec, []string{
		accepted.name, unproven.name, unknown.name, noPost.name, limited.name, tooLarge.name, incomplete.name, notReady.name,
	})
}
