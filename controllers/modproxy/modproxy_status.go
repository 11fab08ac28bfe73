package modproxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/plan/failover"
)

// noteDecision copies what was decided.
func (s *scope) noteDecision() {
	status := &s.proxy.Status
	var instances []v1alpha1.InstanceStatus
	healthy := 0
	var serving []string
	for i, wanted := range s.decision.Desired {
		instance := instanceStatus(pass.Instance(s.proxy, wanted.Name), wanted, s.decision.State.Instances[i])
		if at := s.acquitted(wanted.Name); !at.IsZero() {
			instance.ReinstatedTime = ptr.To(metav1.NewTime(at))
		}
		instance.StoreCheck = storeCheckStatus(instance.StoreCheck, s.Found[wanted.Name].Store)
		if disk := s.Found[wanted.Name].DiskUsedPercent; disk != nil {
			instance.DiskUsedPercent = disk
		}
		if wanted.Healthy && wanted.Fault == nil {
			healthy++
		}
		if wanted.Serving {
			serving = append(serving, wanted.Name)
		}
		instances = append(instances, instance)
	}
	for _, old := range status.Instances { // removed, with its store on its way
		if old.VolumeReplacement != nil && !slices.ContainsFunc(instances, func(i v1alpha1.InstanceStatus) bool { return i.Name == old.Name }) {
			instances = append(instances, old)
		}
	}
	status.Instances = instances
	status.Healthy = fmt.Sprintf("%d/%d", healthy, len(s.decision.Desired))
	status.Serving = strings.Join(serving, ",")
	status.PinnedInstance = s.decision.State.Pinned
	status.RecentFailbacks = metaTimes(s.decision.State.RecentFailbacks)
	status.RecentWeightChanges = metaTimes(s.decision.State.RecentWeightChanges)
	s.noteFlip()
}

// convictionsDiffer says whether the decision convicts or acquits anybody.
func (s *scope) convictionsDiffer() bool {
	for _, now := range s.proxy.Status.Instances {
		before := pass.Instance(s.Stored, now.Name)
		if (now.Quarantined == nil) != (before.Quarantined == nil) {
			return true
		}
	}
	return false
}

// noteRouter copies what was read back from the router.
func (s *scope) noteRouter() {
	status := &s.proxy.Status
	status.ObservedGeneration = s.proxy.Generation
	if len(s.observed.Replicas) > 0 {
		for i, wanted := range s.decision.Desired {
			status.Instances[i].ObservedWeight = s.weightObserved(wanted)
		}
	}
	if status.LastWeightChange != nil && status.LastWeightChange.ConfirmedTime == nil && s.Arrived {
		status.LastWeightChange.ConfirmedTime = ptr.To(metav1.NewTime(s.Now))
	}
}

// instanceStatus writes what was decided over what stood there; the rest is
// kept by others.
func instanceStatus(i v1alpha1.InstanceStatus, wanted failover.Desired, state failover.InstanceState) v1alpha1.InstanceStatus {
	i.Name, i.Healthy, i.Serving, i.OutOfService = wanted.Name, wanted.Healthy, wanted.Serving, state.Out
	i.DesiredWeight = int32(wanted.Weight) //nolint:gosec // 0 to 256
	i.Quarantined, i.FailingProbes, i.HealthySince, i.Failback = nil, nil, nil, nil
	if c := state.Quarantined; c != nil {
		i.Quarantined = &v1alpha1.Quarantine{Reason: c.Reason, Message: bounded.Text(c.Evidence, 1024), Time: metav1.NewTime(c.Time)}
	}
	for _, f := range state.Failing {
		i.FailingProbes = append(i.FailingProbes, v1alpha1.FailingProbe{
			Kind: v1alpha1.ProbeKind(f.Kind), Since: metav1.NewTime(f.Since), Message: bounded.Text(f.Message, 1024),
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

// weightObserved is what the router's replicas do, by the one that differs
// most from what is wanted.
func (s *scope) weightObserved(wanted failover.Desired) int32 {
	observed, seen := wanted.Weight, false
	for _, replica := range s.observed.Replicas {
		server, ok := replica.Servers[wanted.Name]
		if !ok {
			continue
		}
		if !seen || server.Weight != wanted.Weight {
			observed = server.Weight
		}
		seen = true
	}
	if !seen {
		return 0
	}
	return int32(observed) //nolint:gosec // 0 to 256
}

// noteFlip keeps the last move of weights and when it was read back.
func (s *scope) noteFlip() {
	status := &s.proxy.Status
	if flip := s.decision.WeightChange; flip != nil {
		status.LastWeightChange = &v1alpha1.WeightChangeStatus{
			From: strings.Join(flip.From, ","), To: strings.Join(flip.To, ","), Reason: bounded.Text(flip.Reason, 1024),
			AppliedTime: ptr.To(metav1.NewTime(s.Now)),
		}
		if !flip.Detected.IsZero() {
			status.LastWeightChange.DetectedTime = ptr.To(metav1.NewTime(flip.Detected))
		}
	}
}

// setConditions writes all conditions from the facts of the pass and its error.
func (s *scope) setConditions(failed error) {
	set := conditions.Set{Conditions: &s.proxy.Status.Conditions, Generation: s.proxy.Generation, Now: s.Now}
	if len(s.decision.Desired) > 0 {
		s.setRouted(set)
		s.setHealthy(set)
		s.setConsistent(set)
		s.setDatabase(set)
	}
	s.setCertificate(set)
	if !set.Fail(failed) {
		s.setReady(set)
	}
}

func (s *scope) setRouted(set conditions.Set) {
	const routed = v1alpha1.RoutedCondition
	switch {
	case !s.routerStands():
		set.False(routed, v1alpha1.ReasonRouterNotReady, "No replica of the router is ready yet")
	case !s.Arrived:
		set.False(routed, v1alpha1.ReasonWeightsPending, "The router does not do yet what is wanted: %s", s.pending)
	default:
		set.True(routed, v1alpha1.ReasonRouterConfigured, "All %d replicas of the router do what is wanted", len(s.observed.Replicas))
	}
}

func (s *scope) setHealthy(set conditions.Set) {
	const healthy = v1alpha1.HealthyCondition
	var ill []string
	for _, w := range s.decision.Desired {
		if !w.Healthy || w.Fault != nil {
			text := w.Name + ": " + w.Reason
			if rb := pass.Instance(s.proxy, w.Name).Rollback; rb != nil && rb.Message != "" && w.Fault != nil {
				text += "; rollback: " + rb.Message
			}
			ill = append(ill, text)
		}
	}
	switch {
	case s.decision.Unproven:
		set.Unknown(healthy, v1alpha1.ReasonProgressing, "No probe has passed yet")
	case len(ill) > 0:
		set.False(healthy, v1alpha1.ReasonInstanceUnhealthy, "%s", strings.Join(ill, "; "))
	default:
		set.True(healthy, v1alpha1.ReasonInstancesHealthy, "All %d instances are healthy", len(s.decision.Desired))
	}
}

func (s *scope) setReady(set conditions.Set) {
	switch {
	case s.decision.AllQuarantined:
		set.Stall(v1alpha1.ReasonAllInstancesQuarantined, "Every instance was found to serve wrong bytes, so none serves and clients get 503. Mend or replace the stores, then let an instance in with the request failback=INSTANCE")
	case s.decision.NoHealthy && s.decision.Unproven:
		set.Progress(v1alpha1.ReasonProgressing, "No probe has passed yet")
	case s.decision.NoHealthy:
		set.Stall(v1alpha1.ReasonNoHealthyInstance, "No instance passes its probes; weights stay where they are. %s", s.reasons())
	case !s.routerStands() && s.withoutCertificate() != "":
		set.Stall(v1alpha1.ReasonCertificateRefused, "No replica of the router can serve. %s", s.withoutCertificate())
	case !s.routerStands():
		set.Progress(v1alpha1.ReasonRouterNotReady, "No replica of the router is ready yet")
	case !s.Arrived:
		set.Progress(v1alpha1.ReasonWeightsPending, "The router does not do yet what is wanted: %s", s.pending)
	case len(s.rollout.waits) > 0:
		set.Updating(v1alpha1.ReasonServing, "%s; pods are replaced one after the other, and wait until another instance serves: %s", s.serving(), strings.Join(s.rollout.waits, ", "))
	default:
		set.Ready(v1alpha1.ReasonServing, "%s", s.serving())
	}
}

func (s *scope) serving() string {
	message := fmt.Sprintf("%s serves; %s instances are healthy", s.proxy.Status.Serving, s.proxy.Status.Healthy)
	if names := s.unchecked(); len(names) > 0 {
		message += fmt.Sprintf("; the bytes that %s serves are not checked: spec.probes.referenceModules has no sum, and no module of its store is known", strings.Join(names, ", "))
	}
	if s.proxy.Spec.Suspend {
		message += "; spec.suspend is set: instances and router are not changed"
	}
	return message
}

// unchecked are the instances that probe Checksum has nothing to ask for.
func (s *scope) unchecked() []string {
	var names []string
	if !hasProbe(s.proxy, v1alpha1.ProbeChecksum) {
		return nil
	}
	for _, i := range s.proxy.Spec.Instances {
		if _, asked := s.Found[i.Name].Streaks[failover.Checksum]; !asked {
			names = append(names, i.Name)
		}
	}
	return names
}

func (s *scope) reasons() string {
	var all []string
	for _, w := range s.decision.Desired {
		all = append(all, w.Name+": "+w.Reason)
	}
	return strings.Join(all, "; ")
}

func metaTimes(list []time.Time) []metav1.Time {
	var out []metav1.Time
	for _, t := range list {
		out = append(out, metav1.NewTime(t))
	}
	return out
}
