package cachesnapshot

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/plan/verification"
)

// The gauges of each CacheSnapshot.
var (
	snapshotInfo = gauges.NewMetric("gocache_snapshot_info",
		"1 for each CacheSnapshot, with its source.",
		[]string{"namespace", "name", "source_kind", "source", "instance"})
	snapshotVerdict = gauges.NewMetric("gocache_snapshot_verdict",
		"1 for the verdict of the last verification of a CacheSnapshot, 0 for the others; absent before the first.",
		[]string{"namespace", "name", "verdict"})
	snapshotTime = gauges.NewMetric("gocache_snapshot_creation_timestamp_seconds",
		"When the CSI driver created the snapshot.",
		[]string{"namespace", "name"})
	snapshotProven = gauges.NewMetric("gocache_snapshot_last_intact_timestamp_seconds",
		"When a verification, or a repetition of it, last found a CacheSnapshot Intact.",
		[]string{"namespace", "name"})
	snapshotBytes = gauges.NewMetric("gocache_snapshot_verified_bytes",
		"Bytes that the last verification of a CacheSnapshot has read.",
		[]string{"namespace", "name"})
	snapshotEntries = gauges.NewMetric("gocache_snapshot_verified_entries",
		"Module versions and build entries that the last verification of a CacheSnapshot has read, by layer.",
		[]string{"namespace", "name", "layer"})
)

// The work on all CacheSnapshots.
var (
	verdicts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_verifications_total", Help: "Attempts to verify a snapshot, by kind of its source and verdict.",
	}, []string{"source_kind", "verdict"})
	verificationDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gocache_verification_duration_seconds", Help: "Duration of verifications that had a verdict, by kind of the source.",
		Buckets: prometheus.ExponentialBuckets(1, 3, 8),
	}, []string{"source_kind"})
	verifiedBytes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_verification_read_bytes_total", Help: "Bytes that verifications have read, by kind of the source.",
	}, []string{"source_kind"})
	stageDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gocache_snapshot_stage_duration_seconds", Help: "Duration of the stages of the work on snapshots, such as creation by the CSI driver; with the time that a stage waits.",
		Buckets: prometheus.ExponentialBuckets(1, 3, 8),
	}, []string{"stage"})
	repairs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_repairs_total", Help: "Attempts to repair the clone of a corrupt snapshot, by outcome.",
	}, []string{"outcome"})
	repetitions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_repeated_verifications_total", Help: "Repetitions of the verification of a snapshot that ended, by kind of its source and verdict.",
	}, []string{"source_kind", "verdict"})
	offlineBuilds = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_offline_builds_total", Help: "Offline build tests, by outcome.",
	}, []string{"outcome"})
)

func init() {
	metrics.Registry.MustRegister(verdicts, verificationDuration, verifiedBytes, stageDuration, repairs, repetitions, offlineBuilds)
	gauges.Zero(verdicts.MetricVec, gauges.SnapshotSources, gauges.Verdicts)
	gauges.Zero(verificationDuration.MetricVec, gauges.SnapshotSources)
	gauges.Zero(verifiedBytes.MetricVec, gauges.SnapshotSources)
	gauges.Zero(stageDuration.MetricVec, []string{stageSnapshot, stageVerify, stageRepair, stageSnapshotRepaired, stageReverify, stageOfflineBuild})
	gauges.Zero(repairs.MetricVec, gauges.WorkOutcomes)
	gauges.Zero(repetitions.MetricVec, gauges.SnapshotSources, gauges.Verdicts)
	gauges.Zero(offlineBuilds.MetricVec, gauges.WorkOutcomes)
}

// Gauges of all CacheSnapshots.
func Gauges() gauges.Part {
	return gauges.Part{
		Metrics: []*gauges.Metric{snapshotInfo, snapshotVerdict, snapshotTime, snapshotProven, snapshotBytes, snapshotEntries},
		Collect: collect,
	}
}

func collect(ctx context.Context, objects gauges.Objects, emit gauges.Emit) error {
	return gauges.Each(ctx, objects, func(s *v1alpha1.CacheSnapshot) {
		source, v := s.Spec.SourceRef, &s.Status.Verification
		emit.Object(v1alpha1.CacheSnapshotKind, s, s.Spec.Suspend, s.Status.Conditions)
		emit(snapshotInfo, 1, s.Namespace, s.Name, source.Kind, source.Name, source.Instance)
		emit.Time(snapshotTime, s.Status.CreationTime, s.Namespace, s.Name)
		if proven := verification.ProvenTime(s); !proven.IsZero() {
			emit(snapshotProven, float64(proven.Unix()), s.Namespace, s.Name)
		}
		emit.Verdict(snapshotVerdict, v.Verdict, s.Namespace, s.Name)
		if v.Verdict != "" {
			emit(snapshotBytes, float64(v.Bytes), s.Namespace, s.Name)
			emit(snapshotEntries, float64(v.Counts.Modules), s.Namespace, s.Name, string(v1alpha1.LayerModules))
			emit(snapshotEntries, float64(v.Counts.BuildEntries), s.Namespace, s.Name, string(v1alpha1.LayerBuild))
		}
	})
}

// count records what a pass has written into the status: each attempt once.
func count(before, after *v1alpha1.CacheSnapshot) {
	kind := after.Spec.SourceRef.Kind
	if v := after.Status.Verification; v.Run != "" && v.Run != before.Status.Verification.Run {
		verdicts.WithLabelValues(kind, string(v.Verdict)).Inc()
		verifiedBytes.WithLabelValues(kind).Add(float64(max(v.Bytes, 0)))
		if v.Duration != nil {
			verificationDuration.WithLabelValues(kind).Observe(v.Duration.Seconds())
		}
	}
	was, is := before.Status.Repeat, after.Status.Repeat
	repeated := is != nil && is.EndTime != nil && (was == nil || was.EndTime == nil || !was.StartTime.Equal(&is.StartTime))
	if repeated {
		repetitions.WithLabelValues(kind, string(is.Verdict)).Inc()
	}
	ended := map[string]bool{}
	for _, stage := range before.Status.Stages {
		ended[stage.Name] = stage.Duration != nil
	}
	for _, stage := range after.Status.Stages {
		if stage.Duration != nil && !ended[stage.Name] {
			stageDuration.WithLabelValues(stage.Name).Observe(stage.Duration.Seconds())
		}
	}
	if r := after.Status.Repair; r != nil && r.Run != "" && (before.Status.Repair == nil || r.Run != before.Status.Repair.Run) {
		repairs.WithLabelValues(string(r.Outcome)).Inc()
	}
	if d := after.Status.OfflineBuild; d != nil && d.Run != "" && (before.Status.OfflineBuild == nil || d.Run != before.Status.OfflineBuild.Run) {
		offlineBuilds.WithLabelValues(string(d.Outcome)).Inc()
	}
}
