package populator

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// unpopulatedClaims counts PVCs that asked for a cache and were bound to a
// volume that holds none. Each PVC is counted once in a process's life.
var unpopulatedClaims = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "gocache_unpopulated_claims_total",
	Help: "PVCs that name a cache as their source and were bound to a volume that was not cloned from it.",
}, []string{"namespace"})

func init() {
	metrics.Registry.MustRegister(unpopulatedClaims)
}
