package instances

import (
	"context"
	"fmt"

	"golang.org/x/mod/module"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/policy"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/plan/naming"
)

const (
	rulesName = "policy"
	rulesDir  = "/etc/gocache-proxy/policy"
	rulesKey  = "policy.json"
	// rulesFile is where a server finds spec.policy. It is named in its command, so
	// that a server.image without support for it does not start.
	rulesFile = rulesDir + "/" + rulesKey
)

// rulesOf is spec.policy, with the advisories that it names, as the instances read
// it. The error names what is wrong with it.
func rulesOf(p *v1alpha1.ModProxy, advisories []policy.Advisory) (*policy.Policy, error) {
	spec := p.Spec.Policy
	rules := &policy.Policy{Mode: policy.Mode(spec.Mode), Deny: listOf(spec.Deny), Advisories: advisories, Allow: listOf(spec.Allow), MinimumAgeExempt: spec.MinimumAgeExempt}
	if rules.Mode == "" {
		rules.Mode = policy.Enforce
	}
	if spec.MinimumAge != nil {
		rules.MinimumAge = spec.MinimumAge.Duration.String()
		if p.Spec.PrivateModules != nil {
			rules.MinimumAgeExempt = append(rules.MinimumAgeExempt, p.Spec.PrivateModules.Patterns...)
		}
		for _, r := range p.Spec.Probes.ReferenceModules {
			rules.Vetted = append(rules.Vetted, r.Module+"@"+r.Version)
		}
	}
	text, err := rules.Format()
	if err != nil {
		return nil, fmt.Errorf("write spec.policy: %w", err)
	}
	if rules, err = policy.Parse(text); err != nil {
		return nil, pass.Invalid("spec.policy: %v. Correct it; until then the instances do not change", err)
	}
	for _, r := range p.Spec.Probes.ReferenceModules {
		if d := rules.Decide(module.Version{Path: r.Module, Version: r.Version}); d.Refused() && rules.Mode == policy.Enforce {
			return nil, pass.Invalid("spec.policy refuses %s@%s of spec.probes.referenceModules (%s), so that probes would fail: name another reference module, or change the policy", r.Module, r.Version, d.Rule)
		}
	}
	return rules, nil
}

func listOf(rules []v1alpha1.PolicyRule) (all []policy.Rule) {
	for _, r := range rules {
		all = append(all, policy.Rule{Name: r.Name, Modules: r.Modules, Versions: r.Versions, Reason: r.Reason})
	}
	return all
}

// ensureRules brings spec.policy to the ConfigMap that the instances mount. They
// read it again when it changes. It stays when the policy is removed: pods that
// are replaced one after the other still have it.
func (r Reconciler) ensureRules(ctx context.Context, p *v1alpha1.ModProxy) error {
	if p.Spec.Policy == nil {
		return nil
	}
	advisories, err := r.Advisories.of(ctx, r.Live, p)
	if err != nil {
		return err
	}
	rules, err := rulesOf(p, advisories)
	if err != nil {
		return err
	}
	text, err := rules.Format()
	if err != nil {
		return fmt.Errorf("write spec.policy: %w", err)
	}
	_, err = r.applier().Apply(ctx, apply.ControlledBy(p), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: naming.Child(p.Name, rulesName),
			Labels: map[string]string{v1alpha1.ProxyLabel: p.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		},
		Data: map[string]string{rulesKey: string(text)},
	})
	return err
}

// rulesVolume is the ConfigMap as the servers mount it. A pod waits for it.
func rulesVolume(p *v1alpha1.ModProxy) corev1.Volume {
	return corev1.Volume{Name: rulesName, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: naming.Child(p.Name, rulesName)},
	}}}
}
