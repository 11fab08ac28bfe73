package modproxy

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	rules "gocache.dev/operator/internal/domain/policy"
)

// TestPolicy holds that the policy reaches the servers through a ConfigMap that
// every pod waits for, that a change restarts none of them, and that one which
// cannot be parsed, or would make probes fail, changes nothing and is reported.
func TestPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(func(s *v1alpha1.ModProxySpec) {
		s.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"corp.example.com"}}}
		s.Policy = &v1alpha1.ProxyPolicy{
			MinimumAge: &metav1.Duration{Duration: 168 * time.Hour}, MinimumAgeExempt: []string{"example.com/a"},
			Deny: []v1alpha1.PolicyRule{{Name: "cve", Modules: []string{"example.com/m"}, Versions: []string{"<v1.4.2"}, Reason: "CVE-1"}},
		}
	})
	inForce := func() *rules.Policy {
		t.Helper()
		var stored corev1.ConfigMap
		if !w.exists(&stored, "goproxy-policy") || !metav1.IsControlledBy(&stored, w.get()) {
			t.Fatal("there is no ConfigMap of the policy")
		}
		p, err := rules.Parse([]byte(stored.Data["policy.json"]))
		w.must(err)
		return p
	}
	if p := inForce(); p.Mode != rules.Enforce || p.MinimumAge != "168h0m0s" || p.Deny[0].Reason != "CVE-1" || !slices.Equal(p.MinimumAgeExempt, []string{"example.com/a", "corp.example.com"}) {
		t.Errorf("the policy is %+v", p)
	}
	server, _, pod := w.pod("goproxy-blue")
	if i := slices.Index(server.Command, "--policy"); i < 0 || server.Command[i+1] != "/etc/gocache-proxy/policy/policy.json" {
		t.Errorf("the server has the command %q", server.Command)
	}
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.ConfigMap != nil && v.ConfigMap.Name == "goproxy-policy" && (v.ConfigMap.Optional == nil || !*v.ConfigMap.Optional)
	}) {
		t.Errorf("the pod does not wait for the policy: %+v", pod.Volumes)
	}
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.Policy.Deny[0].Versions = []string{"<v1.4.3"}
		p.Spec.Policy.Mode = v1alpha1.PolicyDryRun
	})
	w.settle()
	if p := inForce(); p.Mode != rules.DryRun || p.Deny[0].Versions[0] != "<v1.4.3" {
		t.Errorf("the policy is still %+v", p)
	}
	if after, _, _ := w.pod("goproxy-blue"); !slices.Equal(after.Command, server.Command) {
		t.Errorf("a change of the policy replaces pods: %q", after.Command)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Policy.Deny[0].Modules = []string{"example.com/[m"} })
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, `spec.policy: deny[cve].modules[0]: "example.com/[m" is no pattern`)
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.Policy.Mode, p.Spec.Policy.Deny[0].Modules = v1alpha1.PolicyEnforce, []string{"example.com/m"}
		p.Spec.Probes.ReferenceModules = []v1alpha1.ReferenceModule{{Module: "example.com/m", Version: "v1.0.0"}}
	})
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.policy refuses example.com/m@v1.0.0 of spec.probes.referenceModules (deny/cve)")
	if p := inForce(); p.Mode != rules.DryRun || p.Deny[0].Modules[0] != "example.com/m" {
		t.Errorf("what cannot be parsed is in force: %+v", p)
	}
}
