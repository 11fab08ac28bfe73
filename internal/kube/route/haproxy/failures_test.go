package haproxy_test

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/routetest"
	"gocache.dev/operator/internal/testing/failing"
)

// rolledOut is a cluster with a router of two replicas, all of which run.
func rolledOut(t *testing.T) client.WithWatch {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithStatusSubresource(&appsv1.Deployment{}).Build()
	r := ownedRouter(c, newOwner())
	if got, err := r.Ensure(t.Context()); err != nil || got != (route.Ensured{}) {
		t.Fatalf("%+v, %v", got, err)
	}
	status(t, c, func(*appsv1.Deployment) {})
	return c
}

// status gives the Deployment that of one that runs, but for a change.
func status(t *testing.T, c client.Client, change func(*appsv1.Deployment)) {
	t.Helper()
	var d appsv1.Deployment
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: routetest.Namespace, Name: "goproxy-router"}, &d); err != nil {
		t.Fatal(err)
	}
	n := ptr.Deref(d.Spec.Replicas, 0)
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n}
	change(&d)
	if err := c.Status().Update(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
}

// TestFailures holds that no error of the API server is dropped.
func TestFailures(t *testing.T) {
	empty := func() client.WithWatch { return fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build() }
	there := func() client.WithWatch { return rolledOut(t) }
	ensure := func(ctx context.Context, r *haproxy.Router) error { _, err := r.Ensure(ctx); return err }
	for name, tt := range map[string]struct {
		fresh     func() client.WithWatch
		operation func(context.Context, *haproxy.Router) error
		calls     int
	}{
		"ensure":                  {empty, ensure, 8},
		"ensure, and nothing new": {there, ensure, 9},
		"ensure without a policy": {there, func(ctx context.Context, r *haproxy.Router) error { r.Params.Network = nil; return ensure(ctx, r) }, 9},
		"stands":                  {there, func(ctx context.Context, r *haproxy.Router) error { _, err := r.Stands(ctx); return err }, 1},
		"remove":                  {there, func(ctx context.Context, r *haproxy.Router) error { return r.Remove(ctx) }, 15},
		"set": {there, func(ctx context.Context, r *haproxy.Router) error {
			return r.Set(ctx, []route.Server{{Name: "blue", State: route.Drain}})
		}, 2},
	} {
		calls := failing.Each(t, tt.fresh, func(c client.Client) error { return tt.operation(t.Context(), ownedRouter(c, newOwner())) })
		if len(calls) < tt.calls {
			t.Errorf("%s: %d calls, want %d at least: %v", name, len(calls), tt.calls, calls)
		}
	}
}

// TestSettled holds that a router is settled once every replica runs what was applied
// last, and that one with a budget it needs keeps it.
func TestSettled(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*appsv1.Deployment)
		want   bool
	}{
		"all run":                    {func(*appsv1.Deployment) {}, true},
		"not seen yet":               {func(d *appsv1.Deployment) { d.Status.ObservedGeneration-- }, false},
		"one of an earlier template": {func(d *appsv1.Deployment) { d.Status.UpdatedReplicas-- }, false},
		"one too many":               {func(d *appsv1.Deployment) { d.Status.Replicas++ }, false},
		"one not ready":              {func(d *appsv1.Deployment) { d.Status.ReadyReplicas-- }, false},
	} {
		c := rolledOut(t)
		status(t, c, tt.change)
		r := ownedRouter(c, newOwner())
		if got, err := r.Ensure(t.Context()); err != nil || got != (route.Ensured{Settled: tt.want}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: routetest.Namespace, Name: "goproxy-router"}, &policyv1.PodDisruptionBudget{}); err != nil {
			t.Errorf("%s: the budget: %v", name, err)
		}
	}
}
