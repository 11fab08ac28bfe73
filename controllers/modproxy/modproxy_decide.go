package modproxy

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/plan/failover"
)

// plan turns spec, status, probes and what the router cannot do into what is
// decided on.
func (s *scope) plan(limits route.Limits) failover.Observation {
	spec := s.proxy.Spec
	back := spec.Failover.Failback
	facts := failover.Observation{
		Policy: failover.Policy{
			Default:        thresholds(spec.Probes),
			Thresholds:     exceptions(spec.Probes),
			Manual:         spec.Failover.Mode == v1alpha1.FailoverManual,
			ActiveInstance: spec.Failover.ActiveInstance,
			Failback: failover.Failback{
				Manual:   back.Mode == v1alpha1.FailoverManual,
				HoldDown: duration(back.HoldDown), MaxHoldDown: duration(back.MaxHoldDown), StepInterval: duration(back.StepInterval),
			},
			MaxFailbacksPerHour: int(spec.Failover.MaxFailbacksPerHour),
			ReportOnly:          spec.Integrity.OnCorrupt == v1alpha1.StoreReport,
			OnlyServing:         limits.CallerHeals,
			OneAtATime:          limits.OneAtATime,
		},
		Previous: remembered(s.Stored.Status),
		Request:  s.request(),
	}
	for _, step := range back.Steps {
		facts.Policy.Failback.Steps = append(facts.Policy.Failback.Steps, int(step))
	}
	for _, i := range spec.Instances {
		instance := failover.Instance{Name: i.Name, Role: failover.Role(i.Role), Weight: int(i.Weight), Probes: s.Found[i.Name].Streaks}
		instance.Reinstated = s.acquitted(i.Name)
		instance.StoreFault = storeFault(s.Found[i.Name].Store)
		if _, ok := s.Addresses[i.Name]; !ok {
			instance.OutOfService = "it has no address yet"
		}
		if s.Replacing(s.proxy, i.Name) {
			instance.OutOfService = "its store is being replaced"
		}
		facts.Instances = append(facts.Instances, instance)
	}
	return facts
}

func thresholds(p v1alpha1.ProxyProbes) failover.Thresholds {
	return failover.Thresholds{Failure: int(p.FailureThreshold), Success: int(p.SuccessThreshold)}
}

// exceptions are the kinds that are believed earlier: wrong bytes, which the
// probe has seen twice, are no passing trouble of a network.
func exceptions(p v1alpha1.ProxyProbes) map[failover.Kind]failover.Thresholds {
	return map[failover.Kind]failover.Thresholds{failover.Checksum: {Failure: 1, Success: int(p.SuccessThreshold)}}
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

// remembered is the state of the last decision, as the status keeps it.
func remembered(status v1alpha1.ModProxyStatus) failover.State {
	state := failover.State{
		Pinned:              status.PinnedInstance,
		RecentFailbacks:     times(status.RecentFailbacks),
		RecentWeightChanges: times(status.RecentWeightChanges),
	}
	for _, i := range status.Instances {
		known := failover.InstanceState{Name: i.Name, Out: i.OutOfService, State: use(i), Weight: int(i.DesiredWeight), Serving: i.Serving}
		if i.Quarantined != nil {
			known.Quarantined = &failover.Fault{Reason: i.Quarantined.Reason, Evidence: i.Quarantined.Message, Time: i.Quarantined.Time.Time}
		}
		for _, f := range i.FailingProbes {
			known.Failing = append(known.Failing, failover.Failing{Kind: failover.Kind(f.Kind), Since: f.Since.Time, Message: f.Message})
		}
		if i.HealthySince != nil {
			known.HealthySince = i.HealthySince.Time
		}
		if i.Failback != nil {
			known.Comeback = &failover.Comeback{Step: int(i.Failback.Step), Since: i.Failback.Since.Time, Relapses: int(i.Failback.Relapses)}
		}
		state.Instances = append(state.Instances, known)
	}
	return state
}

func use(i v1alpha1.InstanceStatus) failover.Use {
	switch {
	case i.Quarantined != nil || i.OutOfService:
		return failover.UseDown
	case i.DesiredWeight > 0:
		return failover.UseReady
	default:
		return failover.UseDrain
	}
}

func times(list []metav1.Time) []time.Time {
	var out []time.Time
	for _, t := range list {
		out = append(out, t.Time)
	}
	return out
}
