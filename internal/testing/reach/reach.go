// Package reach computes from NetworkPolicies which pods can connect to which, as
// a network plugin that enforces them does, for clusters whose plugin does not.
package reach

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
)

// Pod is one end of a connection.
type Pod struct {
	// Namespace of the pod; empty: an address outside of the cluster.
	Namespace string
	// NamespaceLabels beside kubernetes.io/metadata.name, which every namespace has.
	NamespaceLabels map[string]string
	Labels          map[string]string
	// Address, where a policy has blocks of addresses.
	Address string
}

// Allowed reports whether policies let a pod accept a connection to a TCP port.
func Allowed(t *testing.T, policies []networkingv1.NetworkPolicy, from, to Pod, port int32) bool {
	t.Helper()
	restricted := false
	for _, p := range policies {
		if p.Namespace != to.Namespace || !matches(t, &p.Spec.PodSelector, to.Labels) || !ingress(p) {
			continue
		}
		restricted = true
		for _, rule := range p.Spec.Ingress {
			if hasPort(t, rule, port) && hasPeer(t, p.Namespace, rule, from) {
				return true
			}
		}
	}
	return !restricted
}

func ingress(p networkingv1.NetworkPolicy) bool {
	for _, kind := range p.Spec.PolicyTypes {
		if kind == networkingv1.PolicyTypeIngress {
			return true
		}
	}
	return len(p.Spec.PolicyTypes) == 0
}

func hasPort(t *testing.T, rule networkingv1.NetworkPolicyIngressRule, port int32) bool {
	t.Helper()
	for _, p := range rule.Ports {
		if p.EndPort != nil || p.Port == nil || p.Port.StrVal != "" {
			t.Fatalf("port %+v: only single ports by number are computed here", p)
		}
		if ptr.Deref(p.Protocol, corev1.ProtocolTCP) == corev1.ProtocolTCP && p.Port.IntVal == port {
			return true
		}
	}
	return len(rule.Ports) == 0
}

func hasPeer(t *testing.T, namespace string, rule networkingv1.NetworkPolicyIngressRule, from Pod) bool {
	t.Helper()
	for _, peer := range rule.From {
		if peer.IPBlock != nil {
			if inBlock(t, peer.IPBlock, from.Address) {
				return true
			}
			continue
		}
		inNamespace := from.Namespace == namespace
		if peer.NamespaceSelector != nil {
			all := map[string]string{corev1.LabelMetadataName: from.Namespace}
			for key, value := range from.NamespaceLabels {
				all[key] = value
			}
			inNamespace = matches(t, peer.NamespaceSelector, all)
		}
		if from.Namespace != "" && inNamespace && (peer.PodSelector == nil || matches(t, peer.PodSelector, from.Labels)) {
			return true
		}
	}
	return len(rule.From) == 0
}

func inBlock(t *testing.T, block *networkingv1.IPBlock, address string) bool {
	t.Helper()
	if address == "" {
		return false
	}
	within := func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(netip.MustParseAddr(address)) }
	for _, except := range block.Except {
		if within(except) {
			return false
		}
	}
	return within(block.CIDR)
}

func matches(t *testing.T, s *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(set))
}
