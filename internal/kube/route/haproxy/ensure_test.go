package haproxy_test

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/routetest"
)

func ownedRouter(c client.Client, owner client.Object) *haproxy.Router {
	p := sampleParams()
	p.Namespace = routetest.Namespace
	return &haproxy.Router{
		Owner: string(owner.GetUID()),
		Publisher: &haproxy.ConfigMap{
			Client: c, Reader: c, FieldOwner: "test", Namespace: p.Namespace, Name: haproxy.WeightsName(p.Name),
			Owner: *metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ConfigMap")),
		},
		Replicas: func(context.Context) ([]haproxy.Replica, error) { return nil, nil },
		Applier:  apply.Applier{Client: c, Live: c, FieldOwner: "test"}, Object: owner, Params: p,
	}
}

// TestRouterObjects examines what is made.
func TestRouterObjects(t *testing.T) {
	routetest.RunObjects(t, func(_ *testing.T, c client.Client, owner client.Object) routetest.Objects {
		r := ownedRouter(c, owner)
		url := r.Params.URL()
		return routetest.Objects{Router: r, Address: route.Address{URL: url, GOPROXY: haproxy.GOPROXY(url)}}
	})
}

func newOwner() client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: routetest.Namespace, Name: "goproxy", UID: "owner"}}
}

// TestWaitsForAddresses holds that nothing is made or published while an
// instance has no address.
func TestWaitsForAddresses(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
	r := ownedRouter(c, newOwner())
	r.Params.Instances = []haproxy.Instance{{Name: "theirs", External: "https://proxy.example.com"}, {Name: "green"}}
	if got, err := r.Ensure(t.Context()); err != nil || got != (route.Ensured{Waits: "the address of instance green"}) {
		t.Errorf("Ensure = %+v, %v", got, err)
	}
	if got, err := r.URL(t.Context()); err != nil || got.URL != "" {
		t.Errorf("URL = %+v, %v", got, err)
	}
	if stands, err := r.Stands(t.Context()); stands || err != nil {
		t.Errorf("Stands = %v, %v", stands, err)
	}
}

// TestOneReplicaNeedsNoBudget holds that the disruption budget of a router goes
// that has one replica now, once it is rolled out.
func TestOneReplicaNeedsNoBudget(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithStatusSubresource(&appsv1.Deployment{}).Build()
	r := ownedRouter(c, newOwner())
	key := client.ObjectKey{Namespace: routetest.Namespace, Name: "goproxy-router"}
	ensure := func() {
		t.Helper()
		if _, err := r.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ensure()
	r.Params.Replicas = 1
	ensure()
	if err := c.Get(t.Context(), key, &policyv1.PodDisruptionBudget{}); err != nil {
		t.Errorf("before the roll-out: %v", err)
	}
	var d appsv1.Deployment
	if err := c.Get(t.Context(), key, &d); err != nil {
		t.Fatal(err)
	}
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1}
	if err := c.Status().Update(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	ensure()
	if err := c.Get(t.Context(), key, &policyv1.PodDisruptionBudget{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the roll-out: %v", err)
	}
}

// TestRemoveKeepsAnAdoptedService holds that a change of the type to
// Service keeps the address.
func TestRemoveKeepsAnAdoptedService(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
	r := ownedRouter(c, newOwner())
	if _, err := r.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	var s corev1.Service
	key := client.ObjectKey{Namespace: routetest.Namespace, Name: "goproxy-router"}
	if err := c.Get(t.Context(), key, &s); err != nil {
		t.Fatal(err)
	}
	if err := direct.Note(&s, "owner", []route.Server{{Name: "blue", State: route.Ready, Weight: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), key, &s); err != nil {
		t.Errorf("the Service: %v", err)
	}
	if stands, err := r.Stands(t.Context()); stands || err != nil {
		t.Errorf("the Deployment was left: %v, %v", stands, err)
	}
}
