package modproxy

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// routed is an instance as the router is to reach it.
func (s *scope) routed(instance *v1alpha1.ProxyInstance) haproxy.Instance {
	i := haproxy.Instance{Name: instance.Name, Standby: instance.Role == v1alpha1.RoleStandby}
	if instance.External != nil {
		i.External = instance.External.URL
		return i
	}
	i.Address = s.facts.addresses[instance.Name]
	if serverOf(s.proxy, instance).Type != v1alpha1.ServerGoproxy {
		i.CheckPort = agentPort // what such a server says of itself means nothing
	}
	return i
}

// probe tells the prober whom to ask.
func (r *Reconciler) probe(s *scope) {
	var targets []target
	for i := range s.proxy.Spec.Instances {
		if t, ok := s.target(&s.proxy.Spec.Instances[i]); ok {
			targets = append(targets, t)
		}
	}
	if len(targets) < 2 { // there is nobody to compare with
		for i := range targets {
			targets[i].kinds = without(targets[i].kinds, v1alpha1.ProbeConsistency)
		}
	}
	r.prober.want(client.ObjectKeyFromObject(s.proxy), targets, s.databaseTarget())
}

// databaseTarget is how the instances are asked for the checksum database.
func (s *scope) databaseTarget() databaseTarget {
	probes := s.proxy.Spec.Probes
	if !s.asksDatabase() {
		return databaseTarget{}
	}
	return databaseTarget{
		asked: true, database: probe.ParseDatabase(s.proxy.Spec.ChecksumDatabase),
		interval: probes.Interval.Duration, timeout: probes.Timeout.Duration, thresholds: thresholds(probes),
	}
}

// asksDatabase says whether there is a checksum database that clients could ask
// for through this proxy, and whether that is probed.
func (s *scope) asksDatabase() bool {
	value := s.proxy.Spec.ChecksumDatabase
	return hasProbe(s.proxy, v1alpha1.ProbeChecksumDatabase) && (value == "" || probe.ParseDatabase(value).Name != "")
}

// target is an instance as the prober is to ask it.
func (s *scope) target(instance *v1alpha1.ProxyInstance) (target, bool) {
	probes := s.proxy.Spec.Probes
	address, ok := s.facts.addresses[instance.Name]
	if !ok {
		return target{}, false
	}
	kinds := probes.Kinds
	if !s.asksDatabase() {
		kinds = without(kinds, v1alpha1.ProbeChecksumDatabase)
	}
	t := target{
		name: instance.Name, kinds: kinds,
		interval: probes.Interval.Duration, timeout: probes.Timeout.Duration,
		thresholds: thresholds(probes), canaries: canaries(probes.ReferenceModules), diskLimit: int(probes.DiskUsedPercent),
	}
	if instance.External != nil {
		// Nothing is known of its disk.
		t.url, t.ready = address, probe.AnyPage
		t.kinds = without(t.kinds, v1alpha1.ProbeDisk)
		return t, true
	}
	t.url, t.agent = "http://"+address, agentURL(address)
	t.ready, t.layout = probe.AgentPage, layoutOf(s.proxy, instance)
	if serverOf(s.proxy, instance).Type == v1alpha1.ServerGoproxy {
		t.ready, t.obedient = probe.OwnPage, true
	}
	return t, true
}

func hasProbe(p *v1alpha1.ModProxy, kind v1alpha1.ProbeKind) bool {
	return slices.Contains(p.Spec.Probes.Kinds, kind)
}

func without(kinds []v1alpha1.ProbeKind, kind v1alpha1.ProbeKind) []v1alpha1.ProbeKind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k v1alpha1.ProbeKind) bool { return k == kind })
}

// layoutOf is the layout of an instance's store; empty: there is no store, or
// its layout is not known, so that nobody can check it.
func layoutOf(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) store.Layout {
	if instance.External != nil {
		return ""
	}
	switch serverOf(p, instance).Type {
	case v1alpha1.ServerAthens:
		return store.Athens
	case v1alpha1.ServerGoproxy:
		return store.Goproxy
	case v1alpha1.ServerCustom:
	}
	return ""
}
