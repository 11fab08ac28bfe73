package service_test

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/service"
	"gocache.dev/operator/internal/testing/failing"
)

var (
	owner = &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "goproxy", UID: "owner"}}
	both  = []route.Server{{Name: "blue", State: route.Ready, Weight: 1}, {Name: "green", State: route.Drain}}
	next  = []route.Server{{Name: "blue", State: route.Down}, {Name: "green", State: route.Ready, Weight: 1}}
)

// over is a router with a client.
func over(c client.Client) *service.Router {
	return &service.Router{
		Applier: apply.Applier{Client: c, Live: c, FieldOwner: "test"}, Owner: owner, Name: "goproxy-router", TargetPort: "http",
		Pods: direct.Pods{Client: c, Reader: c, Namespace: "ns", Labels: map[string]string{"proxy": "goproxy"}, Server: "instance"},
	}
}

// instance is the pod of one.
func instance(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name + "-pod", UID: "1", Labels: map[string]string{"proxy": "goproxy", "instance": name}}}
}

// cluster has a Service that leads to blue, pods of both instances, and the endpoints given.
func cluster(t *testing.T, endpoints ...discoveryv1.Endpoint) client.WithWatch {
	t.Helper()
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: "goproxy-router"}}, Endpoints: endpoints}
	c := fake.NewClientBuilder().WithObjects(owner.DeepCopy(), instance("blue"), instance("green"), slice).Build()
	if err := over(c).Set(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	return c
}

// endpoint is one of the pod of an instance.
func endpoint(name string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Name: name + "-pod"}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
}

// TestFailures holds that no error of the API server is dropped.
func TestFailures(t *testing.T) {
	fresh := func() client.WithWatch { return cluster(t, endpoint("blue", nil)) }
	for name, tt := range map[string]struct {
		operation func(context.Context, *service.Router) error
		calls     int
	}{
		"set":     {func(ctx context.Context, r *service.Router) error { return r.Set(ctx, next) }, 6},
		"observe": {func(ctx context.Context, r *service.Router) error { _, err := r.Observe(ctx); return err }, 3},
		"remove":  {func(ctx context.Context, r *service.Router) error { return r.Remove(ctx) }, 2},
	} {
		calls := failing.Each(t, fresh, func(c client.Client) error { return tt.operation(t.Context(), over(c)) })
		if len(calls) < tt.calls {
			t.Errorf("%s: calls %v, want %d at least", name, calls, tt.calls)
		}
	}
}

// TestObserved holds when a Service does what it is meant to: its endpoints are those of
// the selected instance alone, and one of them is ready or the instance is not healthy.
func TestObserved(t *testing.T) {
	no := ptr.To(false)
	for name, tt := range map[string]struct {
		endpoints []discoveryv1.Endpoint
		change    func(*corev1.Service)
		problem   string
		healthy   bool
	}{
		"ready":                {[]discoveryv1.Endpoint{endpoint("blue", ptr.To(true))}, nil, "", true},
		"nothing is reported":  {[]discoveryv1.Endpoint{endpoint("blue", nil)}, nil, "", true},
		"one of two is ready":  {[]discoveryv1.Endpoint{endpoint("blue", nil), endpoint("blue", no)}, nil, "", true},
		"not ready":            {[]discoveryv1.Endpoint{endpoint("blue", no)}, nil, "", false},
		"none":                 {nil, nil, "", false},
		"of no pod":            {[]discoveryv1.Endpoint{{}}, nil, "", false},
		"another's, not ready": {[]discoveryv1.Endpoint{endpoint("blue", nil), endpoint("green", no)}, nil, "", true},
		"another's":            {[]discoveryv1.Endpoint{endpoint("blue", nil), endpoint("green", nil)}, nil, "its EndpointSlices still name green-pod", false},
		"another intent":       {nil, func(s *corev1.Service) { s.Annotations[direct.IntentAnnotation] = "{" }, "its intent cannot be read", false},
		"another selector":     {nil, func(s *corev1.Service) { s.Spec.Selector["instance"] = "green" }, "it selects map[instance:green proxy:goproxy], which is not what was meant", false},
	} {
		c := cluster(t, tt.endpoints...)
		if tt.change != nil {
			s, err := over(c).Live(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tt.change(s)
			if err := c.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		o, err := over(c).Observe(t.Context())
		if err != nil || len(o.Replicas) != 1 {
			t.Fatalf("%s: %+v, %v", name, o, err)
		}
		r := o.Replicas[0]
		if r.Name != "Service goproxy-router" || r.Problem != tt.problem || tt.problem == "" && (r.Servers["blue"].Healthy != tt.healthy || !r.Servers["green"].Healthy || len(r.Servers) != 2) {
			t.Errorf("%s: %+v, want %q, healthy %t", name, r, tt.problem, tt.healthy)
		}
	}
}

// TestForeignService holds that a Service of another owner, and none, are no replica.
func TestForeignService(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "goproxy-router"}}
	for _, c := range []client.Client{fake.NewClientBuilder().Build(), fake.NewClientBuilder().WithObjects(s).Build()} {
		if o, err := over(c).Observe(t.Context()); err != nil || len(o.Replicas) > 0 {
			t.Errorf("%+v, %v", o, err)
		}
	}
}

// TestSelector holds what the Service selects: the pods of the instance that is ready, or
// no pod at all.
func TestSelector(t *testing.T) {
	c := cluster(t)
	for name, tt := range map[string]struct {
		servers []route.Server
		key     string
		value   string
	}{
		"blue":  {both, "instance", "blue"},
		"green": {next, "instance", "green"},
		"none":  {[]route.Server{{Name: "blue", State: route.Drain}, {Name: "green", State: route.Down}}, "cache.gocache.dev/none", "true"},
	} {
		if err := over(c).Set(t.Context(), tt.servers); err != nil {
			t.Fatal(err)
		}
		s, err := over(c).Live(t.Context())
		if err != nil || len(s.Spec.Selector) != 2 || s.Spec.Selector["proxy"] != "goproxy" || s.Spec.Selector[tt.key] != tt.value {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if s.Spec.Ports[0].Port != 80 || s.Spec.Ports[0].TargetPort.String() != "http" || !slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == "owner" }) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestLimits holds what the caller has to do for a Service: to choose one instance, to leave
// those that fail, and to wait until kube-proxy has followed.
func TestLimits(t *testing.T) {
	want := route.Limits{OneAtATime: true, CallerHeals: true, Spread: 2 * time.Second}
	if got := over(nil).Limits(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, err := over(nil).Ensure(t.Context()); err != nil || got != (route.Ensured{Settled: true}) {
		t.Errorf("%+v, %v", got, err)
	}
}
