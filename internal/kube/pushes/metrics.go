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

// refused counts connections, which have no outcome of their own: nothing of
// them is read.
var refused = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "gocache_push_webhook_refused_connections_total",
	Help: "Connections to the receiver of push webhooks that were closed because their address has 64 open ones.",
})

func init() {
	metrics.Registry.MustRegister(requests, refused)
	gauges.Zero(requests.MetricVec, []string{
		accepted.name, unproven.name, unknown.name, noPost.name, limited.name, tooLarge.name, incomplete.name, notReady.name,
	})
}
