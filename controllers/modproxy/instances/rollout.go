package instances

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
)

// Each instance is a StatefulSet of its own, which replaces its pod at once when
// its template changes: for another image after an upgrade, another Secret. So
// the StatefulSets are changed one after the other, each while another instance
// serves.

// postponed reports whether the pod of an instance must not be replaced now: it
// serves, and no other instance could meanwhile.
func (r Reconciler) postponed(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, instance *v1alpha1.ProxyInstance, desired *appsv1.StatefulSet, out *Result) (bool, error) {
	if o.Replacing(p, instance.Name) {
		return false, nil // it is down
	}
	differs, err := r.applier().Differs(ctx, apply.ControlledBy(p), desired)
	if err != nil || !differs {
		return false, err
	}
	// The cache may not have yet what was changed a moment ago.
	set, err := read.Object[appsv1.StatefulSet](ctx, r.Live, desired.Namespace, desired.Name)
	if err != nil || set == nil || set.Status.ReadyReplicas == 0 {
		return false, err // no client loses anything
	}
	serves := false
	if !out.began {
		if serves, err = r.anotherServes(ctx, p, instance.Name); err != nil {
			return true, err
		}
	}
	if !serves {
		out.Waits = append(out.Waits, instance.Name)
		return true, nil
	}
	out.began = true
	return false, nil
}

// anotherServes reports whether an instance other than the excluded one serves,
// or there is no other. While none is healthy, any that runs will do: the change may be
// what makes them healthy.
func (r Reconciler) anotherServes(ctx context.Context, p *v1alpha1.ModProxy, exclude string) (bool, error) {
	healthy := slices.ContainsFunc(p.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return pass.Instance(p, i.Name).Healthy })
	used := pass.Instance(p, exclude).ObservedWeight > 0
	alone := true
	for i := range p.Spec.Instances {
		other := &p.Spec.Instances[i]
		if other.Name == exclude {
			continue
		}
		alone = false
		status := pass.Instance(p, other.Name)
		if healthy && (!status.Healthy || status.ObservedWeight == 0) || used && (status.Quarantined != nil || status.OutOfService) {
			continue
		}
		if ready, err := r.rolledOut(ctx, p, other); err != nil || ready {
			return ready, err
		}
	}
	return alone, nil
}

// rolledOut reports whether the pod of an instance is ready, and no other one is
// about to take its place.
func (r Reconciler) rolledOut(ctx context.Context, p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) (bool, error) {
	if instance.External != nil {
		return true, nil
	}
	set, err := read.Object[appsv1.StatefulSet](ctx, r.Live, p.Namespace, childName(p, instance))
	if err != nil || set == nil {
		return false, err
	}
	return set.Status.ObservedGeneration == set.Generation && set.Status.UpdatedReplicas > 0 && set.Status.ReadyReplicas > 0, nil
}
