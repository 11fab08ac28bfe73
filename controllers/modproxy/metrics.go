package modproxy

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/failover"
)

// The gauges of each ModProxy and of its instances.
var (
	instanceCount = gauges.NewMetric("gocache_modproxy_instances",
		"Instances of a ModProxy, by state: Serving, Ready (healthy, without weight), Unhealthy, OutOfService or Quarantined.",
		[]string{"namespace", "name", "state"})
	instanceState = gauges.NewMetric("gocache_modproxy_instance_state",
		"1 for the state of an instance: Serving, Ready (healthy, without weight), Unhealthy, OutOfService or Quarantined; 0 for the others.",
		[]string{"namespace", "name", "instance", "state"})
	desiredWeight = gauges.NewMetric("gocache_modproxy_instance_desired_weight",
		"Weight that an instance is to have in the router.",
		[]string{"namespace", "name", "instance"})
	observedWeight = gauges.NewMetric("gocache_modproxy_instance_observed_weight",
		"Weight that an instance has in the router.",
		[]string{"namespace", "name", "instance"})
	diskUsed = gauges.NewMetric("gocache_modproxy_instance_disk_used_ratio",
		"Used share of the volume of an instance's store, from 0 to 1, in steps of 0.05.",
		[]string{"namespace", "name", "instance"})
	storeVerdict = gauges.NewMetric("gocache_modproxy_store_verdict",
		"1 for the verdict of the last check of an instance's store, 0 for the others; absent before the first.",
		[]string{"namespace", "name", "instance", "verdict"})
	storeModules = gauges.NewMetric("gocache_modproxy_store_modules",
		"Module versions in an instance's store at the last check.",
		[]string{"namespace", "name", "instance"})
	storeSnapshotTime = gauges.NewMetric("gocache_modproxy_latest_verified_snapshot_timestamp_seconds",
		"When the newest verified snapshot of an instance's store was created; absent without one.",
		[]string{"namespace", "name", "instance"})
	weightsPending = gauges.NewMetric("gocache_modproxy_weights_pending_since_timestamp_seconds",
		"Since when a replica of the router has other weights than desired; absent while none has.",
		[]string{"namespace", "name"})
	instancesDisagree = gauges.NewMetric("gocache_modproxy_instances_disagree_since_timestamp_seconds",
		"Since when instances serve different content under one module version; absent while none do.",
		[]string{"namespace", "name"})
	databaseUnreachable = gauges.NewMetric("gocache_modproxy_checksum_database_unreachable_since_timestamp_seconds",
		"Since when the checksum database is reached through no instance; absent while it is reached.",
		[]string{"namespace", "name"})
)

// What happened to all ModProxies.
var (
	weightChanges = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocache_modproxy_weight_changes_total", Help: "Weight changes that routers have confirmed.",
	})
	weightChangeDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gocache_modproxy_weight_change_duration_seconds", Help: "Time from the detection of the cause of a weight change until all replicas of the router had the weights.",
		Buckets: prometheus.ExponentialBuckets(0.25, 2, 10),
	})
	quarantines = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_modproxy_quarantines_total", Help: "Instances that were quarantined, by reason.",
	}, []string{"reason"})
	reinstatements = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocache_modproxy_reinstatements_total", Help: "Quarantined instances that were reinstated.",
	})
	probeFailures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_modproxy_probe_failures_total", Help: "Instances that began to fail a probe, by kind of the probe.",
	}, []string{"probe"})
	storeChecks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_modproxy_store_checks_total", Help: "Checks of stores, by verdict.",
	}, []string{"verdict"})
	withdrawnEntries = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocache_modproxy_withdrawn_entries_total", Help: "Corrupt entries that checks removed from stores.",
	})
)

func init() {
	metrics.Registry.MustRegister(weightChanges, weightChangeDuration, quarantines, reinstatements, probeFailures, storeChecks, withdrawnEntries)
	gauges.Zero(quarantines.MetricVec, []string{failover.ChecksumMismatch, v1alpha1.ReasonStoreCorrupt})
	gauges.Zero(probeFailures.MetricVec, []string{
		string(v1alpha1.ProbeReady), string(v1alpha1.ProbeProtocol), string(v1alpha1.ProbeChecksum),
		string(v1alpha1.ProbeConsistency), string(v1alpha1.ProbeChecksumDatabase), string(v1alpha1.ProbeDisk),
	})
	gauges.Zero(storeChecks.MetricVec, gauges.Verdicts)
}

// states of an instance, of which it has one.
var states = []string{"Serving", "Ready", "Unhealthy", "OutOfService", "Quarantined"}

func stateOf(i *v1alpha1.InstanceStatus) string {
	switch {
	case i.Quarantined != nil:
		return "Quarantined"
	case i.OutOfService:
		return "OutOfService"
	case !i.Healthy:
		return "Unhealthy"
	case i.Serving:
		return "Serving"
	default:
		return "Ready"
	}
}

// Gauges of all ModProxies.
func Gauges() gauges.Part {
	return gauges.Part{
		Metrics: []*gauges.Metric{
			instanceCount, instanceState, desiredWeight, observedWeight, diskUsed, storeVerdict, storeModules, storeSnapshotTime,
			weightsPending, instancesDisagree, databaseUnreachable,
		},
		Collect: collect,
	}
}

func collect(ctx context.Context, objects gauges.Objects, emit gauges.Emit) error {
	byName := map[client.ObjectKey]*v1alpha1.CacheSnapshot{}
	if err := gauges.Each(ctx, objects, func(s *v1alpha1.CacheSnapshot) {
		if s.Spec.SourceRef.Kind == v1alpha1.ModProxyKind {
			byName[client.ObjectKeyFromObject(s)] = s
		}
	}); err != nil {
		return err
	}
	return gauges.Each(ctx, objects, func(p *v1alpha1.ModProxy) {
		emitProxy(emit, p)
		for j := range p.Status.Instances {
			instance := &p.Status.Instances[j]
			emitInstance(emit, p, instance)
			if s := byName[client.ObjectKey{Namespace: p.Namespace, Name: instance.LatestVerifiedSnapshot}]; s != nil {
				emit.Time(storeSnapshotTime, s.Status.CreationTime, p.Namespace, p.Name, instance.Name)
			}
		}
	})
}

func emitProxy(emit gauges.Emit, p *v1alpha1.ModProxy) {
	emit.Object(v1alpha1.ModProxyKind, p, p.Spec.Suspend, p.Status.Conditions)
	counts := map[string]int{}
	for i := range p.Status.Instances {
		counts[stateOf(&p.Status.Instances[i])]++
	}
	for _, state := range states {
		emit(instanceCount, float64(counts[state]), p.Namespace, p.Name, state)
	}
	emit.Time(weightsPending, p.Status.WeightsPendingSince, p.Namespace, p.Name)
	emit.Time(instancesDisagree, p.Status.InstancesDisagreeSince, p.Namespace, p.Name)
	emit.Time(databaseUnreachable, p.Status.ChecksumDatabaseUnreachableSince, p.Namespace, p.Name)
}

func emitInstance(emit gauges.Emit, p *v1alpha1.ModProxy, i *v1alpha1.InstanceStatus) {
	is := stateOf(i)
	for _, state := range states {
		emit(instanceState, gauges.Bool(state == is), p.Namespace, p.Name, i.Name, state)
	}
	emit(desiredWeight, float64(i.DesiredWeight), p.Namespace, p.Name, i.Name)
	emit(observedWeight, float64(i.ObservedWeight), p.Namespace, p.Name, i.Name)
	if i.DiskUsedPercent != nil {
		emit(diskUsed, float64(*i.DiskUsedPercent)/100, p.Namespace, p.Name, i.Name)
	}
	if c := i.StoreCheck; c != nil {
		emit.Verdict(storeVerdict, c.Verdict, p.Namespace, p.Name, i.Name)
		emit(storeModules, float64(c.Modules), p.Namespace, p.Name, i.Name)
	}
}

// count records what differs between two states of one proxy.
func count(before, after *v1alpha1.ModProxy) {
	if c, was := after.Status.LastWeightChange, before.Status.LastWeightChange; c != nil && c.ConfirmedTime != nil &&
		(was == nil || !c.ConfirmedTime.Equal(was.ConfirmedTime)) {
		weightChanges.Inc()
		if c.DetectedTime != nil {
			weightChangeDuration.Observe(c.ConfirmedTime.Sub(c.DetectedTime.Time).Seconds())
		}
	}
	for i := range after.Status.Instances {
		is := after.Status.Instances[i]
		countInstance(pass.Instance(before, is.Name), is)
	}
}

func countInstance(was, is v1alpha1.InstanceStatus) {
	switch {
	case is.Quarantined != nil && was.Quarantined == nil:
		quarantines.WithLabelValues(is.Quarantined.Reason).Inc()
	case is.Quarantined == nil && was.Quarantined != nil:
		reinstatements.Inc()
	}
	failed := map[v1alpha1.ProbeKind]bool{}
	for _, f := range was.FailingProbes {
		failed[f.Kind] = true
	}
	for _, f := range is.FailingProbes {
		if !failed[f.Kind] {
			probeFailures.WithLabelValues(string(f.Kind)).Inc()
		}
	}
	if c := is.StoreCheck; c != nil && (was.StoreCheck == nil || !was.StoreCheck.CompletionTime.Equal(&c.CompletionTime)) {
		storeChecks.WithLabelValues(string(c.Verdict)).Inc()
		withdrawnEntries.Add(float64(max(c.Withdrawn, 0)))
	}
	replacement.Count(v1alpha1.ModProxyKind, was.LastVolumeReplacement, is.LastVolumeReplacement)
}
