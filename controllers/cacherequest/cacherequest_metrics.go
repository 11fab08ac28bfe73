package cacherequest

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/plan/request"
)

// unfinished is not exported for each CacheRequest: their names are used once.
var unfinished = prometheus.NewDesc("gocache_requests_unfinished",
	"CacheRequests that are not finished, by action.",
	[]string{"namespace", "action"}, nil)

var finished = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "gocache_requests_total", Help: "CacheRequests that were finished, by action and outcome.",
}, []string{"action", "outcome"})

func init() {
	metrics.Registry.MustRegister(finished)
	gauges.Zero(finished.MetricVec, []string{
		string(v1alpha1.RequestWarmUp), string(v1alpha1.RequestCheckIntegrity), string(v1alpha1.RequestCleanup), string(v1alpha1.RequestApproveCleanup), string(v1alpha1.RequestSnapshot),
		string(v1alpha1.RequestRollback), string(v1alpha1.RequestReportFailure), string(v1alpha1.RequestFailover), string(v1alpha1.RequestFailback), string(v1alpha1.RequestReinstate),
	}, []string{string(v1alpha1.RequestSucceeded), string(v1alpha1.RequestFailed), string(v1alpha1.RequestRefused)})
}

// Gauges of all CacheRequests.
func Gauges() gauges.Part {
	return gauges.Part{Metrics: []*prometheus.Desc{unfinished}, Collect: collect}
}

func collect(ctx context.Context, r client.Reader, emit gauges.Emit) error {
	var all v1alpha1.CacheRequestList
	if err := r.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list CacheRequests for their gauges: %w", err)
	}
	type group struct{ namespace, action string }
	counts := map[group]int{}
	for i := range all.Items {
		if q := &all.Items[i]; !request.Finished(q) {
			counts[group{q.Namespace, string(q.Spec.Action)}]++
		}
	}
	for g, n := range counts {
		emit(unfinished, float64(n), g.namespace, g.action)
	}
	return nil
}

// count records a request that was finished in this pass.
func count(before, after *v1alpha1.CacheRequest) {
	if request.Finished(after) && !request.Finished(before) {
		finished.WithLabelValues(string(after.Spec.Action), string(after.Status.Outcome)).Inc()
	}
}
