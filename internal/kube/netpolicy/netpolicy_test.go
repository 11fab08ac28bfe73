package netpolicy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/testing/reach"
)

// TestEmptyListsAdmitNone holds that no list of peers or ports that happens to be
// empty becomes a rule that admits all: that is what the API takes it for.
func TestEmptyListsAdmitNone(t *testing.T) {
	if rules := netpolicy.Admit([]int32{8080}); rules != nil {
		t.Errorf("without peers: %v", rules)
	}
	if rules := netpolicy.Admit(nil, netpolicy.Scrapers()); rules != nil {
		t.Errorf("without ports: %v", rules)
	}
	if rules := netpolicy.AdmitAll(nil); rules != nil {
		t.Errorf("without ports: %v", rules)
	}
	p := &v1alpha1.ModProxy{}
	p.Spec.Router.From = []v1alpha1.ClientPeer{}
	p.Namespace = "go"
	policies := []networkingv1.NetworkPolicy{{Spec: networkingv1.NetworkPolicySpec{Ingress: netpolicy.AdmitClients(p, []int32{8080})}}}
	policies[0].Namespace = "go"
	for name, from := range map[string]reach.Pod{"a neighbour": {Namespace: "go"}, "a tenant": {Namespace: "tenant"}, "an address": {Address: "192.0.2.1"}} {
		if reach.Allowed(t, policies, from, reach.Pod{Namespace: "go"}, 8080) {
			t.Errorf("an empty list of clients admits %s", name)
		}
	}
}

// TestSamplesOfEgress holds that the samples are policies of egress alone, so that
// applying them closes no port, and that each has the ports that its pods connect to.
func TestSamplesOfEgress(t *testing.T) {
	want := map[string][]int32{
		"gocache-manager-egress": {53, 443, 6443, 8080, 9103, 9104, 8404, 9778, 22},
		"gocache-dns":            {53},
		"gocache-warm-up":        {443, 8080, 22},
		"gocache-router":         {443, 6443, 8080, 9103},
		"gocache-instances":      {443, 8080, 22}, // 8080: of the other instances of the proxy
	}
	for _, file := range []string{"manager.yaml", "namespace.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "network-policy", "egress", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			var policy networkingv1.NetworkPolicy
			if err := yaml.UnmarshalStrict(document, &policy); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if len(policy.Spec.PolicyTypes) != 1 || policy.Spec.PolicyTypes[0] != networkingv1.PolicyTypeEgress {
				t.Errorf("%s: %s is of types %v", file, policy.Name, policy.Spec.PolicyTypes)
			}
			has := map[int32]bool{}
			for _, rule := range policy.Spec.Egress {
				if len(rule.To) == 0 || len(rule.Ports) == 0 {
					t.Errorf("%s: %s has a rule that admits everything", file, policy.Name)
				}
				for _, port := range rule.Ports {
					has[port.Port.IntVal] = true
				}
			}
			ports, known := want[policy.Name]
			if !known {
				t.Errorf("%s: it is not known which ports %s needs", file, policy.Name)
			}
			for _, port := range ports {
				if !has[port] {
					t.Errorf("%s: %s has no rule for port %d", file, policy.Name, port)
				}
			}
			delete(want, policy.Name)
		}
	}
	for name := range want {
		t.Errorf("no sample has the policy %s", name)
	}
}
