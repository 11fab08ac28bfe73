package backend

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/gateway"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/service"
)

var errBroken = errors.New("the server is down")

// declared is a ModProxy whose spec has all that its router depends on.
func declared() *v1alpha1.ModProxy {
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "p"}}
	p.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue", Storage: &v1alpha1.InstanceStorage{}}}
	r := &p.Spec.Router
	r.Replicas, r.ResponseVerification = 3, v1alpha1.ResponseVerificationDisabled
	r.TLS = &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "tls"}}
	r.ClientAuth = &v1alpha1.ClientAuth{SecretRef: v1alpha1.LocalReference{Name: "clients"}}
	r.Service = v1alpha1.RouterServiceTemplate{Type: string(corev1.ServiceTypeLoadBalancer), Port: ptr.To[int32](8443), Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"lb": "x"},
		LoadBalancerClass: ptr.To("c"), LoadBalancerSourceRanges: []string{"10.0.0.0/8"}}
	return p
}

// TestParams holds which fields of a spec a router of type HAProxy gets.
func TestParams(t *testing.T) {
	p := declared()
	m := Maker{Images: images.Images{HAProxy: "haproxy:1", Operator: "operator:1"}, ManagerNamespace: "system", ClientsWithheld: true}
	got := m.params(p, []route.Instance{{Name: "blue", Address: "10.0.0.1:8080", CheckPort: 9103, Standby: true}, {Name: "up", External: "https://up.test"}})
	if got.Network == nil || len(got.Network.Clients) == 0 || got.Network.ManagerNamespace != "system" || got.HAProxyResources.Limits.Memory().IsZero() || got.SidecarResources.Limits.Memory().Cmp(resource.MustParse("512Mi")) != 0 {
		t.Errorf("%+v", got)
	}
	want := haproxy.Params{
		Name: "p", Namespace: "n", Labels: map[string]string{v1alpha1.ProxyLabel: "p", v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}, Replicas: 3, PassModules: true,
		HAProxyImage: "haproxy:1", RouterImage: "operator:1", TLSSecret: "tls", ClientsSecret: "clients", ClientsWithheld: true,
		Instances: []haproxy.Instance{{Name: "blue", Address: "10.0.0.1:8080", CheckPort: 9103, Standby: true}, {Name: "up", External: "https://up.test"}},
		Service: route.Service{Type: corev1.ServiceTypeLoadBalancer, Port: 8443, Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"lb": "x"},
			LoadBalancerClass: ptr.To("c"), LoadBalancerSourceRanges: []string{"10.0.0.0/8"}},
		Network: got.Network, HAProxyResources: got.HAProxyResources, SidecarResources: got.SidecarResources,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p.Spec.Router = v1alpha1.ProxyRouter{PodTemplate: &v1alpha1.PodTemplate{ImagePullSecrets: []v1alpha1.LocalReference{{Name: "pull"}}, Annotations: map[string]string{"a": "b"}}}
	p.Spec.NetworkPolicy = v1alpha1.NetworkPolicyNone
	if got := m.params(p, nil); got.Network != nil || got.PassModules || got.TLSSecret != "" || got.ClientsSecret != "" || got.ClientsWithheld || len(got.ImagePullSecrets) != 1 || got.Annotations["a"] != "b" || got.Service.Port != 0 {
		t.Errorf("%+v", got)
	}
}

// TestHost holds where clients of a router of type HAProxy connect to.
func TestHost(t *testing.T) {
	p := declared()
	if host, err := (Maker{}).Host(p); err != nil || host != "p-router.n.svc:8443" {
		t.Errorf("%q, %v", host, err)
	}
	p.Spec.Router = v1alpha1.ProxyRouter{}
	if host, err := (Maker{}).Host(p); err != nil || host != "p-router.n.svc" {
		t.Errorf("%q, %v", host, err)
	}
}

// TestRouter holds which backend the type of a router chooses, and which former ones are
// looked after.
func TestRouter(t *testing.T) {
	kinds := func(r *Router) string {
		kind := ""
		switch r.Router.(type) {
		case *haproxy.Router:
			kind = "haproxy"
		case *service.Router:
			kind = "service"
		case *gateway.Router:
			kind = "gateway"
		}
		if r.former.haproxy != nil {
			kind += " -haproxy"
		}
		if r.former.service != nil {
			kind += " -service"
		}
		if r.former.gateway != nil {
			kind += " -gateway " + r.former.gateway.Name
		}
		return kind
	}
	for _, tt := range []struct {
		kind      v1alpha1.RouterType
		httpRoute string
		want      string
	}{
		{"", "", "haproxy"}, {v1alpha1.RouterHAProxy, "", "haproxy"}, {v1alpha1.RouterHAProxy, "old", "haproxy -gateway old"}, {v1alpha1.RouterService, "", "service -haproxy"},
		{v1alpha1.RouterService, "old", "service -haproxy -gateway old"}, {v1alpha1.RouterGateway, "", "gateway -haproxy -service"}, {v1alpha1.RouterGateway, "old", "gateway -haproxy -service"},
	} {
		p := declared()
		p.Spec.Router.Type, p.Status.HTTPRoute = tt.kind, tt.httpRoute
		if got := kinds(Maker{}.Router(p, nil)); got != tt.want {
			t.Errorf("%s with HTTPRoute %q: %s, want %s", tt.kind, tt.httpRoute, got, tt.want)
		}
	}
	p := declared()
	p.Spec.Router.Type, p.Spec.Router.Gateway = v1alpha1.RouterGateway, &v1alpha1.GatewayRouter{Hostnames: []string{"go.test"}}
	g := Maker{}.gateway(p, []route.Instance{{Name: "blue", Service: "p-blue", Port: 8080}})
	if len(g.Spec.Hostnames) != 1 || len(g.Backends) != 1 || g.Backends[0] != (gateway.Backend{Name: "blue", Service: "p-blue", Port: 8080}) {
		t.Errorf("%+v", g)
	}
}

// TestGatewayIsReadLive holds that the objects of a Gateway are read past the cache: a kind
// that a cluster may lack cannot be watched.
func TestGatewayIsReadLive(t *testing.T) {
	p, live, _ := left(t, v1alpha1.RouterGateway)
	cached := interceptor.NewClient(live.(client.WithWatch), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("it was read from the cache")
	}})
	g := Maker{Applier: apply.Applier{Client: cached, Live: live, FieldOwner: "test"}}.gateway(p, nil)
	var r gatewayv1.HTTPRoute
	if err := g.Applier.Client.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "p-router"}, &r); err != nil || r.Name != "p-router" {
		t.Errorf("%+v, %v", r.ObjectMeta, err)
	}
}

// plain is a backend without certificates.
type plain struct {
	route.Router
	set []route.Server
	err error
}

func (p *plain) Set(_ context.Context, servers []route.Server) error {
	p.set = servers
	return p.err
}

// certified is one that serves a certificate.
type certified struct{ plain }

func (*certified) Certificates(context.Context) ([]route.Certificate, error) {
	return []route.Certificate{{Replica: "a"}}, errBroken
}

// TestCertificates holds that only a backend that serves a certificate reports one.
func TestCertificates(t *testing.T) {
	if all, err := (&Router{Router: &plain{}}).Certificates(t.Context()); err != nil || all != nil {
		t.Errorf("%v, %v", all, err)
	}
	if all, err := (&Router{Router: &certified{}}).Certificates(t.Context()); !errors.Is(err, errBroken) || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestSet holds that the intent is published to the present router and to what is left of a
// former one, and that a failure of one keeps it not from the other.
func TestSet(t *testing.T) {
	servers := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}
	for name, tt := range map[string]struct {
		present error
		former  error
	}{"both": {nil, nil}, "the present fails": {errBroken, nil}, "the former fails": {nil, errBroken}} {
		_, c, r := left(t, v1alpha1.RouterGateway)
		present := &plain{err: tt.present}
		r.Router = present
		r.former.haproxy = nil
		if tt.former != nil {
			r.former.service.Applier.Live = interceptor.NewClient(c.(client.WithWatch), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return tt.former
			}})
		}
		err := r.Set(t.Context(), servers)
		if errors.Is(err, errBroken) != (tt.present != nil || tt.former != nil) || len(present.set) != 1 {
			t.Errorf("%s: %v, set %v", name, err, present.set)
		}
		var s corev1.Service
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "p-router"}, &s); err != nil {
			t.Fatal(err)
		}
		if followed := s.Spec.Selector != nil; followed != (tt.former == nil) {
			t.Errorf("%s: the former router follows: %t", name, followed)
		}
	}
}

// TestFormerHAProxy holds that the weights of HAProxy are written only while its Deployment
// is there, by what is read past the cache.
func TestFormerHAProxy(t *testing.T) {
	servers := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}
	weights := func(c client.Client) bool {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "p-router-weights"}, &corev1.ConfigMap{})
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return err == nil
	}
	for name, tt := range map[string]struct {
		change func(*testing.T, client.Client, *Router)
		want   bool
		fails  bool
	}{
		"it is there": {func(*testing.T, client.Client, *Router) {}, true, false},
		"it is gone": {func(t *testing.T, c client.Client, _ *Router) {
			if err := c.Delete(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-router"}}); err != nil {
				t.Fatal(err)
			}
		}, false, false},
		"it is gone, and the cache is behind": {func(t *testing.T, _ client.Client, r *Router) {
			_, empty, _ := left(t, v1alpha1.RouterService)
			if err := empty.Delete(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-router"}}); err != nil {
				t.Fatal(err)
			}
			r.former.haproxy.Applier.Live = empty
		}, false, false},
		"another's": {func(t *testing.T, c client.Client, _ *Router) {
			var d appsv1.Deployment
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "p-router"}, &d); err != nil {
				t.Fatal(err)
			}
			d.OwnerReferences[0].UID = "another"
			if err := c.Update(t.Context(), &d); err != nil {
				t.Fatal(err)
			}
		}, false, false},
		"it cannot be read": {func(_ *testing.T, c client.Client, r *Router) {
			r.former.haproxy.Applier.Live = interceptor.NewClient(c.(client.WithWatch), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return errBroken
			}})
		}, false, true},
	} {
		_, c, r := left(t, v1alpha1.RouterService)
		tt.change(t, c, r)
		if err := r.former.set(t.Context(), servers); errors.Is(err, errBroken) != tt.fails || (err != nil) != tt.fails {
			t.Errorf("%s: %v", name, err)
		}
		if got := weights(c); got != tt.want {
			t.Errorf("%s: weights are written: %t", name, got)
		}
	}
}

// TestRemoveFormerFails holds that what is left is not forgotten while it cannot be removed.
func TestRemoveFormerFails(t *testing.T) {
	for name, tt := range map[string]struct {
		kind   v1alpha1.RouterType
		refuse string
	}{"the HTTPRoute": {v1alpha1.RouterService, "HTTPRoute"}, "the Service": {v1alpha1.RouterGateway, "Service"}, "the Deployment": {v1alpha1.RouterService, "Deployment"}} {
		p, c, _ := left(t, tt.kind)
		refusing := interceptor.NewClient(c.(client.WithWatch), interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			switch o.(type) {
			case *gatewayv1.HTTPRoute:
				if tt.refuse == "HTTPRoute" {
					return errBroken
				}
			case *corev1.Service:
				if tt.refuse == "Service" {
					return errBroken
				}
			case *appsv1.Deployment:
				if tt.refuse == "Deployment" {
					return errBroken
				}
			}
			return c.Delete(ctx, o, options...)
		}})
		r := Maker{Applier: apply.Applier{Client: refusing, Live: c, FieldOwner: "test"}}.Router(p, nil)
		if err := r.RemoveFormer(t.Context(), &p.Status, true); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.refuse == "HTTPRoute" && p.Status.HTTPRoute == "" {
			t.Error("an HTTPRoute that is left is forgotten")
		}
		if !strings.Contains(present(t, c), tt.refuse) {
			t.Errorf("%s is gone", name)
		}
	}
}
