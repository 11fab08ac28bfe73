package modproxy

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// TestInstanceTemplate holds that the template of instances is used in place of
// that of all pods, field by field, and that no token of the account is mounted.
func TestInstanceTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.PodTemplate = &v1alpha1.PodTemplate{PriorityClassName: "low", NodeSelector: map[string]string{"pool": "ci"}}
		s.InstanceTemplate = &v1alpha1.PodTemplate{
			PriorityClassName: "high", ServiceAccountName: "proxies",
			TopologySpreadConstraints: []v1alpha1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: "DoNotSchedule"}},
		}
		s.Router.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "edge"}}
	})
	w.settle()
	var instance appsv1.StatefulSet
	var router appsv1.Deployment
	if !w.exists(&instance, "goproxy-blue") || !w.exists(&router, "goproxy-router") {
		t.Fatal("there is no instance, or no router")
	}
	pod := instance.Spec.Template.Spec
	if pod.PriorityClassName != "high" || pod.NodeSelector["pool"] != "ci" || pod.ServiceAccountName != "proxies" {
		t.Errorf("an instance has the priority class %q, the node selector %v and the account %q", pod.PriorityClassName, pod.NodeSelector, pod.ServiceAccountName)
	}
	if ptr.Deref(pod.AutomountServiceAccountToken, true) {
		t.Error("the token of the account is mounted into an instance")
	}
	if spread := pod.TopologySpreadConstraints; len(spread) != 1 || spread[0].LabelSelector.MatchLabels[v1alpha1.ProxyLabel] != "goproxy" {
		t.Errorf("an instance has the constraints %v", spread)
	}
	if pod := router.Spec.Template.Spec; pod.PriorityClassName != "low" || pod.NodeSelector["pool"] != "edge" {
		t.Errorf("the router has the priority class %q and the node selector %v", pod.PriorityClassName, pod.NodeSelector)
	}
}

// TestInstancesAvoidOneNode holds that the instances of a proxy prefer nodes, and then
// zones, where no other instance of it runs, and that an affinity of the template
// replaces that.
func TestInstancesAvoidOneNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(*v1alpha1.ModProxySpec) {})
	w.settle()
	of := func() *corev1.Affinity {
		var instance appsv1.StatefulSet
		if !w.exists(&instance, "goproxy-blue") {
			t.Fatal("there is no instance")
		}
		return instance.Spec.Template.Spec.Affinity
	}
	a := of()
	if a == nil || a.PodAntiAffinity == nil || len(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
		t.Fatalf("an instance has the affinity %v", a)
	}
	for i, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
		terms := a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		if len(terms) != 2 || terms[i].PodAffinityTerm.TopologyKey != key || terms[0].Weight <= terms[1].Weight {
			t.Fatalf("an instance prefers %v", terms)
		}
		selector, err := metav1.LabelSelectorAsSelector(terms[i].PodAffinityTerm.LabelSelector)
		if err != nil {
			t.Fatal(err)
		}
		other := labels.Set{v1alpha1.ProxyLabel: "goproxy", v1alpha1.InstanceLabel: "green"}
		if !selector.Matches(other) || selector.Matches(labels.Set{v1alpha1.ProxyLabel: "other", v1alpha1.InstanceLabel: "green"}) {
			t.Errorf("an instance avoids %s", selector)
		}
	}
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.InstanceTemplate = &v1alpha1.PodTemplate{Affinity: &v1alpha1.Affinity{NodeAffinity: &v1alpha1.NodeAffinity{}}}
	})
	w.settle()
	if a := of(); a == nil || a.PodAntiAffinity != nil {
		t.Errorf("with an affinity of its own an instance has %v", a)
	}
}

// TestServiceOfTheRouter holds that the Service of the router is as the spec
// chooses, that clients are given its port, and that what the spec no longer names
// is removed; with a router of either type.
func TestServiceOfTheRouter(t *testing.T) {
	t.Parallel()
	for _, kind := range []v1alpha1.RouterType{v1alpha1.RouterHAProxy, v1alpha1.RouterService} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.proxy(func(s *v1alpha1.ModProxySpec) {
				s.Router.Type = kind
				s.Router.Service = v1alpha1.RouterServiceTemplate{
					Type: "LoadBalancer", Port: ptr.To[int32](8081), Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"example.com/internal": "true"},
					LoadBalancerClass: ptr.To("example.com/internal"), LoadBalancerSourceRanges: []string{"10.0.0.0/8"},
				}
			})
			w.settle()
			var service corev1.Service
			if !w.exists(&service, "goproxy-router") {
				t.Fatal("there is no Service")
			}
			if s := service.Spec; s.Type != corev1.ServiceTypeLoadBalancer || s.Ports[0].Port != 8081 || ptr.Deref(s.LoadBalancerClass, "") != "example.com/internal" ||
				len(s.LoadBalancerSourceRanges) != 1 || service.Labels["team"] != "a" || service.Annotations["example.com/internal"] != "true" {
				t.Errorf("the Service is %+v, with labels %v and annotations %v", s, service.Labels, service.Annotations)
			}
			if url := "http://goproxy-router." + w.namespace + ".svc:8081"; w.get().Status.URL != url {
				t.Errorf("status.url is %q, want %q", w.get().Status.URL, url)
			}
			w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Router.Service = v1alpha1.RouterServiceTemplate{} })
			w.settle()
			w.exists(&service, "goproxy-router")
			if s := service.Spec; s.Type != corev1.ServiceTypeClusterIP || s.Ports[0].Port != 80 || s.LoadBalancerClass != nil || len(s.LoadBalancerSourceRanges) > 0 ||
				service.Labels["team"] != "" || service.Annotations["example.com/internal"] != "" {
				t.Errorf("by default the Service is %+v, with labels %v and annotations %v", s, service.Labels, service.Annotations)
			}
		})
	}
}
