package instances

import (
	"context"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/plan/naming"
)

// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete

// ensurePolicy restricts the connections to the instances, all with one policy.
func (r Reconciler) ensurePolicy(ctx context.Context, p *v1alpha1.ModProxy, own []*v1alpha1.ProxyInstance) error {
	name := naming.Child(p.Name, "instances")
	if !netpolicy.Managed(p, r.ManagerNamespace) {
		return netpolicy.Remove(ctx, r.Client, p, p.Namespace, name)
	}
	var servers []int32
	for _, instance := range own {
		servers = append(servers, serverPort(pass.ServerOf(p, instance)))
	}
	slices.Sort(servers)
	_, err := r.applier().Apply(ctx, apply.ControlledBy(p), r.policy(p, name, slices.Compact(servers)))
	return err
}

// policy for the pods of all instances, also of those that the spec no longer
// names, whose servers listen on ports.
func (r Reconciler) policy(p *v1alpha1.ModProxy, name string, servers []int32) *networkingv1.NetworkPolicy {
	// The agent is checked by HAProxy where a server does not report the state of
	// its store.
	rules := netpolicy.Admit(append(slices.Clone(servers), pass.AgentPort),
		netpolicy.Pods(haproxy.Selector(p.Name)), netpolicy.Manager(r.ManagerNamespace))
	// Metrics are for the manager and scrapers, and no client. Scrapers do not reach the
	// servers: nothing there checks credentials, and they would pass by those of
	// router.clientAuth. The policy is for all instances, so that a port of metrics can
	// be the port of another one's server.
	metrics := slices.DeleteFunc([]int32{pass.AgentPort, pass.MetricsPort}, func(port int32) bool { return slices.Contains(servers, port) })
	rules = append(rules, netpolicy.Admit(metrics, netpolicy.Scrapers(), netpolicy.Manager(r.ManagerNamespace))...)
	if p.Spec.Router.Type == v1alpha1.RouterGateway || p.Spec.Router.Type == v1alpha1.RouterService {
		rules = append(rules, netpolicy.AdmitClients(p, servers)...)
	}
	labels := map[string]string{v1alpha1.ProxyLabel: p.Name}
	all := metav1.LabelSelector{
		MatchLabels:      labels,
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1alpha1.InstanceLabel, Operator: metav1.LabelSelectorOpExists}},
	}
	// Instances ask each other for what they have stored.
	rules = append(rules, netpolicy.Admit(servers, networkingv1.NetworkPolicyPeer{PodSelector: all.DeepCopy()})...)
	return netpolicy.Policy(metav1.ObjectMeta{Namespace: p.Namespace, Name: name, Labels: labels}, all, rules)
}
