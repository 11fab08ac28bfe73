package cacherequest

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/plan/buildreport"
	"gocache.dev/operator/internal/plan/request"
)

// unfinished is not exported for each CacheRequest: their names are used once.
var unfinished = gauges.NewMetric("gocache_requests_unfinished",
	"CacheRequests that are not finished, by action.",
	[]string{"namespace", "action"})

// What consumers report of their builds. The label build has the builds of the spec
// alone.
var (
	reportedBuilds = gauges.NewMetric("gocache_cache_reported_builds",
		"Builds with a clone of a GoCache that their consumers reported, while the reports are kept: a day at most, and the newest 1000.",
		[]string{"namespace", "name", "build"})
	reportedHits = gauges.NewMetric("gocache_cache_reported_hits",
		"Packages, or lookups, that came from the cache in the builds that consumers reported.",
		[]string{"namespace", "name", "build"})
	reportedMisses = gauges.NewMetric("gocache_cache_reported_misses",
		"Packages that were compiled, or lookups that were misses, in the builds that consumers reported.",
		[]string{"namespace", "name", "build"})
)

var finished = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "gocache_requests_total", Help: "CacheRequests that were finished, by action and outcome.",
}, []string{"action", "outcome"})

func init() {
	metrics.Registry.MustRegister(finished)
	gauges.Zero(finished.MetricVec, []string{
		string(v1alpha1.RequestWarmUp), string(v1alpha1.RequestCheckIntegrity), string(v1alpha1.RequestCleanup), string(v1alpha1.RequestApproveCleanup), string(v1alpha1.RequestSnapshot),
		string(v1alpha1.RequestRollback), string(v1alpha1.RequestReportFailure), string(v1alpha1.RequestReportBuild), string(v1alpha1.RequestFailover), string(v1alpha1.RequestFailback), string(v1alpha1.RequestReinstate),
	}, []string{string(v1alpha1.RequestSucceeded), string(v1alpha1.RequestFailed), string(v1alpha1.RequestRefused)})
}

// Gauges of all CacheRequests.
func Gauges() gauges.Part {
	return gauges.Part{Metrics: []*gauges.Metric{unfinished, reportedBuilds, reportedHits, reportedMisses}, Collect: collect}
}

func collect(ctx context.Context, objects gauges.Objects, emit gauges.Emit) error {
	type group struct{ namespace, action string }
	counts := map[group]int{}
	reports := map[client.ObjectKey][]v1alpha1.CacheRequest{}
	if err := gauges.Each(ctx, objects, func(q *v1alpha1.CacheRequest) {
		if !request.Finished(q) {
			counts[group{q.Namespace, string(q.Spec.Action)}]++
		}
		if buildreport.Is(q) {
			cache := client.ObjectKey{Namespace: q.Namespace, Name: q.Spec.TargetRef.Name}
			reports[cache] = append(reports[cache], *q)
		}
	}); err != nil {
		return err
	}
	for g, n := range counts {
		emit(unfinished, float64(n), g.namespace, g.action)
	}
	if len(reports) == 0 {
		return nil
	}
	return gauges.Each(ctx, objects, func(c *v1alpha1.GoCache) {
		for _, t := range buildreport.Sum(reports[client.ObjectKeyFromObject(c)], c) {
			emit(reportedBuilds, float64(t.Builds), c.Namespace, c.Name, t.Build)
			emit(reportedHits, float64(t.Hits), c.Namespace, c.Name, t.Build)
			emit(reportedMisses, float64(t.Misses), c.Namespace, c.Name, t.Build)
		}
	})
}

// count records a request that was finished in this pass.
func count(before, after *v1alpha1.CacheRequest) {
	if request.Finished(after) && !request.Finished(before) {
		finished.WithLabelValues(string(after.Spec.Action), string(after.Status.Outcome)).Inc()
	}
}
