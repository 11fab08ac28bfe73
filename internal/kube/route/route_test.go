package route_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/internal/kube/route"
)

// TestConfirms holds that an intent is done only when every replica does it.
func TestConfirms(t *testing.T) {
	t.Parallel()
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 256}, {Name: "green", State: route.Drain}}
	replica := func(name string, change func(map[string]route.Observed)) route.Replica {
		servers := map[string]route.Observed{"blue": {State: route.Ready, Weight: 256, Healthy: true}, "green": {State: route.Drain, Weight: 7}, "old": {State: route.Ready, Weight: 1}}
		if change != nil {
			change(servers)
		}
		return route.Replica{Name: name, Servers: servers}
	}
	done := replica("a", nil)
	for name, tt := range map[string]struct {
		replicas   []route.Replica
		difference string
	}{
		"all do it":             {[]route.Replica{done, replica("b", nil)}, ""},
		"one holds it for dead": {[]route.Replica{done, replica("b", func(s map[string]route.Observed) { s["blue"] = route.Observed{State: route.Ready, Weight: 256} })}, ""},
		"no replica":            {nil, "no replica of the router is ready"},
		"one cannot be read":    {[]route.Replica{done, {Name: "b", Problem: "no answer"}}, "b: no answer"},
		"one does not know it":  {[]route.Replica{done, replica("b", func(s map[string]route.Observed) { delete(s, "green") })}, "b: green is not configured"},
		"another state":         {[]route.Replica{done, replica("b", func(s map[string]route.Observed) { s["green"] = route.Observed{State: route.Ready} })}, "b: green is ready, want drain"},
		"another weight":        {[]route.Replica{replica("a", func(s map[string]route.Observed) { s["blue"] = route.Observed{State: route.Ready, Weight: 255} }), done}, "a: blue has weight 255, want 256"},
	} {
		if ok, difference := (route.Observation{Replicas: tt.replicas}).Confirms(want); ok != (tt.difference == "") || difference != tt.difference {
			t.Errorf("%s: %v, %q, want %q", name, ok, difference, tt.difference)
		}
	}
}

func TestUnhealthy(t *testing.T) {
	t.Parallel()
	o := route.Observation{Replicas: []route.Replica{
		{Name: "a", Servers: map[string]route.Observed{"blue": {State: route.Ready}, "green": {State: route.Ready, Healthy: true}, "red": {State: route.Down}}},
		{Name: "b", Servers: map[string]route.Observed{"blue": {State: route.Drain}, "green": {State: route.Ready, Healthy: true}}},
	}}
	if diff := cmp.Diff(map[string][]string{"blue": {"a", "b"}}, o.Unhealthy()); diff != "" {
		t.Error(diff)
	}
}

func TestServerString(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]route.Server{"blue 256": {Name: "blue", State: route.Ready, Weight: 256}, "blue down": {Name: "blue", State: route.Down}} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestService holds that a user chooses how clients reach a router, and not which pods
// they reach.
func TestService(t *testing.T) {
	t.Parallel()
	meta := metav1.ObjectMeta{Namespace: "n", Name: "goproxy", Labels: map[string]string{"app": "router"}}
	selector := map[string]string{"app": "router"}
	s := route.Service{
		Type: corev1.ServiceTypeLoadBalancer, Port: 8443, Labels: map[string]string{"app": "mine", "team": "a"}, Annotations: map[string]string{"lb": "x"},
		LoadBalancerClass: ptr.To("c"), LoadBalancerSourceRanges: []string{"10.0.0.0/8"},
	}
	want := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "goproxy", Labels: map[string]string{"app": "router", "team": "a"}, Annotations: map[string]string{"lb": "x"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: selector, LoadBalancerClass: ptr.To("c"), LoadBalancerSourceRanges: []string{"10.0.0.0/8"},
			Ports: []corev1.ServicePort{{Name: "goproxy", Port: 8443, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP}},
		},
	}
	if diff := cmp.Diff(want, s.Object(meta, selector, 80, "http")); diff != "" {
		t.Error(diff)
	}
	if s.Labels["app"] != "mine" || len(meta.Labels) != 1 {
		t.Errorf("the labels that were given are changed: %v, %v", s.Labels, meta.Labels)
	}
	plain := route.Service{}.Object(meta, selector, 80, "http")
	if plain.Spec.Type != corev1.ServiceTypeClusterIP || plain.Spec.Ports[0].Port != 80 || plain.Labels["app"] != "router" {
		t.Errorf("%+v", plain)
	}
	for want, port := range map[string]int32{"host": 0, "host:8080": 8080} {
		if got := (route.Service{Port: port}).Authority("host", 80); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (route.Service{Port: 80}).Authority("host", 80); got != "host" {
		t.Errorf("with the port of the scheme: %q", got)
	}
}
