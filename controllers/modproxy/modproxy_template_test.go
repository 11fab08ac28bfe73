package modproxy

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
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

// budget is the disruption budget of the instances, which stay pods of are to stay.
func (w *world) budget(stay int32) policyv1.PodDisruptionBudget {
	w.t.Helper()
	var budget policyv1.PodDisruptionBudget
	if !w.exists(&budget, "goproxy-instances") {
		w.t.Fatal("there is no disruption budget")
	}
	if ptr.Deref(budget.Spec.MinAvailable, intstr.FromInt32(-1)) != intstr.FromInt32(stay) || budget.Spec.MaxUnavailable != nil ||
		ptr.Deref(budget.Spec.UnhealthyPodEvictionPolicy, "") != policyv1.AlwaysAllow {
		w.t.Errorf("the budget is %+v, want %d to stay", budget.Spec, stay)
	}
	return budget
}

// TestInstancesAreEvictedOneByOne holds that a disruption budget lets one instance at a
// time be evicted, and that the only one may be.
func TestInstancesAreEvictedOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	budget := w.budget(1)
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"blue", "green"} {
		if own := w.podOf(name).Labels; !selector.Matches(labels.Set(own)) {
			t.Errorf("the budget for %s does not count the pod of %s, with labels %v", selector, name, own)
		}
	}
	if router := w.routerPeer().Labels; selector.Matches(labels.Set(router)) {
		t.Errorf("the budget for %s counts a router, with labels %v", selector, router)
	}
	// Any change of it is undone, without an event that would wake a pass.
	budget.Spec.MinAvailable = ptr.To(intstr.FromInt32(2))
	w.must(server.Client.Update(t.Context(), &budget))
	w.settle()
	w.budget(1)
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances = p.Spec.Instances[:1] })
	w.settle()
	if w.exists(&budget, "goproxy-instances") {
		t.Errorf("the only instance has the budget %+v", budget.Spec)
	}
}

// TestEvictionsDoNotWaitForever holds that an instance which does not become ready again
// keeps the other one from being evicted for a limited time.
func TestEvictionsDoNotWaitForever(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.green.down = true
	w.tick(4)
	w.budget(1)
	w.now = w.now.Add(14 * time.Minute)
	w.tick(1)
	w.budget(1)
	w.now = w.now.Add(time.Minute)
	w.tick(1)
	w.budget(0)
	w.green.down = false
	w.tick(4)
	w.budget(1)
}

// TestForeignBudget holds that a disruption budget of another owner is reported, not
// changed, and does not keep the instances from serving.
func TestForeignBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy-instances"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "mine"}}},
	}
	w.must(server.Client.Create(t.Context(), foreign))
	w.proxy()
	w.settle()
	w.tick(2)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonConflict, "PodDisruptionBudget "+w.namespace+"/"+foreign.Name)
	w.weights(100, 100)
	var kept policyv1.PodDisruptionBudget
	if !w.exists(&kept, foreign.Name) || kept.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign budget is %+v", kept)
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
