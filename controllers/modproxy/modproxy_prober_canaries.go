package modproxy

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
)

// canaryKinds are the probes that ask for canaries, all with the same requests.
var canaryKinds = []v1alpha1.ProbeKind{v1alpha1.ProbeProtocol, v1alpha1.ProbeChecksum, v1alpha1.ProbeConsistency}

func canaries(list []v1alpha1.ReferenceModule) []probe.Canary {
	var out []probe.Canary
	for _, c := range list {
		out = append(out, probe.Canary{Module: module.Version{Path: c.Module, Version: c.Version}, Zip: c.Sum, Mod: c.GoModSum})
	}
	return out
}

// serves says whether canaries are of any use to a kind of probe: one without a
// sum is none to Checksum.
func serves(canaries []probe.Canary, kind v1alpha1.ProbeKind) bool {
	return slices.ContainsFunc(canaries, func(c probe.Canary) bool {
		return kind != v1alpha1.ProbeChecksum || c.Zip != "" || c.Mod != ""
	})
}

// forgetUnasked drops the kinds that have nothing to ask for: nobody is to wait
// for their outcome. While nobody has named a canary, that is not known before
// a check of the store has ended. The prober's lock is held.
func (i *probed) forgetUnasked(asked []probe.Canary) {
	if r := i.found.store; len(i.target.canaries) == 0 && (r == nil || r.verdict == nil) {
		return
	}
	for _, kind := range canaryKinds {
		if !serves(asked, kind) {
			delete(i.found.streaks, failover.Kind(kind))
		}
	}
}

// canaries are what an instance is asked for: what a person has named, else
// what its store has, with the sums that its agent saw there. To compare it
// with the others it is also asked for what they have, if it can be asked in a
// way that never makes it fetch anything.
func (p *prober) canaries(name types.NamespacedName, i *probed) []probe.Canary {
	if !slices.ContainsFunc(canaryKinds, i.target.has) {
		return nil
	}
	if len(i.target.canaries) > 0 {
		return i.target.canaries
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []probe.Canary
	for _, s := range i.found.store.sampled() {
		all = append(all, probe.Canary{Module: s.Version, Zip: s.Zip, Mod: s.Mod, OnlyStored: true})
	}
	if !i.target.obedient || !i.target.has(v1alpha1.ProbeConsistency) {
		return all
	}
	others := map[string]module.Version{}
	for _, other := range p.instances(name) {
		for _, s := range other.found.store.sampled() {
			others[probe.SampleRank(s.Version)] = s.Version
		}
	}
	for n, rank := range slices.Sorted(maps.Keys(others)) {
		known := slices.ContainsFunc(all, func(c probe.Canary) bool { return c.Module == others[rank] })
		if n < probe.Samples && !known {
			all = append(all, probe.Canary{Module: others[rank], OnlyStored: true})
		}
	}
	return all
}

// sampled are the modules that a report names, as far as a status can hold
// their names.
func (r *storeReport) sampled() []probe.Sampled {
	if r == nil {
		return nil
	}
	some := slices.DeleteFunc(slices.Clone(r.sample), func(s probe.Sampled) bool { return len(s.Path) > 256 || len(s.Version.Version) > 128 })
	return some[:min(len(some), probe.Samples)]
}

// noteCanaries sorts what was answered for the canaries by kind.
func (t target) noteCanaries(a answers, all []probe.Answer) {
	if t.has(v1alpha1.ProbeProtocol) {
		a.results[failover.Protocol] = probe.Protocol(all)
	}
	if t.has(v1alpha1.ProbeChecksum) {
		a.results[failover.Checksum] = probe.Checksum(all)
	}
	for _, answer := range all {
		if answer.Sums.Zip != "" {
			a.served[answer.Module] = failover.Sums{Zip: answer.Sums.Zip, Mod: answer.Sums.Mod}
		}
	}
}

// reference is what a comparison of instances goes by.
type reference struct {
	// agreed are the sums that all instances had agreed on before.
	agreed map[module.Version]failover.Sums
	// out are the instances that are not asked for their opinion.
	out map[string]bool
}

// compareBy makes r what the instances of a proxy are compared by.
func (p *prober) compareBy(name types.NamespacedName, r reference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fleets[name]; f != nil {
		f.reference = r
	}
}

// agreed are the sums that the instances of a proxy agree on; nil: no
// comparison was made yet.
func (p *prober) agreed(name types.NamespacedName) map[module.Version]failover.Sums {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fleets[name]; f != nil {
		return f.agreed
	}
	return nil
}

// compare compares all instances by what each served in its last round, of
// which one has just ended, and says whether that matters; the prober's lock is
// held. It asks nothing: what a version holds never changes.
func (f *fleet) compare(i *probed, now time.Time) (news bool) {
	told, modules := f.told()
	agreement := failover.Compare(told)
	name := i.target.name
	was := i.found.streaks[failover.Consistency]
	text, compared := agreement.Differences[name]
	if !compared {
		return false
	}
	is := was.Add(agreement.Outcomes[name], text, now)
	i.found.streaks[failover.Consistency] = is
	result := failover.Passed
	if text != "" {
		result = failover.Failed
	}
	before := i.found.agrees
	i.found.agrees = before.Add(result, text, now)
	agreed := map[module.Version]failover.Sums{}
	for text, sums := range agreement.Agreed {
		agreed[modules[text]] = sums
	}
	news = matters(was, is, i.target.thresholds) || matters(before, i.found.agrees, i.target.thresholds) || !maps.Equal(f.agreed, agreed)
	f.agreed = agreed
	return news
}

// told is what the instances served, by module, and the modules by their text.
func (f *fleet) told() (all []failover.Told, modules map[string]module.Version) {
	modules = map[string]module.Version{}
	byModule := map[module.Version]*failover.Told{}
	for name, i := range f.instances {
		if f.reference.out[name] {
			continue
		}
		for m, sums := range i.found.served {
			if byModule[m] == nil {
				byModule[m] = &failover.Told{Module: m.String(), Sums: map[string]failover.Sums{}, Agreed: f.reference.agreed[m]}
				modules[m.String()] = m
			}
			byModule[m].Sums[name] = sums
		}
		for _, c := range i.target.canaries {
			if byModule[c.Module] != nil {
				byModule[c.Module].Pinned = failover.Sums{Zip: c.Zip, Mod: c.Mod}
			}
		}
	}
	for _, t := range byModule {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b failover.Told) int { return cmp.Compare(a.Module, b.Module) })
	return all, modules
}
