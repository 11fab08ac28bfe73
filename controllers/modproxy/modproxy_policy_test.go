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

// TestAdvisoriesOfAPolicy holds that the advisories of ConfigMaps reach the servers,
// that a change of a ConfigMap does without one of the ModProxy, and that one which
// cannot be read is reported and changes nothing.
func TestAdvisoriesOfAPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	advisory := func(id, fixed string) string {
		return `{"id":"` + id + `","summary":"Flaw","affected":[{"package":{"ecosystem":"Go","name":"example.com/m"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"` + fixed + `"}]}]}]}`
	}
	first := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "reviewed"}, Data: map[string]string{"GO-2026-0001.json": advisory("GO-2026-0001", "1.4.2")}}
	second := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "malicious"}, Data: map[string]string{"all.json": "[" + advisory("MAL-2026-1", "0.1.0") + "," + advisory("MAL-2026-2", "0.2.0") + "]"}}
	w.must(server.Client.Create(t.Context(), first))
	w.must(server.Client.Create(t.Context(), second))
	change := func(o *corev1.ConfigMap, key, text string) {
		t.Helper()
		o.Data = map[string]string{key: text}
		w.must(server.Client.Update(t.Context(), o))
		w.settle()
	}
	w.serving(func(s *v1alpha1.ModProxySpec) {
		s.Policy = &v1alpha1.ProxyPolicy{Advisories: []v1alpha1.AdvisorySource{
			{ConfigMapRef: v1alpha1.LocalReference{Name: "reviewed"}}, {ConfigMapRef: v1alpha1.LocalReference{Name: "malicious"}},
		}}
	})
	generation := w.get().Generation
	inForce := func(want ...string) {
		t.Helper()
		var stored corev1.ConfigMap
		if !w.exists(&stored, "goproxy-policy") {
			t.Fatal("there is no ConfigMap of the policy")
		}
		p, err := rules.Parse([]byte(stored.Data["policy.json"]))
		w.must(err)
		var got []string
		for _, a := range p.Advisories {
			got = append(got, a.ID+" "+a.Affected[0].Module+"@"+a.Affected[0].Versions[0])
		}
		if !slices.Equal(got, want) {
			t.Errorf("the advisories are %q, want %q", got, want)
		}
	}
	malicious := []string{"MAL-2026-1 example.com/m@<v0.1.0", "MAL-2026-2 example.com/m@<v0.2.0"}
	inForce(append([]string{"GO-2026-0001 example.com/m@<v1.4.2"}, malicious...)...)

	change(first, "GO-2026-0001.json", advisory("GO-2026-0001", "1.4.3"))
	inForce(append([]string{"GO-2026-0001 example.com/m@<v1.4.3"}, malicious...)...)
	w.condition(v1alpha1.StalledCondition, "", "", "")

	const last = ". Correct it; until then the instances do not change"
	change(second, "all.json", "["+advisory("MAL-2026-1", "0.3.0")+","+advisory("MAL-2026-2", "c0nfidential")+"]")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec,
		"spec.policy.advisories[1]: ConfigMap malicious, key all.json: [1] MAL-2026-2: affected[0].ranges[0].events[1] has no version such as 1.2.3"+last)
	inForce(append([]string{"GO-2026-0001 example.com/m@<v1.4.3"}, malicious...)...)
	change(second, "README", "")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "ConfigMap malicious, key README: it is not valid JSON at byte 0"+last)
	second.Data, second.BinaryData = nil, map[string][]byte{"all.json.gz": {1}}
	w.must(server.Client.Update(t.Context(), second))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "ConfigMap malicious has binaryData")
	second.BinaryData = nil
	w.must(server.Client.Update(t.Context(), second))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "ConfigMap malicious has no key: without advisories, set one to []"+last)
	change(second, "none.json", "[]")
	w.condition(v1alpha1.StalledCondition, "", "", "")
	inForce("GO-2026-0001 example.com/m@<v1.4.3")

	w.must(server.Client.Delete(t.Context(), first))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.policy.advisories[0]: ConfigMap reviewed does not exist"+last)
	inForce("GO-2026-0001 example.com/m@<v1.4.3")
	if w.get().Generation != generation {
		t.Error("the spec has changed")
	}

	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Policy.Advisories = p.Spec.Policy.Advisories[1:] })
	w.settle()
	w.condition(v1alpha1.StalledCondition, "", "", "")
	inForce()

	// No advisory may make the probes fail.
	module := testModule.ReferenceModule
	change(second, "all.json", `{"id":"GO-2026-0002","affected":[{"package":{"ecosystem":"Go","name":"`+module.Module+`"}}]}`)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.policy refuses "+module.Module+"@"+module.Version+" of spec.probes.referenceModules (advisory/GO-2026-0002)")
	inForce()
}
