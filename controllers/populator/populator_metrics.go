package populator

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/plan/populate"
)

// The PVCs that wait for a clone.
var (
	waitingPVCs = gauges.NewMetric("gocache_consumer_pvcs_waiting",
		"PVCs that wait for a clone, by the source that they name and the state that the last event on them explains.",
		[]string{"namespace", "source_kind", "source", "state"})
	waitingSince = gauges.NewMetric("gocache_consumer_pvcs_waiting_since_timestamp_seconds",
		"When the oldest of the PVCs that wait for a clone was created.",
		[]string{"namespace", "source_kind", "source", "state"})
)

var (
	// unpopulatedPVCs counts PVCs that asked for a cache and were bound to a
	// volume that holds none. Each PVC is counted once in a process's life.
	unpopulatedPVCs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_unpopulated_pvcs_total",
		Help: "PVCs that name a cache as their source and were bound to a volume that was not cloned from it, or whose annotations are those of a consumer and that name no source.",
	}, []string{"namespace"})
	// pooledPVCs counts PVCs that name a cache with a pool. Without the name of the cache:
	// a series stays for ever, and caches come and go.
	pooledPVCs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_pool_requests_total",
		Help: "PVCs that name a GoCache with a pool, by result: Hit, a volume of the pool was given to them; Miss, a clone was begun for them, since no volume of the pool was ready and suited them.",
	}, []string{"namespace", "result"})
	clones = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gocache_clone_duration_seconds", Help: "Time from the request for a clone to the CSI driver until its volume was given to the consumer's PVC, by kind of the source.",
		Buckets: prometheus.ExponentialBuckets(0.5, 2, 11),
	}, []string{"source_kind"})
)

func init() {
	metrics.Registry.MustRegister(unpopulatedPVCs, pooledPVCs, clones)
	gauges.Zero(clones.MetricVec, []string{v1alpha1.GoCacheKind, v1alpha1.CacheSnapshotKind})
}

// Gauges of all PVCs that wait for a clone. They are those that the populator has
// seen since it was started: it sees all of them once it leads.
func (r *Reconciler) Gauges() gauges.Part {
	return gauges.Part{
		Metrics: []*gauges.Metric{waitingPVCs, waitingSince},
		Collect: func(_ context.Context, _ gauges.Objects, emit gauges.Emit) error {
			r.waits.emit(emit)
			return nil
		},
	}
}

// handedOver records a clone whose volume was given to a consumer's PVC.
func handedOver(s *scope) {
	clones.WithLabelValues(s.claim.Spec.DataSourceRef.Kind).Observe(s.now.Sub(s.intermediate.CreationTimestamp.Time).Seconds())
}

// The results of a PVC that names a GoCache with a pool.
const (
	hit  = "Hit"
	miss = "Miss"
)

// countPool counts what a PVC got of the pool of its cache, if that has one.
func countPool(s *scope, result string) {
	if s.cache != nil && s.cache.Spec.Pool != nil {
		pooledPVCs.WithLabelValues(s.cache.Namespace, result).Inc()
	}
}

// waits remembers the PVCs that wait for a clone. It is lost with the process, and
// complete again after one pass over each PVC.
type waits struct {
	mu  sync.Mutex
	all map[types.NamespacedName]waiter
}

// waiter is what one PVC waits for.
type waiter struct {
	kind, source string
	state        populate.State
	created      metav1.Time
}

// isWaiting reports whether a PVC in a state waits for a clone. One that has its
// volume, or that no clone is made for, does not.
func (s *scope) isWaiting(state populate.State) bool {
	switch state { //nolint:exhaustive // in all other states it waits
	case populate.Deleting, populate.Lost, populate.Preset, populate.Populated, populate.Unpopulated:
		return false
	}
	return s.claim.Status.Phase != corev1.ClaimBound
}

// observed records the state of a PVC after a pass.
func (w *waits) observed(s *scope, state populate.State) {
	key := client.ObjectKeyFromObject(s.claim)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !s.isWaiting(state) {
		delete(w.all, key)
		return
	}
	if w.all == nil {
		w.all = map[types.NamespacedName]waiter{}
	}
	ref := s.claim.Spec.DataSourceRef
	w.all[key] = waiter{kind: ref.Kind, source: ref.Name, state: state, created: s.claim.CreationTimestamp}
}

// forget drops a PVC that is gone.
func (w *waits) forget(claim types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, claim)
}

func (w *waits) emit(emit gauges.Emit) {
	type group struct {
		namespace, kind, source string
		state                   populate.State
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	counts, oldest := map[group]int{}, map[group]metav1.Time{}
	for key, one := range w.all {
		g := group{key.Namespace, one.kind, one.source, one.state}
		counts[g]++
		if first, ok := oldest[g]; !ok || one.created.Before(&first) {
			oldest[g] = one.created
		}
	}
	for g, n := range counts {
		emit(waitingPVCs, float64(n), g.namespace, g.kind, g.source, string(g.state))
		since := oldest[g]
		emit.Time(waitingSince, &since, g.namespace, g.kind, g.source, string(g.state))
	}
}
