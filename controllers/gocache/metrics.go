package gocache

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/verification"
)

// The gauges of each GoCache.
var (
	snapshotTime = gauges.NewMetric("gocache_cache_latest_verified_snapshot_timestamp_seconds",
		"When the newest verified snapshot of a GoCache was created; absent without one.",
		[]string{"namespace", "name"})
	repeatDue = gauges.NewMetric("gocache_cache_latest_verified_snapshot_repeat_timestamp_seconds",
		"When the newest verified snapshot of a GoCache is to be verified again; absent if it is not.",
		[]string{"namespace", "name"})
	snapshotCount = gauges.NewMetric("gocache_cache_snapshots",
		"CacheSnapshots of a GoCache, by verdict; verdict None: there is no verdict yet.",
		[]string{"namespace", "name", "verdict"})
	warmTime = gauges.NewMetric("gocache_cache_last_warm_up_timestamp_seconds",
		"When a warm-up of a GoCache last succeeded; absent before the first.",
		[]string{"namespace", "name"})
	warmFailures = gauges.NewMetric("gocache_cache_warm_up_failures",
		"Warm-ups of a GoCache that failed in a row.",
		[]string{"namespace", "name"})
	cacheVerdict = gauges.NewMetric("gocache_cache_verdict",
		"1 for the verdict of the last check of the PVC of a GoCache, 0 for the others.",
		[]string{"namespace", "name", "verdict"})
	cacheEntries = gauges.NewMetric("gocache_cache_entries",
		"Module versions and build entries in a GoCache after the last run, by layer.",
		[]string{"namespace", "name", "layer"})
	cacheUsed = gauges.NewMetric("gocache_cache_used_bytes",
		"Bytes used on the volume of a GoCache after the last run.",
		[]string{"namespace", "name"})
	cacheCapacity = gauges.NewMetric("gocache_cache_capacity_bytes",
		"Size of the volume of a GoCache.",
		[]string{"namespace", "name"})
	cacheInodesUsed = gauges.NewMetric("gocache_cache_inodes_used",
		"Inodes used on the volume of a GoCache after the last run; absent where the file system has no fixed number.",
		[]string{"namespace", "name"})
	cacheInodes = gauges.NewMetric("gocache_cache_inodes",
		"Inodes of the volume of a GoCache: how many files and directories it can hold.",
		[]string{"namespace", "name"})
	poolReady = gauges.NewMetric("gocache_cache_pool_ready",
		"Volumes in the pool of a GoCache that a PVC can get now; absent without a pool.",
		[]string{"namespace", "name"})
	poolSize = gauges.NewMetric("gocache_cache_pool_size",
		"Volumes that the pool of a GoCache is to have ready; absent without a pool.",
		[]string{"namespace", "name"})
	poolCapacity = gauges.NewMetric("gocache_cache_pool_capacity_bytes",
		"Size of all volumes in the pool of a GoCache, ready or not; absent without a pool.",
		[]string{"namespace", "name"})
	replacing = gauges.NewMetric("gocache_cache_volume_replacement_start_timestamp_seconds",
		"When the volume replacement in progress of a GoCache was started; absent without one.",
		[]string{"namespace", "name", "reason"})
)

// The runs on the PVCs of all GoCaches.
var (
	warmUpDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gocache_warm_up_duration_seconds", Help: "Duration of warm-ups, by outcome.",
		Buckets: prometheus.ExponentialBuckets(5, 3, 8),
	}, []string{"outcome"})
	checkDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gocache_check_duration_seconds", Help: "Duration of checks of the PVCs of GoCaches, by verdict.",
		Buckets: prometheus.ExponentialBuckets(1, 3, 8),
	}, []string{"verdict"})
	cleanups = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_cleanup_runs_total", Help: "Runs that planned or applied a cleanup, by outcome.",
	}, []string{"outcome"})
	freed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocache_cleanup_freed_bytes_total", Help: "Bytes that cleanups removed.",
	})
)

func init() {
	metrics.Registry.MustRegister(warmUpDuration, checkDuration, cleanups, freed)
	gauges.Zero(warmUpDuration.MetricVec, gauges.RunOutcomes)
	gauges.Zero(checkDuration.MetricVec, gauges.Verdicts)
	gauges.Zero(cleanups.MetricVec, gauges.RunOutcomes)
}

// Gauges of all GoCaches.
func Gauges() gauges.Part {
	return gauges.Part{
		Metrics: []*gauges.Metric{snapshotTime, repeatDue, snapshotCount, warmTime, warmFailures, cacheVerdict, cacheEntries, cacheUsed, cacheCapacity, cacheInodesUsed, cacheInodes, poolReady, poolSize, poolCapacity, replacing},
		Collect: collect,
	}
}

func collect(ctx context.Context, objects gauges.Objects, emit gauges.Emit) error {
	bySource := map[client.ObjectKey][]*v1alpha1.CacheSnapshot{}
	if err := gauges.Each(ctx, objects, func(s *v1alpha1.CacheSnapshot) {
		if s.Spec.SourceRef.Kind == v1alpha1.GoCacheKind {
			source := client.ObjectKey{Namespace: s.Namespace, Name: s.Spec.SourceRef.Name}
			bySource[source] = append(bySource[source], s)
		}
	}); err != nil {
		return err
	}
	return gauges.Each(ctx, objects, func(c *v1alpha1.GoCache) {
		emitCache(emit, c)
		emitSnapshots(emit, c, bySource[client.ObjectKeyFromObject(c)])
	})
}

func emitCache(emit gauges.Emit, c *v1alpha1.GoCache) {
	status := &c.Status
	emit.Object(v1alpha1.GoCacheKind, c, c.Spec.Suspend, status.Conditions)
	emit.Time(warmTime, status.WarmUp.LastSuccessTime, c.Namespace, c.Name)
	emit(warmFailures, float64(status.WarmUp.Failures), c.Namespace, c.Name)
	if status.Integrity != nil && status.Integrity.VolumeName == status.Storage.VolumeName {
		emit.Verdict(cacheVerdict, status.Integrity.Verdict, c.Namespace, c.Name)
	}
	emit(cacheEntries, float64(status.Counts.Modules), c.Namespace, c.Name, string(v1alpha1.LayerModules))
	emit(cacheEntries, float64(status.Counts.BuildEntries), c.Namespace, c.Name, string(v1alpha1.LayerBuild))
	if s := status.Source; s != nil {
		emit.Time(snapshotTime, s.CreationTime, c.Namespace, c.Name)
	}
	emit.Bytes(cacheUsed, status.Storage.Used, c.Namespace, c.Name)
	emit.Bytes(cacheCapacity, status.Storage.Capacity, c.Namespace, c.Name)
	if s := status.Storage; s.Inodes != nil && s.InodesUsed != nil {
		emit(cacheInodesUsed, float64(*s.InodesUsed), c.Namespace, c.Name)
		emit(cacheInodes, float64(*s.Inodes), c.Namespace, c.Name)
	}
	if pool := status.Pool; pool != nil {
		ready := pool.Ready
		if status.LatestVerifiedSnapshot == "" {
			ready = 0
		}
		emit(poolReady, float64(ready), c.Namespace, c.Name)
		emit(poolSize, float64(pool.Size), c.Namespace, c.Name)
		emit.Bytes(poolCapacity, pool.Capacity, c.Namespace, c.Name)
	}
	if in := status.VolumeReplacement; in != nil {
		emit.Time(replacing, &in.StartTime, c.Namespace, c.Name, string(in.Reason))
	}
}

// emitSnapshots emits what the snapshots of a cache amount to.
func emitSnapshots(emit gauges.Emit, c *v1alpha1.GoCache, all []*v1alpha1.CacheSnapshot) {
	counts := map[string]int{}
	for _, s := range all {
		verdict := string(s.Status.Verification.Verdict)
		if verdict == "" {
			verdict = "None"
		}
		counts[verdict]++
		if s.Name == c.Status.LatestVerifiedSnapshot {
			emit.Time(snapshotTime, s.Status.CreationTime, c.Namespace, c.Name)
			if due := verification.RepeatAt(s, verification.RepeatPolicy(s, c.Spec.Snapshots)); !due.IsZero() {
				emit(repeatDue, float64(due.Unix()), c.Namespace, c.Name)
			}
		}
	}
	for _, verdict := range slices.Concat(gauges.Verdicts, []string{"None"}) {
		emit(snapshotCount, float64(counts[verdict]), c.Namespace, c.Name, verdict)
	}
}

// count records what a pass has written into the status: each run once.
func count(before, after *v1alpha1.GoCache) {
	if w := after.Status.WarmUp; w.Run != before.Status.WarmUp.Run && w.StartTime != nil && w.CompletionTime != nil {
		warmUpDuration.WithLabelValues(string(w.Outcome)).Observe(w.CompletionTime.Sub(w.StartTime.Time).Seconds())
	}
	if i := after.Status.Integrity; i != nil && (before.Status.Integrity == nil || i.Run != before.Status.Integrity.Run) && i.StartTime != nil && i.CompletionTime != nil {
		checkDuration.WithLabelValues(string(i.Verdict)).Observe(i.CompletionTime.Sub(i.StartTime.Time).Seconds())
	}
	countCleanup(before.Status.Cleanup, after.Status.Cleanup)
	replacement.Count(v1alpha1.GoCacheKind, before.Status.LastVolumeReplacement, after.Status.LastVolumeReplacement)
}

func countCleanup(before, after *v1alpha1.CleanupStatus) {
	if after == nil || before != nil && before.Run == after.Run {
		return
	}
	cleanups.WithLabelValues(string(after.Outcome)).Inc()
	applied := before == nil || !after.LastCleanTime.Equal(before.LastCleanTime)
	if plan := after.LastPlan; applied && after.Freed != nil && plan != nil && plan.Entries > 0 {
		freed.Add(after.Freed.AsApproximateFloat64())
	}
}
