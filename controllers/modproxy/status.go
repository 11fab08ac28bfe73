package modproxy

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/plan/failover"
)

// setConditions writes all conditions from the facts of the pass and its error.
func setConditions(p *progress, failed error) {
	status := &p.proxy.Status
	status.ObservedGeneration = p.proxy.Generation
	set := conditions.Set{Conditions: &status.Conditions, Generation: p.proxy.Generation, Now: p.Now}
	if p.router != nil {
		setFact(set, v1alpha1.CertificateReadyCondition, certificateFact(p.proxy, p.Observed))
	}
	if len(p.decision.Desired) > 0 {
		for _, c := range []struct {
			kind string
			fact *pass.Fact
		}{
			{v1alpha1.RoutedCondition, routedFact(p.routing, p.Arrived, p.Refused)},
			{v1alpha1.HealthyCondition, healthyFact(p.proxy, p.decision, p.Refused)},
			{v1alpha1.StorageSufficientCondition, storesFact(p.proxy)},
			{v1alpha1.ConsistentCondition, consistencyFact(p.proxy, p.Observed)},
			{v1alpha1.ChecksumDatabaseServedCondition, databaseFact(p.proxy, p.Observed)},
		} {
			setFact(set, c.kind, c.fact)
		}
	}
	if !set.Fail(failed) {
		setReady(set, p)
	}
}

// setFact sets a condition to a fact, or removes it without one.
func setFact(set conditions.Set, kind string, fact *pass.Fact) {
	switch {
	case fact == nil:
		set.Clear(kind)
	case fact.Unchanged && set.Keep(kind):
	case fact.Status == metav1.ConditionTrue:
		set.True(kind, fact.Reason, "%s", fact.Message)
	case fact.Status == metav1.ConditionFalse:
		set.False(kind, fact.Reason, "%s", fact.Message)
	default:
		set.Unknown(kind, fact.Reason, "%s", fact.Message)
	}
}

// routedFact is whether every replica of the router does what was decided.
func routedFact(r routing, arrived bool, refused []string) *pass.Fact {
	switch {
	case !r.ready():
		return pass.False(v1alpha1.ReasonRouterNotReady, "No replica of the router is ready yet%s", because(refused))
	case !arrived:
		return pass.False(v1alpha1.ReasonWeightsPending, "The router does not follow the desired weights yet: %s", r.pending)
	default:
		return pass.True(v1alpha1.ReasonRouterConfigured, "All %d replicas of the router follow the desired weights", len(r.observed.Replicas))
	}
}

// healthyFact is whether all instances are healthy, and what is wrong with those
// that are not.
func healthyFact(p *v1alpha1.ModProxy, d failover.Decision, refused []string) *pass.Fact {
	var unhealthy []string
	for _, i := range d.Desired {
		if !i.Healthy || i.Fault != nil {
			text := i.Name + ": " + i.Reason + failures(p, i.Name)
			if i.Fault != nil && i.Use != failover.UseDown { // reported only, or contained
				text = fmt.Sprintf("%s: %s: %s; it is not quarantined", i.Name, i.Fault.Reason, bounded.Text(i.Fault.Evidence, pass.MaxText))
			}
			if rb := pass.Instance(p, i.Name).Rollback; rb != nil && rb.Message != "" && i.Fault != nil {
				text += "; rollback: " + rb.Message
			}
			unhealthy = append(unhealthy, text)
		}
	}
	switch {
	case d.Unproven:
		return pass.Unknown(v1alpha1.ReasonProgressing, "No probe has passed yet%s", because(refused))
	case len(unhealthy) > 0:
		return pass.False(v1alpha1.ReasonInstanceUnhealthy, "%s", strings.Join(append(unhealthy, refused...), "; "))
	default:
		return pass.True(v1alpha1.ReasonInstancesHealthy, "All %d instances are healthy", len(d.Desired))
	}
}

func setReady(set conditions.Set, p *progress) {
	switch d := p.decision; {
	case d.AllQuarantined:
		set.Stall(v1alpha1.ReasonAllInstancesQuarantined, "Every instance is quarantined for corrupt content, so none serves and clients get 503. Repair or replace the stores, then reinstate an instance with a CacheRequest of action Reinstate%s", waiting(p))
	case d.NoHealthy && d.Unproven:
		set.Progress(v1alpha1.ReasonProgressing, "No probe has passed yet%s", because(p.Refused))
	case d.NoHealthy && manual(p.proxy):
		set.Stall(v1alpha1.ReasonNoHealthyInstance, "Instance %s, which spec.failover.activeInstance names, is not fit to serve: name another one, or repair it. %s%s", p.proxy.Spec.Failover.ActiveInstance, strings.Join(append([]string{reasons(p.proxy, d)}, p.Refused...), "; "), waiting(p))
	case d.NoHealthy:
		set.Stall(v1alpha1.ReasonNoHealthyInstance, "No instance passes its probes; weights stay where they are. %s%s", strings.Join(append([]string{reasons(p.proxy, d)}, p.Refused...), "; "), waiting(p))
	case !p.routing.ready() && withoutCertificate(p.proxy, p.Observed) != "":
		set.Stall(v1alpha1.ReasonCertificateRefused, "No replica of the router can serve. %s", withoutCertificate(p.proxy, p.Observed))
	case !p.routing.ready():
		set.Progress(v1alpha1.ReasonRouterNotReady, "No replica of the router is ready yet%s", because(p.Refused))
	case !p.Arrived:
		set.Progress(v1alpha1.ReasonWeightsPending, "The router does not follow the desired weights yet: %s", p.routing.pending)
	case len(p.instances.Waits) > 0:
		set.Updating(v1alpha1.ReasonServing, "%s%s", serving(p.proxy, p.Observed), waiting(p))
	default:
		set.Ready(v1alpha1.ReasonServing, "%s", serving(p.proxy, p.Observed))
	}
}

// manual reports whether a person has chosen the instance that serves.
func manual(p *v1alpha1.ModProxy) bool {
	return p.Spec.Failover.Mode == v1alpha1.FailoverManual && p.Spec.Failover.ActiveInstance != ""
}

// waiting names the instances whose pods are not replaced yet, as the end of a message.
func waiting(p *progress) string {
	if len(p.instances.Waits) == 0 {
		return ""
	}
	return "; pods are replaced one after the other, and wait until another instance serves: " + strings.Join(p.instances.Waits, ", ")
}

// serve is the sentence "blue serves", or "blue and green serve".
func serve(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "") + " serves"
	}
	return strings.Join(names[:last], ", ") + " and " + names[last] + " serve"
}

// serving is the message of a proxy that serves.
func serving(p *v1alpha1.ModProxy, o pass.Observed) string {
	message := fmt.Sprintf("%s; %s instances are healthy", serve(strings.Split(p.Status.Serving, ",")), p.Status.Healthy)
	if names := unchecked(p, o); len(names) > 0 {
		message += fmt.Sprintf("; the content that %s is not checked", serve(names))
		if len(p.Spec.Probes.ReferenceModules) == 0 && !pass.Offline(p) {
			message += ", and nothing shows whether the upstream serves modules"
		}
		message += ": spec.probes.referenceModules has no sum, and no module of its store is known"
	}
	if p.Spec.Suspend {
		message += "; spec.suspend is set: instances and router are not changed"
	}
	return message
}

// unchecked are the instances that probe Checksum has no reference module for.
func unchecked(p *v1alpha1.ModProxy, o pass.Observed) []string {
	var names []string
	if !hasProbe(p, v1alpha1.ProbeChecksum) {
		return nil
	}
	for _, i := range p.Spec.Instances {
		if _, probed := o.Found[i.Name].Streaks[failover.Checksum]; !probed {
			names = append(names, i.Name)
		}
	}
	return names
}

// failures are what the failing probes of an instance have found, as the second part of a
// message whose first names the first of these probes.
func failures(p *v1alpha1.ModProxy, name string) string {
	var text strings.Builder
	for n, probe := range pass.Instance(p, name).FailingProbes {
		if n > 0 {
			fmt.Fprintf(&text, ", probe %s fails", probe.Kind)
		}
		if probe.Message != "" {
			text.WriteString(": " + probe.Message)
		}
	}
	return text.String()
}

// reasons of the weights, by instance.
func reasons(p *v1alpha1.ModProxy, d failover.Decision) string {
	var all []string
	for _, i := range d.Desired {
		all = append(all, i.Name+": "+i.Reason+failures(p, i.Name))
	}
	return strings.Join(all, "; ")
}
