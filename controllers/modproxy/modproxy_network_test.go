package modproxy

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/reach"
)

// managerNamespace is that of the manager in these tests.
const managerNamespace = "operators"

// policies of the namespace, as the API server stores them.
func (w *world) policies() []networkingv1.NetworkPolicy {
	w.t.Helper()
	var list networkingv1.NetworkPolicyList
	w.must(server.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace)))
	return list.Items
}

// podOf is a pod of the StatefulSet of an instance.
func (w *world) podOf(instance string) reach.Pod {
	w.t.Helper()
	var set appsv1.StatefulSet
	if !w.exists(&set, "goproxy-"+instance) {
		w.t.Fatalf("there is no StatefulSet of %s", instance)
	}
	return reach.Pod{Namespace: w.namespace, Labels: set.Spec.Template.Labels}
}

// routerPeer is a pod of the router's Deployment.
func (w *world) routerPeer() reach.Pod {
	w.t.Helper()
	var d appsv1.Deployment
	if !w.exists(&d, "goproxy-router") {
		w.t.Fatal("there is no router")
	}
	return reach.Pod{Namespace: w.namespace, Labels: d.Spec.Template.Labels}
}

// connections checks which of the peers reach which ports of a pod: each is named
// as PEER:PORT, and all others must not.
func (w *world) connections(what string, to reach.Pod, peers map[string]reach.Pod, ports []int32, want ...string) {
	w.t.Helper()
	var got []string
	policies := w.policies()
	for name, from := range peers {
		for _, port := range ports {
			if reach.Allowed(w.t, policies, from, to, port) {
				got = append(got, fmt.Sprintf("%s:%d", name, port))
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s is reached by\n%q, want\n%q", what, got, want)
	}
}

// TestNetworkPolicies holds which pods reach those of a proxy where policies are
// enforced, and that they are created and removed by the spec.
func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(func(s *v1alpha1.ModProxySpec) {
		s.Instances[1].Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "server:1", Port: ptr.To[int32](4000)}
	})
	router, blue, green := w.routerPeer(), w.podOf("blue"), w.podOf("green")
	peers := map[string]reach.Pod{
		"router": router, "manager": {Namespace: managerNamespace}, "scraper": {Namespace: "monitoring", NamespaceLabels: map[string]string{"metrics": "enabled"}},
		"neighbour": {Namespace: w.namespace, Labels: map[string]string{"app": "ci"}}, "job": {Namespace: w.namespace, Labels: map[string]string{v1alpha1.CacheLabel: "ci"}},
		"tenant": {Namespace: "tenant", Labels: router.Labels}, "instance": blue, "stranger": {Namespace: "tenant", Labels: blue.Labels}, "outside": {Address: "203.0.113.7"},
	}
	instancePorts, routerPorts := []int32{8080, 4000, 9103, 9104, 22}, []int32{8080, 8404, 9778, 9777}
	closed := []string{
		"instance:4000", "instance:8080",
		"manager:4000", "manager:8080", "manager:9103", "manager:9104", "router:4000", "router:8080", "router:9103",
		// A scraper does not reach what the servers serve: it would pass by the
		// credentials that the router checks.
		"scraper:9103", "scraper:9104",
	}
	pages := []string{"manager:8404", "manager:9778", "scraper:8404", "scraper:9778"}
	all := []string{"router:8080", "manager:8080", "scraper:8080", "neighbour:8080", "job:8080", "tenant:8080", "instance:8080", "stranger:8080", "outside:8080"}
	for name, instance := range map[string]reach.Pod{"blue": blue, "green": green} {
		w.connections("by default "+name, instance, peers, instancePorts, closed...)
	}
	w.connections("by default the router", router, peers, routerPorts, slices.Concat(pages, all)...)

	for _, tt := range []struct {
		name string
		from []v1alpha1.ClientPeer
		want []string
	}{
		{"no client", []v1alpha1.ClientPeer{}, []string{"job:8080"}},
		{"its own namespace", []v1alpha1.ClientPeer{{PodSelector: &v1alpha1.LabelSelector{}}}, []string{"instance:8080", "job:8080", "neighbour:8080", "router:8080"}},
		{
			"a tenant and addresses", []v1alpha1.ClientPeer{
				{NamespaceSelector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "tenant"}}},
				{IPBlock: &v1alpha1.IPBlock{CIDR: "203.0.113.0/24", Except: []string{"203.0.113.128/25"}}},
			}, []string{"job:8080", "tenant:8080", "stranger:8080", "outside:8080"},
		},
		{
			"some pods of all namespaces", []v1alpha1.ClientPeer{{
				NamespaceSelector: &v1alpha1.LabelSelector{},
				PodSelector:       &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.SelectorRequirement{{Key: "app", Operator: "In", Values: []string{"ci"}}}},
			}}, []string{"job:8080", "neighbour:8080"},
		},
	} {
		w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Router.From = tt.from })
		w.settle()
		w.connections(tt.name+": the router", router, peers, routerPorts, slices.Concat(pages, tt.want)...)
		w.connections(tt.name+": blue", blue, peers, instancePorts, closed...)
	}

	// The port that the policy admits scrapers to is the one that serves metrics.
	var set appsv1.StatefulSet
	if !w.exists(&set, "goproxy-blue") {
		t.Fatal("there is no StatefulSet of blue")
	}
	container := set.Spec.Template.Spec.Containers[0]
	if !slices.Contains(container.Ports, corev1.ContainerPort{Name: "metrics", ContainerPort: 9104, Protocol: corev1.ProtocolTCP}) ||
		!slices.Contains(container.Env, corev1.EnvVar{Name: "GOCACHE_PROXY_METRICS_LISTEN", Value: ":9104"}) {
		t.Errorf("the server does not serve metrics on port 9104: %v, %v", container.Ports, container.Env)
	}

	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.NetworkPolicy = v1alpha1.NetworkPolicyNone })
	w.settle()
	if left := w.policies(); len(left) != 0 {
		t.Errorf("with networkPolicy None there are %d policies", len(left))
	}
	// A Service leads clients to the instances themselves.
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.NetworkPolicy, p.Spec.Router.Type = v1alpha1.NetworkPolicyManaged, v1alpha1.RouterService
		p.Spec.Router.From = []v1alpha1.ClientPeer{{PodSelector: &v1alpha1.LabelSelector{}}}
	})
	w.settle()
	w.connections("behind a Service blue", blue, peers, instancePorts,
		append(closed, "neighbour:4000", "neighbour:8080", "job:4000", "job:8080")...)
	// The Service has the port of modules alone: no port of it leads to what instances
	// report to the operator and to scrapers.
	var service corev1.Service
	if !w.exists(&service, "goproxy-router") || len(service.Spec.Ports) != 1 || service.Spec.Ports[0].TargetPort != intstr.FromString("http") {
		t.Errorf("the Service of the router has the ports %+v", service.Spec.Ports)
	}
	for _, c := range set.Spec.Template.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == "http" && port.ContainerPort != 8080 {
				t.Errorf("port http of container %s is %d", c.Name, port.ContainerPort)
			}
		}
	}
}

// TestNoPolicyWithoutTheManagersNamespace holds that a manager that runs outside
// of the cluster does not exclude itself.
func TestNoPolicyWithoutTheManagersNamespace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconciler.ManagerNamespace = ""
	w.proxy()
	w.settle()
	if left := w.policies(); len(left) != 0 {
		t.Errorf("there are %d policies", len(left))
	}
}

// TestForeignPolicyStays holds that a policy that a user created under a needed
// name is neither changed nor removed.
func TestForeignPolicyStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := &networkingv1.NetworkPolicy{}
	foreign.Namespace, foreign.Name = w.namespace, "goproxy-instances"
	w.must(server.Client.Create(t.Context(), foreign))
	w.proxy(func(s *v1alpha1.ModProxySpec) { s.NetworkPolicy = v1alpha1.NetworkPolicyNone })
	w.settle()
	var after networkingv1.NetworkPolicy
	if !w.exists(&after, "goproxy-instances") || after.ResourceVersion != foreign.ResourceVersion {
		t.Error("it was changed")
	}
}
