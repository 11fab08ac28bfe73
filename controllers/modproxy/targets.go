package modproxy

import (
	"slices"

	"golang.org/x/mod/module"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// targets are what is to be probed of a proxy, by the addresses of its
// instances. An instance without an address is not probed. The token makes the
// agents start checks.
func targets(p *v1alpha1.ModProxy, addresses map[string]string, token string) prober.Targets {
	var all prober.Targets
	for i := range p.Spec.Instances {
		instance := &p.Spec.Instances[i]
		if address, ok := addresses[instance.Name]; ok {
			all.Instances = append(all.Instances, target(p, instance, address, token))
		}
	}
	if len(all.Instances) < 2 { // there is no other to compare with
		for i := range all.Instances {
			all.Instances[i].Kinds = without(all.Instances[i].Kinds, failover.Consistency)
		}
	}
	if probesDatabase(p) {
		probes := p.Spec.Probes
		all.Database = prober.DatabaseTarget{
			Probed: true, Database: probe.ParseDatabase(p.Spec.ChecksumDatabase),
			Interval: probes.Interval.Duration, Timeout: probes.Timeout.Duration, Thresholds: thresholds(probes),
		}
	}
	return all
}

// probesDatabase reports whether there is a checksum database that clients could
// use through a proxy, and whether that is probed.
func probesDatabase(p *v1alpha1.ModProxy) bool {
	value := p.Spec.ChecksumDatabase
	return hasProbe(p, v1alpha1.ProbeChecksumDatabase) && (value == "" || probe.ParseDatabase(value).Name != "")
}

// target is how an instance is to be probed.
func target(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, address, token string) prober.Target {
	probes := p.Spec.Probes
	t := prober.Target{
		Name:     instance.Name,
		Interval: probes.Interval.Duration, Timeout: probes.Timeout.Duration,
		Thresholds: thresholds(probes), References: references(probes.ReferenceModules), DiskLimit: int(probes.DiskUsedPercent),
	}
	for _, kind := range probes.Kinds {
		t.Kinds = append(t.Kinds, failover.Kind(kind))
	}
	if !probesDatabase(p) {
		t.Kinds = without(t.Kinds, failover.ChecksumDatabase)
	}
	if instance.External != nil { // its disk cannot be probed
		t.URL, t.Ready = address, probe.AnyPage
		t.Kinds = without(t.Kinds, failover.Disk)
		return t
	}
	t.URL, t.Agent, t.Token = "http://"+address, pass.AgentURL(address), token
	t.Ready, t.Layout = probe.AgentPage, pass.LayoutOf(p, instance)
	if pass.ServerOf(p, instance).Type == v1alpha1.ServerGoproxy {
		t.Ready, t.SupportsStoredOnly, t.Pages = probe.OwnPage, true, pass.PagesURL(address)
	}
	return t
}

// references are the reference modules that a user has named.
func references(list []v1alpha1.ReferenceModule) []probe.ReferenceModule {
	var out []probe.ReferenceModule
	for _, c := range list {
		out = append(out, probe.ReferenceModule{Module: module.Version{Path: c.Module, Version: c.Version}, Zip: c.Sum, Mod: c.GoModSum})
	}
	return out
}

func hasProbe(p *v1alpha1.ModProxy, kind v1alpha1.ProbeKind) bool {
	return slices.Contains(p.Spec.Probes.Kinds, kind)
}

func without(kinds []failover.Kind, kind failover.Kind) []failover.Kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k failover.Kind) bool { return k == kind })
}
