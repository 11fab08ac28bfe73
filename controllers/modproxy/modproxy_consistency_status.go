package modproxy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// maxAgreed bounds status.agreedReferenceModules.
const maxAgreed = 16

// statable are the versions that a status can hold.
var statable = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+.*$`)

// noteAgreement keeps the sums that all instances agree on: when they come to
// differ, they tell who has changed. What nobody asks for any more is dropped;
// what is in dispute stays.
func (s *scope) noteAgreement(agreed map[module.Version]failover.Sums) {
	status := &s.proxy.Status
	if !hasProbe(s.proxy, v1alpha1.ProbeConsistency) {
		status.AgreedReferenceModules = nil
		return
	}
	if len(agreed) == 0 {
		return // nothing was compared, or all is in dispute
	}
	var all []v1alpha1.ReferenceModule
	for m, sums := range agreed {
		if statable.MatchString(m.Version) {
			all = append(all, v1alpha1.ReferenceModule{Module: m.Path, Version: m.Version, Sum: sums.Zip, GoModSum: sums.Mod})
		}
	}
	for _, old := range status.AgreedReferenceModules {
		m := module.Version{Path: old.Module, Version: old.Version}
		if _, is := agreed[m]; !is && s.served(m) {
			all = append(all, old)
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.ReferenceModule) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Version, b.Version))
	})
	status.AgreedReferenceModules = all[:min(len(all), maxAgreed)]
}

// served says whether any instance served a canary lately.
func (s *scope) served(m module.Version) bool {
	for _, f := range s.Found {
		if _, ok := f.Served[m]; ok {
			return true
		}
	}
	return false
}

// reference is what the instances are compared by: those that must not serve
// have no say.
func (s *scope) reference() prober.Reference {
	r := prober.Reference{Agreed: map[module.Version]failover.Sums{}, Excluded: map[string]bool{}}
	for _, c := range s.proxy.Status.AgreedReferenceModules {
		r.Agreed[module.Version{Path: c.Module, Version: c.Version}] = failover.Sums{Zip: c.Sum, Mod: c.GoModSum}
	}
	for _, i := range s.proxy.Status.Instances {
		r.Excluded[i.Name] = i.Quarantined != nil || i.OutOfService
	}
	return r
}

// setConsistent says whether instances contradict each other. What stood there
// stays until the probes know.
func (s *scope) setConsistent(set conditions.Set) {
	const consistent = v1alpha1.ConsistentCondition
	if !hasProbe(s.proxy, v1alpha1.ProbeConsistency) {
		set.Clear(consistent)
		return
	}
	was := meta.FindStatusCondition(s.Stored.Status.Conditions, consistent)
	out := was != nil && was.Status == metav1.ConditionFalse
	compared, believed := 0, false
	var differences []string
	for _, i := range s.proxy.Spec.Instances {
		agrees := s.Found[i.Name].Agrees
		if agrees.Count == 0 {
			continue
		}
		compared++
		if !agrees.Confirmed(out, thresholds(s.proxy.Spec.Probes)) {
			continue
		}
		believed = true
		if agrees.Outcome == failover.Failed && !slices.Contains(differences, agrees.Message) {
			differences = append(differences, agrees.Message)
		}
	}
	switch {
	case len(differences) > 0:
		set.False(consistent, v1alpha1.ReasonInstancesDisagree, "%s", strings.Join(differences, "; "))
	case was != nil && (compared == 0 || believed):
		set.Keep(consistent)
	case compared == 0:
		set.Unknown(consistent, v1alpha1.ReasonProgressing, "No two instances have served the same canary yet")
	default:
		set.True(consistent, v1alpha1.ReasonInstancesAgree, "%d instances serve the same bytes", compared)
	}
}
