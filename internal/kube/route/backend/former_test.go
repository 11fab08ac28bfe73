package backend

import (
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// left is a proxy whose router was of other types before, with what those left.
func left(t *testing.T, kind v1alpha1.RouterType) (*v1alpha1.ModProxy, client.Client, *Router) {
	t.Helper()
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "p"}}
	p.Spec.Router.Type, p.Status.HTTPRoute = kind, "p-router"
	owned := metav1.ObjectMeta{Namespace: "n", Name: haproxy.RouterName("p"), OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.ModProxyKind, Name: "p", UID: "p", Controller: ptr.To(true),
	}}}
	service := &corev1.Service{ObjectMeta: owned}
	if err := direct.Note(service, "p", []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), gatewayv1.Install(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&appsv1.Deployment{ObjectMeta: owned}, service, &gatewayv1.HTTPRoute{ObjectMeta: owned}).Build()
	return p, c, Maker{Applier: apply.Applier{Client: c, Live: c, FieldOwner: "test"}}.Router(p, nil)
}

// present are the objects that are left of routers.
func present(t *testing.T, c client.Client) string {
	t.Helper()
	all := ""
	for _, kind := range []struct {
		name   string
		object client.Object
	}{{"Deployment ", &appsv1.Deployment{}}, {"Service ", &corev1.Service{}}, {"HTTPRoute ", &gatewayv1.HTTPRoute{}}} {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: haproxy.RouterName("p")}, kind.object)
		if err == nil {
			all += kind.name
		} else if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestRemoveFormer holds that what clients may still use of a router of another type
// stays until the present one has settled, and goes then.
func TestRemoveFormer(t *testing.T) {
	for kind, want := range map[v1alpha1.RouterType][2]string{
		v1alpha1.RouterService: {"Deployment Service ", "Service "},
		v1alpha1.RouterGateway: {"Deployment Service HTTPRoute ", "HTTPRoute "},
		v1alpha1.RouterHAProxy: {"Deployment Service ", "Deployment Service "},
	} {
		p, c, r := left(t, kind)
		for i, settled := range []bool{false, true} {
			if err := r.RemoveFormer(t.Context(), &p.Status, settled); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if got := present(t, c); got != want[i] {
				t.Errorf("%s, settled %v: %sis left, want %s", kind, settled, got, want[i])
			}
		}
		if kept := p.Status.HTTPRoute != ""; kept != (kind == v1alpha1.RouterGateway) {
			t.Errorf("%s: the status names HTTPRoute %q", kind, p.Status.HTTPRoute)
		}
	}
}

// TestRecordBeforeRoute holds that the name of an HTTPRoute is recorded once, before
// it is created.
func TestRecordBeforeRoute(t *testing.T) {
	p, _, r := left(t, v1alpha1.RouterGateway)
	p.Status.HTTPRoute = ""
	if !r.Record(&p.Status) || p.Status.HTTPRoute != haproxy.RouterName("p") || r.Record(&p.Status) {
		t.Errorf("%q", p.Status.HTTPRoute)
	}
	p, _, r = left(t, v1alpha1.RouterService)
	if r.Record(&p.Status) {
		t.Error("a Service records an HTTPRoute")
	}
}

// TestSetFollowsFormer holds that clients which still use the Service of before are
// led to one instance that is ready, and to none while HAProxy owns it.
func TestSetFollowsFormer(t *testing.T) {
	_, c, r := left(t, v1alpha1.RouterGateway)
	servers := []route.Server{{Name: "blue", State: route.Down}, {Name: "green", State: route.Ready, Weight: 50}, {Name: "red", State: route.Ready, Weight: 50}}
	r.former.haproxy = nil
	if err := r.former.set(t.Context(), servers); err != nil {
		t.Fatal(err)
	}
	var service corev1.Service
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: haproxy.RouterName("p")}, &service); err != nil {
		t.Fatal(err)
	}
	w, ok := direct.Intent(&service)
	if !ok || route.State(w.Servers["blue"].State) != route.Down || route.State(w.Servers["green"].State) != route.Ready || route.State(w.Servers["red"].State) != route.Drain {
		t.Errorf("%+v", w)
	}
	if servers[2].State != route.Ready {
		t.Error("the intent of the present router was changed")
	}
	service.Annotations = nil // HAProxy's
	if err := c.Update(t.Context(), &service); err != nil {
		t.Fatal(err)
	}
	before := service.ResourceVersion
	if err := r.former.set(t.Context(), servers); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(&service), &service); err != nil || service.ResourceVersion != before {
		t.Errorf("the Service of HAProxy was changed, %v", err)
	}
}
