package modproxy

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// maxAgreed bounds status.agreedReferenceModules.
const maxAgreed = 16

// statusVersion matches the versions that a status accepts.
var statusVersion = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+.*$`)

// recordConsistency records which checksums all instances agree on, and since
// when instances disagree. Until the probes have an outcome, what was recorded
// stays.
func recordConsistency(p *v1alpha1.ModProxy, o pass.Observed) {
	since := &p.Status.InstancesDisagreeSince
	if !hasProbe(p, v1alpha1.ProbeConsistency) {
		p.Status.AgreedReferenceModules, *since = nil, nil
		return
	}
	recordAgreed(p, o)
	switch count, confirmed, _ := compared(p, o, *since != nil); {
	case count == 0: // not compared since the operator was started
	case !confirmed:
		*since = nil
	case *since == nil:
		*since = ptr.To(metav1.NewTime(o.Now))
	}
}

// recordAgreed records the checksums that all instances agree on: once they
// disagree, these decide which of them has changed. A module that is no longer
// probed is dropped; one in dispute stays.
func recordAgreed(p *v1alpha1.ModProxy, o pass.Observed) {
	if len(o.Agreed) == 0 {
		return // nothing was compared, or all is in dispute
	}
	var all []v1alpha1.ReferenceModule
	for m, sums := range o.Agreed {
		if statusVersion.MatchString(m.Version) {
			all = append(all, v1alpha1.ReferenceModule{Module: m.Path, Version: m.Version, Sum: sums.Zip, GoModSum: sums.Mod})
		}
	}
	for _, old := range p.Status.AgreedReferenceModules {
		m := module.Version{Path: old.Module, Version: old.Version}
		if _, agreed := o.Agreed[m]; !agreed && served(o, m) {
			all = append(all, old)
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.ReferenceModule) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Version, b.Version))
	})
	p.Status.AgreedReferenceModules = all[:min(len(all), maxAgreed)]
}

// served reports whether an instance served a reference module in its last round.
func served(o pass.Observed, m module.Version) bool {
	for _, f := range o.Found {
		if _, ok := f.Served[m]; ok {
			return true
		}
	}
	return false
}

// compared is how many instances were compared, whether it is confirmed that they
// disagree, and what they differ in. out: it was confirmed before.
func compared(p *v1alpha1.ModProxy, o pass.Observed, out bool) (count int, confirmed bool, differences []string) {
	for _, i := range p.Spec.Instances {
		agrees := o.Found[i.Name].Agrees
		if agrees.Count == 0 {
			continue
		}
		count++
		if !agrees.Confirmed(out, thresholds(p.Spec.Probes)) {
			continue
		}
		confirmed = true
		if agrees.Outcome == failover.Failed && !slices.Contains(differences, agrees.Message) {
			differences = append(differences, agrees.Message)
		}
	}
	return count, confirmed, differences
}

// consistencyFact is the fact for the condition Consistent: whether instances serve
// the same content. It is nil if that is not probed.
func consistencyFact(p *v1alpha1.ModProxy, o pass.Observed) *pass.Fact {
	if !hasProbe(p, v1alpha1.ProbeConsistency) {
		return nil
	}
	count, confirmed, differences := compared(p, o, p.Status.InstancesDisagreeSince != nil)
	switch {
	case len(differences) > 0:
		return pass.False(v1alpha1.ReasonInstancesDisagree, "%s", strings.Join(differences, "; "))
	case count == 0 || confirmed:
		return pass.Unchanged(v1alpha1.ReasonProgressing, "No two instances have served the same reference module yet")
	default:
		return pass.True(v1alpha1.ReasonInstancesAgree, "%d instances serve the same content", count)
	}
}

// compareInstances sets what the instances are compared by from now on.
func (r *Reconciler) compareInstances(_ context.Context, p *progress) error {
	r.prober.CompareBy(client.ObjectKeyFromObject(p.proxy), reference(p.proxy))
	return nil
}

// reference is what the instances are compared by: one that must not serve is
// excluded.
func reference(p *v1alpha1.ModProxy) prober.Reference {
	r := prober.Reference{Agreed: map[module.Version]failover.Sums{}, Excluded: map[string]bool{}}
	for _, c := range p.Status.AgreedReferenceModules {
		r.Agreed[module.Version{Path: c.Module, Version: c.Version}] = failover.Sums{Zip: c.Sum, Mod: c.GoModSum}
	}
	for _, i := range p.Status.Instances {
		r.Excluded[i.Name] = i.Quarantined != nil || i.OutOfService
	}
	return r
}
