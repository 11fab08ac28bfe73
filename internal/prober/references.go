package prober

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
)

// referenceKinds are the probes that ask for reference modules, all with the
// same requests.
var referenceKinds = []failover.Kind{failover.Protocol, failover.Checksum, failover.Consistency}

// serves reports whether reference modules are of any use to a kind of probe: one
// without a checksum is none to Checksum.
func serves(references []probe.ReferenceModule, kind failover.Kind) bool {
	return slices.ContainsFunc(references, func(c probe.ReferenceModule) bool {
		return kind != failover.Checksum || c.Zip != "" || c.Mod != ""
	})
}

// forgetUnasked drops the kinds that have nothing to ask for, so that no
// decision waits for their outcome. While no user has named a reference module,
// that is not known before a check of the store has ended. The prober's lock is
// held.
func (i *instanceState) forgetUnasked(asked []probe.ReferenceModule) {
	if r := i.observed.Store; len(i.target.References) == 0 && (r == nil || r.Verdict == nil) {
		return
	}
	for _, kind := range referenceKinds {
		if !serves(asked, kind) {
			delete(i.observed.Streaks, kind)
		}
	}
}

// references are what an instance is asked for: what a user has named, else what
// its store has, with the checksums that its agent saw there. To compare it with
// the others it is also asked for what they have, if it can be asked in a way
// that never makes it fetch anything.
func (p *Prober) references(proxy types.NamespacedName, i *instanceState) []probe.ReferenceModule {
	if !slices.ContainsFunc(referenceKinds, i.target.has) {
		return nil
	}
	if len(i.target.References) > 0 {
		return i.target.References
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []probe.ReferenceModule
	for _, s := range i.observed.Store.sampled() {
		all = append(all, probe.ReferenceModule{Module: s.Version, Zip: s.Zip, Mod: s.Mod, OnlyStored: true})
	}
	if !i.target.SupportsStoredOnly || !i.target.has(failover.Consistency) {
		return all
	}
	others := map[string]module.Version{}
	if s := p.proxies[proxy]; s != nil {
		for _, other := range s.instances {
			for _, s := range other.observed.Store.sampled() {
				others[probe.SampleRank(s.Version)] = s.Version
			}
		}
	}
	for n, rank := range slices.Sorted(maps.Keys(others)) {
		known := slices.ContainsFunc(all, func(c probe.ReferenceModule) bool { return c.Module == others[rank] })
		if n < probe.Samples && !known {
			all = append(all, probe.ReferenceModule{Module: others[rank], OnlyStored: true})
		}
	}
	return all
}

// withdraw takes back a failure against checksums that the agent reports no
// longer: the version was withdrawn from the store and fetched again while the
// instance was asked. The report is one that was made after the answers; nil:
// there was none.
func (t Target) withdraw(a answers, asked []probe.ReferenceModule, after *StoreReport) {
	if after == nil || len(t.References) > 0 || a.results[failover.Checksum].Outcome != probe.Failed {
		return
	}
	for _, c := range asked {
		if (c.Zip != "" || c.Mod != "") && !slices.Contains(after.sampled(), probe.Sampled{Version: c.Module, Zip: c.Zip, Mod: c.Mod}) {
			a.results[failover.Checksum] = probe.Result{Outcome: probe.Unknown, Message: c.Module.String() + " is no longer in the sample of the store"}
			return
		}
	}
}

// unsorted is what is known of the probes whose answers could not be read.
func (t Target) unsorted(a answers, defect string) {
	clear(a.served)
	if t.has(failover.Protocol) {
		a.results[failover.Protocol] = probe.Result{Outcome: probe.Failed, Message: defect}
	}
	if t.has(failover.Checksum) {
		a.results[failover.Checksum] = probe.Result{Outcome: probe.Unknown, Message: defect}
	}
}

// sort sorts what was answered for the reference modules by kind.
func (t Target) sort(a answers, all []probe.Answer) {
	if t.has(failover.Protocol) {
		a.results[failover.Protocol] = probe.Protocol(all)
	}
	if t.has(failover.Checksum) {
		a.results[failover.Checksum] = probe.Checksum(all)
	}
	for _, answer := range all {
		if answer.Sums.Zip != "" {
			a.served[answer.Module] = failover.Sums{Zip: answer.Sums.Zip, Mod: answer.Sums.Mod}
		}
	}
}

// Reference is what the instances of a proxy are compared by.
type Reference struct {
	// Agreed are the checksums that all instances had agreed on before.
	Agreed map[module.Version]failover.Sums
	// Excluded are the instances that are not compared, by name.
	Excluded map[string]bool
}

// CompareBy sets what the instances of a proxy are compared by.
func (p *Prober) CompareBy(proxy types.NamespacedName, r Reference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.proxies[proxy]; s != nil {
		s.reference = r
	}
}

// compare compares all instances by what each served in its last round, of
// which one has just ended, and reports whether that may change a decision; the
// prober's lock is held. It asks nothing: what a version holds never changes.
func (s *proxyState) compare(i *instanceState, now time.Time) (changed bool) {
	served, modules := s.served()
	agreement := failover.Compare(served)
	name := i.target.Name
	was := i.observed.Streaks[failover.Consistency]
	text, compared := agreement.Differences[name]
	if !compared {
		return false
	}
	is := was.Add(agreement.Outcomes[name], text, now)
	i.observed.Streaks[failover.Consistency] = is
	result := failover.Passed
	if text != "" {
		result = failover.Failed
	}
	before := i.observed.Agrees
	i.observed.Agrees = before.Add(result, text, now)
	agreed := map[module.Version]failover.Sums{}
	for text, sums := range agreement.Agreed {
		agreed[modules[text]] = sums
	}
	changed = matters(was, is, i.target.Thresholds) || matters(before, i.observed.Agrees, i.target.Thresholds) || !maps.Equal(s.agreed, agreed)
	s.agreed = agreed
	return changed
}

// served is what the instances served, by module, and the modules by their text.
func (s *proxyState) served() (all []failover.Served, modules map[string]module.Version) {
	modules = map[string]module.Version{}
	byModule := map[module.Version]*failover.Served{}
	for name, i := range s.instances {
		if s.reference.Excluded[name] {
			continue
		}
		for m, sums := range i.observed.Served {
			if byModule[m] == nil {
				byModule[m] = &failover.Served{Module: m.String(), Sums: map[string]failover.Sums{}, Agreed: s.reference.Agreed[m]}
				modules[m.String()] = m
			}
			byModule[m].Sums[name] = sums
		}
		for _, c := range i.target.References {
			if byModule[c.Module] != nil {
				byModule[c.Module].Pinned = failover.Sums{Zip: c.Zip, Mod: c.Mod}
			}
		}
	}
	for _, t := range byModule {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b failover.Served) int { return cmp.Compare(a.Module, b.Module) })
	return all, modules
}
