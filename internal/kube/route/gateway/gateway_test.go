package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/gateway"
	"gocache.dev/operator/internal/kube/route/routetest"
)

// TestConformance runs against a stand-in for a Gateway implementation: see
// plane. It applies the weights of the HTTPRoute, and nothing else.
func TestConformance(t *testing.T) {
	routetest.Run(t, func(t *testing.T, instances []routetest.Instance) routetest.Backend {
		p := newPlane(t, instances)
		return routetest.Backend{
			Router: p.router(), URL: p.server.URL, Settle: 5 * time.Second, Followed: func() bool { return p.followed(t.Context()) },
			Restart: func(*testing.T) { p.restart() },
		}
	})
}

func TestConditionsOfTheParent(t *testing.T) {
	p := newPlane(t, []routetest.Instance{{Name: "blue"}, {Name: "green"}})
	r := p.router()
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 3}, {Name: "green", State: route.Drain}}
	if err := r.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	confirmed := func() (bool, string) {
		t.Helper()
		o, err := r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return o.Confirms(want)
	}
	for range 500 {
		if ok, _ := confirmed(); ok {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if ok, difference := confirmed(); !ok {
		t.Fatal(difference)
	}
	p.stop() // only the test writes for the Gateway now
	for what, test := range map[string]struct {
		change  func(*gatewayv1.HTTPRoute)
		message string
	}{
		"another weight": {func(o *gatewayv1.HTTPRoute) { *o.Spec.Rules[0].BackendRefs[1].Weight = 7 },
			"HTTPRoute goproxy-router: its backendRef 1 is goproxy-green with weight 7, want goproxy-green with 0"},
		"no parent": {func(o *gatewayv1.HTTPRoute) { o.Status.Parents = nil },
			"HTTPRoute goproxy-router: no Gateway has accepted it: is there a Gateway edge, and does its implementation run?"},
		"an older generation": {func(o *gatewayv1.HTTPRoute) { o.Status.Parents[0].Conditions[0].ObservedGeneration-- },
			"HTTPRoute goproxy-router: Gateway edge has not reported Accepted for its present generation yet"},
		"refused": {func(o *gatewayv1.HTTPRoute) {
			c := &o.Status.Parents[0].Conditions[1]
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, "BackendNotFound", "no such Service"
		}, "HTTPRoute goproxy-router: Gateway edge reports ResolvedRefs=False, BackendNotFound: no such Service"},
	} {
		t.Run(what, func(t *testing.T) {
			var before gatewayv1.HTTPRoute
			key := client.ObjectKey{Namespace: "ns", Name: "goproxy-router"}
			if err := p.client.Get(t.Context(), key, &before); err != nil {
				t.Fatal(err)
			}
			after := before.DeepCopy()
			test.change(after)
			if err := p.client.Update(t.Context(), after); err != nil {
				t.Fatal(err)
			}
			if ok, difference := confirmed(); ok || difference != test.message {
				t.Errorf("confirmed %v, %q, want %q", ok, difference, test.message)
			}
			before.ResourceVersion = after.ResourceVersion
			if err := p.client.Update(t.Context(), &before); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestObjects examines what is made.
func TestObjects(t *testing.T) {
	routetest.RunObjects(t, func(t *testing.T, c client.Client, owner client.Object) routetest.Objects {
		edge := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: routetest.Namespace, Name: "edge"}}
		edge.Spec.Listeners = []gatewayv1.Listener{{Name: "web", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}
		if err := c.Create(t.Context(), edge); err != nil {
			t.Fatal(err)
		}
		url := "http://go.example.com"
		accept := func(t *testing.T) {
			t.Helper()
			var o gatewayv1.HTTPRoute
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: routetest.Namespace, Name: "goproxy-router"}, &o); err != nil {
				t.Fatal(err)
			}
			o.Status.Parents = []gatewayv1.RouteParentStatus{accepting("edge")}
			if err := c.Update(t.Context(), &o); err != nil {
				t.Fatal(err)
			}
		}
		return routetest.Objects{Address: route.Address{URL: url, GOPROXY: url + "|" + url + "|" + url}, Accept: accept, Router: &gateway.Router{
			Applier: apply.Applier{Client: c, Live: c, FieldOwner: "test"}, Owner: owner, Name: "goproxy-router",
			Spec:     v1alpha1.GatewayRouter{ParentRef: v1alpha1.GatewayReference{Name: "edge"}, Hostnames: []string{"go.example.com"}},
			Pods:     direct.Pods{Client: c, Reader: c, Namespace: routetest.Namespace, Labels: map[string]string{"proxy": "goproxy"}, Server: "instance"},
			Backends: []gateway.Backend{{Name: "blue", Service: "goproxy-blue", Port: 8080}, {Name: "green", Service: "goproxy-green", Port: 8080}},
		}}
	})
}

func TestURL(t *testing.T) {
	listeners := []gatewayv1.Listener{
		{Name: "tcp", Port: 9, Protocol: gatewayv1.TCPProtocolType}, {Name: "web", Port: 8080, Protocol: gatewayv1.HTTPProtocolType},
		{Name: "secure", Port: 443, Protocol: gatewayv1.HTTPSProtocolType},
	}
	for want, spec := range map[string]v1alpha1.GatewayRouter{
		"http://go.example.com:8080": {ParentRef: v1alpha1.GatewayReference{Name: "edge"}, Hostnames: []string{"*.example.com", "go.example.com"}},
		"https://go.example.com":     {ParentRef: v1alpha1.GatewayReference{Name: "edge", SectionName: "secure"}, Hostnames: []string{"go.example.com"}},
		"":                           {ParentRef: v1alpha1.GatewayReference{Name: "none"}, Hostnames: []string{"go.example.com"}},
	} {
		p := newPlane(t, []routetest.Instance{{Name: "blue"}})
		if err := p.client.Create(t.Context(), &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "edge"}, Spec: gatewayv1.GatewaySpec{Listeners: listeners}}); err != nil {
			t.Fatal(err)
		}
		p.stop() // only the test writes for the Gateway now
		r := p.router()
		r.Spec = spec
		address := func() string {
			t.Helper()
			got, err := r.URL(t.Context())
			if err != nil {
				t.Error(err)
			}
			return got.URL
		}
		if got := address(); got != "" {
			t.Errorf("URL = %q before there is an HTTPRoute", got)
		}
		if err := r.Set(t.Context(), []route.Server{{Name: "blue", State: route.Ready, Weight: 1}}); err != nil {
			t.Fatal(err)
		}
		elsewhere, refusal := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(spec.ParentRef.Name), Namespace: ptr.To(gatewayv1.Namespace("another"))}, accepting("edge")
		refusal.Conditions[0].Status = metav1.ConditionFalse
		for what, parents := range map[string][]gatewayv1.RouteParentStatus{
			"no Gateway has accepted it": nil, "another one has": {accepting("other")}, "one in another namespace has": {{ParentRef: elsewhere, Conditions: accepting("edge").Conditions}},
			"it was refused": {refusal},
		} {
			if p.report(t, parents); address() != "" {
				t.Errorf("%s: URL = %q", what, address())
			}
		}
		parent := accepting(spec.ParentRef.Name)
		if spec.ParentRef.SectionName != "" {
			parent.ParentRef.SectionName = ptr.To(gatewayv1.SectionName(spec.ParentRef.SectionName))
		}
		if p.report(t, []gatewayv1.RouteParentStatus{accepting("other"), parent}); address() != want {
			t.Errorf("URL = %q, want %q", address(), want)
		}
	}
	r := newPlane(t, []routetest.Instance{{Name: "blue"}}).router()
	r.Spec.Hostnames = []string{"*.example.com"}
	_, err := r.URL(t.Context())
	if stalled := conditions.Stalled(err); stalled == nil || stalled.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(stalled.Message, "router.gateway.hostnames") {
		t.Errorf("patterns only: %v", err)
	}
}

// accepting is what a Gateway reports of an HTTPRoute that it has accepted.
func accepting(name string) gatewayv1.RouteParentStatus {
	return gatewayv1.RouteParentStatus{
		ParentRef:  gatewayv1.ParentReference{Name: gatewayv1.ObjectName(name)},
		Conditions: []metav1.Condition{{Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue}},
	}
}

// report writes what Gateways report of the HTTPRoute.
func (p *plane) report(t *testing.T, parents []gatewayv1.RouteParentStatus) {
	t.Helper()
	var o gatewayv1.HTTPRoute
	if err := p.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "goproxy-router"}, &o); err != nil {
		t.Fatal(err)
	}
	o.Status.Parents = parents
	if err := p.client.Update(t.Context(), &o); err != nil {
		t.Fatal(err)
	}
}

// lag of the stand-in's data plane.
const lag = 50 * time.Millisecond

// plane plays a Gateway implementation, and a StatefulSet that replaces pods
// that end, with all their connections.
type plane struct {
	client  client.Client
	owner   *corev1.ConfigMap
	address map[string]string // of an instance
	names   []string
	reads   int // of the HTTPRoute, to follow it
	server  *httptest.Server
	stop    func()

	mu     sync.Mutex
	shares map[string]int // instance → weight; nil: nothing is routed
	newest int            // of the reads that shares are from
	pods   map[string]pod
	uids   int
}

// pod is an instance's, with all that it is sending.
type pod struct {
	uid types.UID
	ctx context.Context
	end context.CancelFunc
}

func newPlane(t *testing.T, instances []routetest.Instance) *plane {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	p := &plane{
		client:  fake.NewClientBuilder().WithScheme(scheme).Build(),
		owner:   &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "goproxy", UID: "owner"}},
		address: map[string]string{}, pods: map[string]pod{},
	}
	for _, i := range instances {
		p.address[i.Name] = i.Address
		p.names = append(p.names, i.Name)
	}
	p.keepPods(t.Context())
	p.server = httptest.NewServer(p)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			p.keepPods(ctx)
			p.follow(ctx)
			time.Sleep(5 * time.Millisecond)
		}
	})
	p.stop = func() {
		cancel()
		done.Wait()
	}
	t.Cleanup(func() {
		p.stop()
		p.restart()
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

func (p *plane) router() *gateway.Router {
	r := &gateway.Router{
		Applier: apply.Applier{Client: p.client, Live: p.client, FieldOwner: "test"}, Owner: p.owner, Name: "goproxy-router",
		Spec: v1alpha1.GatewayRouter{ParentRef: v1alpha1.GatewayReference{Name: "edge"}, Hostnames: []string{"go.example.com"}},
		Pods: direct.Pods{Client: p.client, Reader: p.client, Namespace: "ns", Labels: map[string]string{"proxy": "goproxy"}, Server: "instance"},
	}
	for _, name := range p.names {
		r.Backends = append(r.Backends, gateway.Backend{Name: name, Service: "goproxy-" + name, Port: 8080})
	}
	return r
}

func (p *plane) keepPods(ctx context.Context) {
	for _, name := range p.names {
		var o corev1.Pod
		if p.client.Get(ctx, client.ObjectKey{Namespace: "ns", Name: "goproxy-" + name + "-0"}, &o) != nil {
			p.uids++
			o = corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: "goproxy-" + name + "-0", UID: types.UID(fmt.Sprintf("%s-%d", name, p.uids)),
				Labels: map[string]string{"proxy": "goproxy", "instance": name},
			}}
			if p.client.Create(ctx, &o) != nil {
				continue
			}
		}
		p.mu.Lock()
		if is := p.pods[name]; is.uid != o.UID {
			if is.end != nil {
				is.end()
			}
			is = pod{uid: o.UID}
			is.ctx, is.end = context.WithCancel(context.Background())
			p.pods[name] = is
		}
		p.mu.Unlock()
	}
}

// follow accepts the HTTPRoute as it is, and lets the data plane follow late.
func (p *plane) follow(ctx context.Context) {
	o, shares, err := p.route(ctx)
	if err != nil {
		return
	}
	p.reads++
	read := p.reads
	time.AfterFunc(lag, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if read > p.newest { // an older one may be late
			p.shares, p.newest = shares, read
		}
	})
	if len(o.Status.Parents) == 1 && o.Status.Parents[0].Conditions[0].ObservedGeneration == o.Generation {
		return
	}
	status := gatewayv1.RouteParentStatus{ParentRef: o.Spec.ParentRefs[0], ControllerName: "example.com/stand-in"}
	for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
		status.Conditions = append(status.Conditions, metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, Reason: "Fine", ObservedGeneration: o.Generation})
	}
	o.Status.Parents = []gatewayv1.RouteParentStatus{status}
	_ = p.client.Update(ctx, o) // or in the next round
}

// route is the HTTPRoute, and the shares that it gives to the instances.
func (p *plane) route(ctx context.Context) (*gatewayv1.HTTPRoute, map[string]int, error) {
	var o gatewayv1.HTTPRoute
	if err := p.client.Get(ctx, client.ObjectKey{Namespace: "ns", Name: "goproxy-router"}, &o); err != nil {
		return nil, nil, err
	}
	shares := map[string]int{}
	for i, ref := range o.Spec.Rules[0].BackendRefs {
		shares[p.names[i]] = int(*ref.Weight)
	}
	return &o, shares, nil
}

// followed reports whether the data plane has the shares of the HTTPRoute.
func (p *plane) followed(ctx context.Context) bool {
	_, shares, err := p.route(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return err == nil && maps.Equal(p.shares, shares)
}

// ServeHTTP passes a request to an instance by weight.
func (p *plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, to := p.choose()
	if name == "" {
		http.Error(w, "no backend", http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(to.ctx, cancel)()
	target := &url.URL{Scheme: "http", Host: p.address[name]}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

func (p *plane) choose() (string, pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	for _, share := range p.shares {
		total += share
	}
	if total == 0 {
		return "", pod{}
	}
	n := rand.IntN(total) //nolint:gosec // a share of requests
	for _, name := range p.names {
		if n -= p.shares[name]; n < 0 {
			return name, p.pods[name]
		}
	}
	return "", pod{}
}

// restart forgets what was routed and terminates all connections; the HTTPRoute is read
// again.
func (p *plane) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shares = nil
	for name, is := range p.pods {
		is.end()
		is.ctx, is.end = context.WithCancel(context.Background())
		p.pods[name] = is
	}
}
