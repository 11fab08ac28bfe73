package modproxy

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
)

// rollout is what is known of instances whose pods are to be made anew: another
// image after an upgrade, another Secret, another template. Each is a
// StatefulSet of its own, which would replace its pod at once; so they are
// changed one after the other, each while another one serves.
type rollout struct {
	// began says that one was changed in this pass.
	began bool
	// waits are the instances that are still to be changed.
	waits []string
}

// postponed says whether the pod of an instance must not be replaced now: it
// serves, and nobody else could meanwhile.
func (r *Reconciler) postponed(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance, wanted *appsv1.StatefulSet) (bool, error) {
	if s.Replacing(s.proxy, instance.Name) {
		return false, nil // it is down
	}
	differs, err := r.applier().Differs(ctx, apply.ControlledBy(s.proxy), wanted)
	if err != nil || !differs {
		return false, err
	}
	// The cache may not know yet what was changed a moment ago.
	have, err := read.Object[appsv1.StatefulSet](ctx, r.Live, wanted.Namespace, wanted.Name)
	if err != nil || have == nil || have.Status.ReadyReplicas == 0 {
		return false, err // nothing is lost
	}
	covered := false
	if !s.rollout.began {
		if covered, err = r.covered(ctx, s, instance.Name); err != nil {
			return true, err
		}
	}
	if !covered {
		s.rollout.waits = append(s.rollout.waits, instance.Name)
		return true, nil
	}
	s.rollout.began = true
	return false, nil
}

// covered says whether another instance serves, or there is no other one.
func (r *Reconciler) covered(ctx context.Context, s *scope, but string) (bool, error) {
	alone := true
	for i := range s.proxy.Spec.Instances {
		other := &s.proxy.Spec.Instances[i]
		if other.Name == but {
			continue
		}
		alone = false
		if status := pass.Instance(s.proxy, other.Name); !status.Healthy || status.ObservedWeight == 0 {
			continue
		}
		if stands, err := r.stands(ctx, s, other); err != nil || stands {
			return stands, err
		}
	}
	return alone, nil
}

// stands says whether the pod of an instance is ready, and no other one is about
// to take its place.
func (r *Reconciler) stands(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance) (bool, error) {
	if instance.External != nil {
		return true, nil
	}
	set, err := read.Object[appsv1.StatefulSet](ctx, r.Live, s.proxy.Namespace, s.childName(instance))
	if err != nil || set == nil {
		return false, err
	}
	return set.Status.ObservedGeneration == set.Generation && set.Status.UpdatedReplicas > 0 && set.Status.ReadyReplicas > 0, nil
}
