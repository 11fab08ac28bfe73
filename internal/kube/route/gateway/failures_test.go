package gateway_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/gateway"
	"gocache.dev/operator/internal/testing/failing"
)

var (
	owner = &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "goproxy", UID: "owner"}}
	both  = []route.Server{{Name: "blue", State: route.Ready, Weight: 3}, {Name: "green", State: route.Drain}}
	next  = []route.Server{{Name: "blue", State: route.Down}, {Name: "green", State: route.Ready, Weight: 1}}
	key   = client.ObjectKey{Namespace: "ns", Name: "goproxy-router"}
)

// over is a router with a client.
func over(c client.Client) *gateway.Router {
	return &gateway.Router{
		Applier: apply.Applier{Client: c, Live: c, FieldOwner: "test"}, Owner: owner, Name: key.Name, Labels: map[string]string{"app": "x"},
		Spec:     v1alpha1.GatewayRouter{ParentRef: v1alpha1.GatewayReference{Name: "edge"}, Hostnames: []string{"go.example.com"}},
		Backends: []gateway.Backend{{Name: "blue", Service: "goproxy-blue", Port: 8080}, {Name: "green", Service: "goproxy-green", Port: 8080}},
		Pods:     direct.Pods{Client: c, Reader: c, Namespace: "ns", Labels: map[string]string{"proxy": "goproxy"}, Server: "instance"},
	}
}

// builder makes clients of a cluster with a Gateway and a pod of each instance.
func builder(t *testing.T) *fake.ClientBuilder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), gatewayv1.Install(scheme)); err != nil {
		t.Fatal(err)
	}
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name + "-pod", UID: "1", Labels: map[string]string{"proxy": "goproxy", "instance": name}}}
	}
	edge := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"}}
	edge.Spec.Listeners = []gatewayv1.Listener{{Name: "web", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(owner.DeepCopy(), edge, pod("blue"), pod("green"))
}

// accepted is a cluster whose HTTPRoute leads to blue, as its Gateway has accepted.
func accepted(t *testing.T) client.WithWatch {
	t.Helper()
	c := builder(t).Build()
	if err := over(c).Set(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	change(t, c, func(o *gatewayv1.HTTPRoute) {
		parent := gatewayv1.RouteParentStatus{ParentRef: gatewayv1.ParentReference{Name: "edge"}}
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			parent.Conditions = append(parent.Conditions, metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, ObservedGeneration: o.Generation})
		}
		o.Status.Parents = []gatewayv1.RouteParentStatus{{ParentRef: gatewayv1.ParentReference{Name: "other"}}, parent}
	})
	return c
}

// change writes the HTTPRoute as another client would.
func change(t *testing.T, c client.Client, f func(*gatewayv1.HTTPRoute)) {
	t.Helper()
	var o gatewayv1.HTTPRoute
	if err := c.Get(t.Context(), key, &o); err != nil {
		t.Fatal(err)
	}
	f(&o)
	if err := c.Update(t.Context(), &o); err != nil {
		t.Fatal(err)
	}
}

// TestFailures holds that no error of the API server is dropped.
func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		operation func(context.Context, *gateway.Router) error
		calls     int
	}{
		"set":     {func(ctx context.Context, r *gateway.Router) error { return r.Set(ctx, next) }, 5},
		"observe": {func(ctx context.Context, r *gateway.Router) error { _, err := r.Observe(ctx); return err }, 1},
		"url":     {func(ctx context.Context, r *gateway.Router) error { _, err := r.URL(ctx); return err }, 1},
		"remove":  {func(ctx context.Context, r *gateway.Router) error { return r.Remove(ctx) }, 2},
	} {
		calls := failing.Each(t, func() client.WithWatch { return accepted(t) }, func(c client.Client) error { return tt.operation(t.Context(), over(c)) })
		if len(calls) < tt.calls {
			t.Errorf("%s: calls %v, want %d at least", name, calls, tt.calls)
		}
	}
	ending := func() client.WithWatch {
		c := accepted(t)
		change(t, c, func(o *gatewayv1.HTTPRoute) { o.Annotations[direct.EndingAnnotation] = "blue-pod/0" })
		return c
	}
	observe := func(c client.Client) error { _, err := over(c).Observe(t.Context()); return err }
	if calls := failing.Each(t, ending, observe); len(calls) != 2 {
		t.Errorf("with a pod that is to end: %v", calls)
	}
}

// TestWithoutTheKind holds that a cluster without the Gateway API is reported as such.
func TestWithoutTheKind(t *testing.T) {
	none := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "HTTPRoute"}}
	c := builder(t).WithInterceptorFuncs(interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return none
	}}).Build()
	r := over(c)
	_, observed := r.Observe(t.Context())
	_, addressed := r.URL(t.Context())
	for what, err := range map[string]error{"set": r.Set(t.Context(), both), "observe": observed, "url": addressed} {
		if !errors.Is(err, gateway.ErrNoAPI) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.Remove(t.Context()); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// TestWhatIsObserved holds what keeps an HTTPRoute from doing what it is meant to.
func TestWhatIsObserved(t *testing.T) {
	for name, tt := range map[string]struct {
		f       func(*gatewayv1.HTTPRoute)
		problem string
	}{
		"nothing":            {func(*gatewayv1.HTTPRoute) {}, ""},
		"no rule":            {func(o *gatewayv1.HTTPRoute) { o.Spec.Rules = nil }, "it does not name every instance"},
		"an instance less":   {func(o *gatewayv1.HTTPRoute) { o.Spec.Rules[0].BackendRefs = o.Spec.Rules[0].BackendRefs[:1] }, "it does not name every instance"},
		"another Service":    {func(o *gatewayv1.HTTPRoute) { o.Spec.Rules[0].BackendRefs[0].Name = "other" }, "its backendRef 0 is other with weight 3, want goproxy-blue with 3"},
		"the default weight": {func(o *gatewayv1.HTTPRoute) { o.Spec.Rules[0].BackendRefs[1].Weight = nil }, "its backendRef 1 is goproxy-green with weight 1, want goproxy-green with 0"},
		"another intent":     {func(o *gatewayv1.HTTPRoute) { o.Annotations[direct.IntentAnnotation] = "{" }, "its intent cannot be read"},
		"another section": {func(o *gatewayv1.HTTPRoute) {
			o.Status.Parents[1].ParentRef.SectionName = ptr.To[gatewayv1.SectionName]("s")
		}, "no Gateway has accepted it: is there a Gateway edge, and does its implementation run?"},
		"one condition":        {func(o *gatewayv1.HTTPRoute) { o.Status.Parents[1].Conditions = o.Status.Parents[1].Conditions[:1] }, "Gateway edge has not reported ResolvedRefs for its present generation yet"},
		"a pod that is to end": {func(o *gatewayv1.HTTPRoute) { o.Annotations[direct.EndingAnnotation] = "blue-pod/1" }, "the pods of a quarantined instance have not ended yet: blue-pod/1"},
	} {
		c := accepted(t)
		change(t, c, tt.f)
		o, err := over(c).Observe(t.Context())
		if err != nil || len(o.Replicas) != 1 || o.Replicas[0].Name != "HTTPRoute goproxy-router" || o.Replicas[0].Problem != tt.problem {
			t.Errorf("%s: %+v, %v; want %q", name, o, err, tt.problem)
		}
		if ok, _ := o.Confirms(both); ok != (tt.problem == "") {
			t.Errorf("%s: confirmed: %t", name, ok)
		}
	}
	c := accepted(t)
	change(t, c, func(o *gatewayv1.HTTPRoute) { o.OwnerReferences = nil })
	if o, err := over(c).Observe(t.Context()); err != nil || len(o.Replicas) > 0 {
		t.Errorf("of another owner: %+v, %v", o, err)
	}
	if o, err := over(builder(t).Build()).Observe(t.Context()); err != nil || len(o.Replicas) > 0 {
		t.Errorf("none: %+v, %v", o, err)
	}
}

// TestHTTPRoute holds the HTTPRoute as it is applied.
func TestHTTPRoute(t *testing.T) {
	c := builder(t).Build()
	r := over(c)
	r.Spec = v1alpha1.GatewayRouter{ParentRef: v1alpha1.GatewayReference{Name: "edge", Namespace: "infra", SectionName: "web"}, Hostnames: []string{"*.example.com", "go.example.com"}}
	if err := r.Set(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	var got gatewayv1.HTTPRoute
	if err := c.Get(t.Context(), key, &got); err != nil {
		t.Fatal(err)
	}
	path := func(kind gatewayv1.PathMatchType, value string) gatewayv1.HTTPRouteMatch {
		return gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}}
	}
	backend := func(name string, weight int32) gatewayv1.HTTPBackendRef {
		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Group: ptr.To(gatewayv1.Group("")), Kind: ptr.To(gatewayv1.Kind("Service")), Name: gatewayv1.ObjectName(name), Port: ptr.To[gatewayv1.PortNumber](8080)},
			Weight:                 &weight,
		}}
	}
	longest := gatewayv1.Duration("10m")
	want := gatewayv1.HTTPRouteSpec{
		CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{
			Group: ptr.To(gatewayv1.Group(gatewayv1.GroupName)), Kind: ptr.To(gatewayv1.Kind("Gateway")), Name: "edge",
			Namespace: ptr.To(gatewayv1.Namespace("infra")), SectionName: ptr.To(gatewayv1.SectionName("web")),
		}}},
		Hostnames: []gatewayv1.Hostname{"*.example.com", "go.example.com"},
		Rules: []gatewayv1.HTTPRouteRule{{
			Matches: []gatewayv1.HTTPRouteMatch{path(gatewayv1.PathMatchPathPrefix, "/")}, BackendRefs: []gatewayv1.HTTPBackendRef{backend("goproxy-blue", 3), backend("goproxy-green", 0)},
			Timeouts: &gatewayv1.HTTPRouteTimeouts{Request: &longest, BackendRequest: &longest},
		}, {
			Matches: []gatewayv1.HTTPRouteMatch{path(gatewayv1.PathMatchExact, "/metrics"), path(gatewayv1.PathMatchExact, "/readyz"), path(gatewayv1.PathMatchExact, "/moved")},
		}},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" || got.Labels["app"] != "x" {
		t.Errorf("labels %v, (-want +got):\n%s", got.Labels, diff)
	}
}

// TestLimits holds what the caller has to do for a Gateway: to leave instances that fail, and to
// wait until its data plane has followed.
func TestLimits(t *testing.T) {
	want := route.Limits{CallerHeals: true, Spread: 10 * time.Second}
	if got := over(nil).Limits(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, err := over(nil).Ensure(t.Context()); err != nil || got != (route.Ensured{Settled: true}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestURLOf holds where the address of clients comes from: the first host that is no pattern, at
// the first listener of http of the Gateway that the spec names.
func TestURLOf(t *testing.T) {
	infra := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"}}
	infra.Spec.Listeners = []gatewayv1.Listener{{Name: "secure", Port: 443, Protocol: gatewayv1.HTTPSProtocolType}, {Name: "web", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}
	tcp := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "tcp"}}
	tcp.Spec.Listeners = []gatewayv1.Listener{{Name: "tcp", Port: 9, Protocol: gatewayv1.TCPProtocolType}}
	for name, tt := range map[string]struct {
		parent v1alpha1.GatewayReference
		hosts  []string
		want   string
		fails  bool
	}{
		"of its own namespace":       {v1alpha1.GatewayReference{Name: "edge"}, []string{"*.a.test", "b.test", "c.test"}, "http://b.test", false},
		"of another namespace":       {v1alpha1.GatewayReference{Name: "edge", Namespace: "infra"}, []string{"b.test"}, "https://b.test", false},
		"one of its listeners":       {v1alpha1.GatewayReference{Name: "edge", Namespace: "infra", SectionName: "web"}, []string{"b.test"}, "http://b.test", false},
		"none of its listeners":      {v1alpha1.GatewayReference{Name: "edge", Namespace: "infra", SectionName: "other"}, []string{"b.test"}, "", false},
		"without one of http":        {v1alpha1.GatewayReference{Name: "tcp"}, []string{"b.test"}, "", false},
		"a Gateway that is gone":     {v1alpha1.GatewayReference{Name: "gone"}, []string{"b.test"}, "", false},
		"patterns, and no host":      {v1alpha1.GatewayReference{Name: "edge"}, []string{"*.a.test"}, "", true},
		"neither patterns nor hosts": {v1alpha1.GatewayReference{Name: "edge"}, nil, "", true},
	} {
		c := builder(t).WithObjects(infra.DeepCopy(), tcp.DeepCopy()).Build()
		r := over(c)
		r.Spec = v1alpha1.GatewayRouter{ParentRef: tt.parent, Hostnames: tt.hosts}
		if err := r.Set(t.Context(), both); err != nil {
			t.Fatal(err)
		}
		change(t, c, func(o *gatewayv1.HTTPRoute) {
			o.Status.Parents = []gatewayv1.RouteParentStatus{{ParentRef: o.Spec.ParentRefs[0], Conditions: accepting("").Conditions}}
		})
		if got, err := r.URL(t.Context()); got.URL != tt.want || (err != nil) != tt.fails || (got.GOPROXY == "") != (tt.want == "") {
			t.Errorf("%s: %+v, %v; want %q", name, got, err, tt.want)
		}
	}
}
