package haproxy

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
)

// URL implements route.Router. There is none before the router can be made.
func (r *Router) URL(context.Context) (route.Address, error) {
	if r.Params.waits() != "" {
		return route.Address{}, nil
	}
	url := r.Params.URL()
	return route.Address{URL: url, GOPROXY: GOPROXY(url)}, nil
}

// Ensure implements route.Router. The objects are made once every instance has
// its address: the configuration names them, and is not reloaded.
func (r *Router) Ensure(ctx context.Context) (route.Ensured, error) {
	if waits := r.Params.waits(); waits != "" {
		return route.Ensured{Waits: waits}, nil
	}
	objects, err := Objects(r.Params)
	if err != nil {
		return route.Ensured{}, fmt.Errorf("build the router: %w", err)
	}
	errs := []error{r.removePolicy(ctx)}
	changed := false
	for _, o := range objects {
		wrote, err := r.Applier.Apply(ctx, apply.ControlledBy(r.Object), o)
		changed = changed || wrote
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || changed {
		return route.Ensured{}, err // the cache's copy of it may be stale
	}
	deployment, err := r.deployment(ctx)
	if err != nil || !rolledOut(deployment) {
		return route.Ensured{}, err
	}
	return route.Ensured{Settled: true}, r.removeBudget(ctx)
}

// Stands reports whether there is a Deployment of the router.
func (r *Router) Stands(ctx context.Context) (bool, error) {
	d, err := r.deployment(ctx)
	return d != nil, err
}

func (r *Router) deployment(ctx context.Context) (*appsv1.Deployment, error) {
	return read.Object[appsv1.Deployment](ctx, r.Applier.Client, r.Params.Namespace, RouterName(r.Params.Name))
}

// rolledOut reports whether every replica runs with the configuration that was
// applied last.
func rolledOut(d *appsv1.Deployment) bool {
	return d != nil && d.Status.ObservedGeneration == d.Generation && d.Spec.Replicas != nil &&
		d.Status.UpdatedReplicas == *d.Spec.Replicas && d.Status.Replicas == *d.Spec.Replicas && d.Status.ReadyReplicas == *d.Spec.Replicas
}

// removeBudget removes the disruption budget of a router that has one replica
// now: it would keep its node from being drained.
func (r *Router) removeBudget(ctx context.Context) error {
	if r.Params.Replicas > 1 {
		return nil
	}
	budget, err := read.Object[policyv1.PodDisruptionBudget](ctx, r.Applier.Client, r.Params.Namespace, RouterName(r.Params.Name))
	if err != nil || budget == nil || !metav1.IsControlledBy(budget, r.Object) {
		return err
	}
	return apply.Delete(ctx, r.Applier.Client, budget)
}

// removePolicy removes the NetworkPolicy of a router that needs none now.
func (r *Router) removePolicy(ctx context.Context) error {
	if r.Params.Network != nil {
		return nil
	}
	return netpolicy.Remove(ctx, r.Applier.Client, r.Object, r.Params.Namespace, RouterName(r.Params.Name))
}

// Remove implements route.Router. The Deployment goes last: as long as it is
// there, the rest is looked for. A Service in which an intent is written has
// been taken over by a router of type Service, and stays.
func (r *Router) Remove(ctx context.Context) error {
	name := RouterName(r.Params.Name)
	service, err := read.Object[corev1.Service](ctx, r.Applier.Live, r.Params.Namespace, name)
	if err != nil {
		return err
	}
	type object struct {
		kind client.Object
		name string
	}
	var all []object
	if service != nil {
		if _, used := direct.Intent(service); !used {
			all = append(all, object{&corev1.Service{}, name})
		}
	}
	for _, own := range []string{configName(r.Params.Name), WeightsName(r.Params.Name)} {
		all = append(all, object{&corev1.ConfigMap{}, own})
	}
	all = append(all, object{&policyv1.PodDisruptionBudget{}, name}, object{&rbacv1.RoleBinding{}, name}, object{&rbacv1.Role{}, name},
		object{&corev1.ServiceAccount{}, name}, object{&networkingv1.NetworkPolicy{}, name}, object{&appsv1.Deployment{}, name})
	for _, o := range all {
		if err := direct.Remove(ctx, r.Applier, r.Object, o.kind, r.Params.Namespace, o.name); err != nil {
			return err
		}
	}
	return nil
}

// waits names the first instance whose address is unknown; empty: none.
func (p Params) waits() string {
	for _, i := range p.Instances {
		if i.Address == "" && !i.isExternal() {
			return "the address of instance " + i.Name
		}
	}
	return ""
}
