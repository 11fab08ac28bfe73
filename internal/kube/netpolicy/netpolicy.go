package netpolicy

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
)

// ScrapersLabel with ScrapersValue is on the namespaces that may read metrics, as
// the policy for the manager in config/network-policy has it.
const (
	ScrapersLabel = "metrics"
	ScrapersValue = "enabled"
)

// Managed reports whether the operator creates the policies of a proxy: not where
// the namespace of the manager is unknown, because it runs outside of the
// cluster: a policy could not admit it.
func Managed(p *v1alpha1.ModProxy, managerNamespace string) bool {
	return p.Spec.NetworkPolicy != v1alpha1.NetworkPolicyNone && managerNamespace != ""
}

// Clients are the peers that may use a proxy; all: any address may, also outside
// of the cluster. Beside those of spec.router.from, the Jobs of the GoCaches in
// the namespace of the proxy may: they use it by environment.proxyRef.
func Clients(p *v1alpha1.ModProxy) (peers []networkingv1.NetworkPolicyPeer, all bool) {
	if p.Spec.Router.From == nil {
		return nil, true
	}
	peers = []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1alpha1.CacheLabel, Operator: metav1.LabelSelectorOpExists}},
	}}}
	for _, from := range p.Spec.Router.From {
		peer := networkingv1.NetworkPolicyPeer{NamespaceSelector: from.NamespaceSelector.Core(), PodSelector: from.PodSelector.Core()}
		if from.IPBlock != nil {
			peer.IPBlock = &networkingv1.IPBlock{CIDR: from.IPBlock.CIDR, Except: slices.Clone(from.IPBlock.Except)}
		}
		peers = append(peers, peer)
	}
	return peers, false
}

// Manager is the peer of all pods in the manager's namespace.
func Manager(namespace string) networkingv1.NetworkPolicyPeer {
	return inNamespaces(corev1.LabelMetadataName, namespace)
}

// Scrapers is the peer of all pods in namespaces with the label metrics: enabled.
func Scrapers() networkingv1.NetworkPolicyPeer { return inNamespaces(ScrapersLabel, ScrapersValue) }

// Pods is the peer of pods in the policy's own namespace.
func Pods(labels map[string]string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: labels}}
}

func inNamespaces(key, value string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}}
}

// Admit is the rule that peers may connect to TCP ports. Without peers it admits
// none: the API takes a rule without peers for one that admits every address, and
// AdmitAll is for that.
func Admit(ports []int32, peers ...networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyIngressRule {
	if len(peers) == 0 || len(ports) == 0 {
		return nil
	}
	return []networkingv1.NetworkPolicyIngressRule{{Ports: tcp(ports), From: peers}}
}

// AdmitAll is the rule that every address may connect to TCP ports.
func AdmitAll(ports []int32) []networkingv1.NetworkPolicyIngressRule {
	if len(ports) == 0 { // the API takes it for all ports
		return nil
	}
	return []networkingv1.NetworkPolicyIngressRule{{Ports: tcp(ports)}}
}

// AdmitClients is the rule that the clients of a proxy may connect to TCP ports.
func AdmitClients(p *v1alpha1.ModProxy, ports []int32) []networkingv1.NetworkPolicyIngressRule {
	peers, all := Clients(p)
	if all {
		return AdmitAll(ports)
	}
	return Admit(ports, peers...)
}

func tcp(ports []int32) []networkingv1.NetworkPolicyPort {
	var all []networkingv1.NetworkPolicyPort
	for _, port := range ports {
		all = append(all, networkingv1.NetworkPolicyPort{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt32(port))})
	}
	return all
}

// Policy restricts the connections to the pods of a selector to rules.
func Policy(meta metav1.ObjectMeta, pods metav1.LabelSelector, rules []networkingv1.NetworkPolicyIngressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: meta,
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: pods, Ingress: rules, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
}

// Remove deletes a policy if it belongs to the owner. One that does not exist is
// no error.
func Remove(ctx context.Context, c client.Client, owner metav1.Object, namespace, name string) error {
	policy, err := read.Object[networkingv1.NetworkPolicy](ctx, c, namespace, name)
	if err != nil || policy == nil || !metav1.IsControlledBy(policy, owner) {
		return err
	}
	return apply.Delete(ctx, c, policy)
}
