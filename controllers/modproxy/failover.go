package modproxy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/plan/failover"
)

// failOver decides the weights and has the router follow them. What must be
// remembered of a decision is in the stored status before the decision is acted
// on: a manager that is killed in between must not reinstate an instance that is
// quarantined.
func (r *Reconciler) failOver(ctx context.Context, p *progress) error {
	if len(p.Addresses) == 0 {
		return nil // there is no instance to choose yet
	}
	if addressesPending(p) {
		p.result.WakeIn(pass.ConfirmInterval) // if the event of a Service is late
		return nil
	}
	p.decision = failover.Decide(observation(p.proxy, p.Observed, p.router.Limits()), p.Now)
	recordDecision(p.proxy, p.Observed, p.decision)
	p.result.WakeAt(p.Now, p.decision.Wake)
	if quarantinesDiffer(p.Stored, p.proxy) {
		if err := r.writeStatus(ctx, p); err != nil {
			return err
		}
	}
	err := r.route(ctx, p)
	recordRouting(p)
	return err
}

// addressesPending reports whether the first decision waits for the next pass, in
// which the Services of this one have addresses. Without it a manager that was
// killed after the first of them would take the other instances for ones that
// left, and count weight changes.
func addressesPending(p *progress) bool {
	return p.instancesMade && len(p.Stored.Status.Instances) == 0 && len(p.Addresses) < len(p.proxy.Spec.Instances)
}

// observation is what the weights are decided on: spec, status, probes, and what
// the router cannot do.
func observation(p *v1alpha1.ModProxy, o pass.Observed, limits route.Limits) failover.Observation {
	f := failover.Observation{Policy: policy(p, limits), Previous: remembered(o.Stored), Request: requestedMove(p)}
	for _, i := range p.Spec.Instances {
		instance := failover.Instance{
			Name: i.Name, Role: failover.Role(i.Role), Weight: int(i.Weight), Probes: o.Found[i.Name].Streaks,
			Reinstated: reinstated(p, o, i.Name), StoreFault: storeFault(o.Found[i.Name].Store),
		}
		if _, ok := o.Addresses[i.Name]; !ok {
			instance.OutOfService = "it has no address yet"
		}
		if o.Replacing(p, i.Name) {
			instance.OutOfService = "its store is being replaced"
		}
		f.Instances = append(f.Instances, instance)
	}
	return f
}

// policy of the spec, within the limits of the router.
func policy(p *v1alpha1.ModProxy, limits route.Limits) failover.Policy {
	spec := p.Spec
	back := spec.Failover.Failback
	out := failover.Policy{
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
	}
	for _, step := range back.Steps {
		out.Failback.Steps = append(out.Failback.Steps, int(step))
	}
	return out
}

func thresholds(p v1alpha1.ProxyProbes) failover.Thresholds {
	return failover.Thresholds{Failure: int(p.FailureThreshold), Success: int(p.SuccessThreshold)}
}

// exceptions are the kinds that are confirmed earlier: a checksum mismatch, which
// the probe has seen twice, is no passing fault of a network.
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
func remembered(p *v1alpha1.ModProxy) failover.State {
	status := p.Status
	state := failover.State{
		Pinned:              status.PinnedInstance,
		RecentFailbacks:     times(status.RecentFailbacks),
		RecentWeightChanges: times(status.RecentWeightChanges),
	}
	for _, i := range status.Instances {
		if becameExternal(p, i) {
			continue // the other server is a new one
		}
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

// recordDecision writes a decision into the status.
func recordDecision(p *v1alpha1.ModProxy, o pass.Observed, d failover.Decision) {
	status := &p.Status
	var instances []v1alpha1.InstanceStatus
	healthy := 0
	var serving []string
	for i, desired := range d.Desired {
		before := pass.Instance(p, desired.Name)
		if becameExternal(p, before) {
			before = v1alpha1.InstanceStatus{}
		}
		instance := instanceStatus(before, desired, d.State.Instances[i])
		if at := reinstated(p, o, desired.Name); !at.IsZero() {
			instance.ReinstatedTime = ptr.To(metav1.NewTime(at))
		}
		found := o.Found[desired.Name]
		instance.StoreCheck = storeCheckStatus(instance.StoreCheck, found.Store)
		if found.DiskUsedPercent != nil {
			instance.DiskUsedPercent = found.DiskUsedPercent
		}
		instance.StoreFullSince = fullSince(instance.StoreFullSince, found.Full, thresholds(p.Spec.Probes), o.Now)
		fit := desired.Healthy && desired.Fault == nil
		if fit {
			healthy++
		}
		switch {
		case !desired.Serving || !fit && len(instance.FailingProbes) == 0 && desired.Fault == nil: // no probe has passed yet
		case fit:
			serving = append(serving, desired.Name)
		default:
			serving = append(serving, desired.Name+" (unhealthy)")
		}
		instances = append(instances, instance)
	}
	status.Instances = append(instances, formers(p)...)
	status.Healthy = fmt.Sprintf("%d/%d", healthy, len(d.Desired))
	if status.Serving = strings.Join(serving, ","); len(serving) == 0 {
		status.Serving = "none"
	}
	status.PinnedInstance = d.State.Pinned
	status.RecentFailbacks = metaTimes(d.State.RecentFailbacks)
	status.RecentWeightChanges = metaTimes(d.State.RecentWeightChanges)
	if d.WeightChange != nil {
		status.LastWeightChange = weightChange(*d.WeightChange, o.Now)
	}
}

// becameExternal reports whether an instance is external whose status is that of a store.
func becameExternal(p *v1alpha1.ModProxy, i v1alpha1.InstanceStatus) bool {
	external := slices.ContainsFunc(p.Spec.Instances, func(named v1alpha1.ProxyInstance) bool { return named.Name == i.Name && named.External != nil })
	return external && i.VolumeReplacement == nil && (i.StoreCheck != nil || i.DiskUsedPercent != nil || i.LastVolumeReplacement != nil)
}

// formers are the instances that the spec names no longer, but clients may still use.
func formers(p *v1alpha1.ModProxy) []v1alpha1.InstanceStatus {
	var all []v1alpha1.InstanceStatus
	for _, i := range p.Status.Instances {
		if !named(p, i.Name) {
			i.Serving, i.DesiredWeight, i.ObservedWeight = false, 0, 0
			all = append(all, i)
		}
	}
	// The newest, if there are many: a router that never rolls out holds them all.
	for excess := len(p.Spec.Instances) + len(all) - maxStatuses; excess > 0; excess-- {
		oldest := max(0, slices.IndexFunc(all, func(i v1alpha1.InstanceStatus) bool { return i.VolumeReplacement == nil }))
		all = slices.Delete(all, oldest, oldest+1)
	}
	return all
}

// maxStatuses is how many instances the schema allows in a status.
const maxStatuses = 16

// instanceStatus writes a decision over the status of an instance. The fields of
// other parts stay as they are.
func instanceStatus(i v1alpha1.InstanceStatus, desired failover.Desired, state failover.InstanceState) v1alpha1.InstanceStatus {
	i.Name, i.Healthy, i.Serving, i.OutOfService = desired.Name, desired.Healthy, desired.Serving, state.Out
	i.DesiredWeight = int32(desired.Weight) //nolint:gosec // 0 to 256
	i.Quarantined, i.FailingProbes, i.HealthySince, i.Failback = nil, nil, nil, nil
	if c := state.Quarantined; c != nil {
		i.Quarantined = &v1alpha1.Quarantine{Reason: c.Reason, Message: bounded.Text(c.Evidence, pass.MaxText), Time: metav1.NewTime(c.Time)}
	}
	for _, f := range state.Failing {
		i.FailingProbes = append(i.FailingProbes, v1alpha1.FailingProbe{
			Kind: v1alpha1.ProbeKind(f.Kind), Since: metav1.NewTime(f.Since), Message: bounded.Text(f.Message, pass.MaxText),
		})
	}
	if !state.HealthySince.IsZero() {
		i.HealthySince = ptr.To(metav1.NewTime(state.HealthySince))
	}
	if c := state.Comeback; c != nil {
		i.Failback = &v1alpha1.FailbackStatus{Step: int32(c.Step), Since: metav1.NewTime(c.Since), Relapses: int32(c.Relapses)} //nolint:gosec // small
	}
	return i
}

// weightChange is a change of the weights that was decided now. When it was read
// back is recorded later.
func weightChange(c failover.WeightChange, now time.Time) *v1alpha1.WeightChangeStatus {
	out := &v1alpha1.WeightChangeStatus{
		From: strings.Join(c.From, ","), To: strings.Join(c.To, ","), Reason: bounded.Text(c.Reason, pass.MaxText),
		AppliedTime: ptr.To(metav1.NewTime(now)),
	}
	if !c.Detected.IsZero() {
		out.DetectedTime = ptr.To(metav1.NewTime(c.Detected))
	}
	return out
}

// quarantinesDiffer reports whether a decision quarantines an instance, or
// reinstates one.
func quarantinesDiffer(stored, p *v1alpha1.ModProxy) bool {
	return slices.ContainsFunc(p.Status.Instances, func(i v1alpha1.InstanceStatus) bool {
		return (i.Quarantined == nil) == pass.Quarantined(stored, i.Name)
	})
}

func times(list []metav1.Time) []time.Time {
	var out []time.Time
	for _, t := range list {
		out = append(out, t.Time)
	}
	return out
}

func metaTimes(list []time.Time) []metav1.Time {
	var out []metav1.Time
	for _, t := range list {
		out = append(out, metav1.NewTime(t))
	}
	return out
}
