package modproxy

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/backend"
	"gocache.dev/operator/internal/plan/naming"
)

// What the backends of internal/kube/route need. The operator lists and watches
// no ConfigMap of its users. It may, because the Role of the router's sidecar
// says get, list and watch of the weights, and the API server lets nobody grant
// what they may not do themselves.
//
// +kubebuilder:rbac:groups="",resources=serviceaccounts;configmaps;services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;delete
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=get

// router of a proxy for one pass.
func (r *Reconciler) router(p *v1alpha1.ModProxy, instances []route.Instance) *backend.Router {
	if r.Router != nil {
		return r.Router(p, instances)
	}
	return r.backend(p, instances)
}

func (r *Reconciler) backend(p *v1alpha1.ModProxy, instances []route.Instance) *backend.Router {
	return backend.Maker{Applier: r.applier(), Images: r.Images, HTTP: r.HTTP}.Router(p, instances)
}

// routed are the instances as a router reaches them, by their addresses.
func routed(p *v1alpha1.ModProxy, addresses map[string]string) []route.Instance {
	var all []route.Instance
	for n := range p.Spec.Instances {
		instance := &p.Spec.Instances[n]
		i := route.Instance{Name: instance.Name, Standby: instance.Role == v1alpha1.RoleStandby, Service: naming.Child(p.Name, instance.Name), Port: pass.InstancePort}
		if instance.External != nil {
			i.External = instance.External.URL
			all = append(all, i)
			continue
		}
		i.Address = addresses[instance.Name]
		if pass.ServerOf(p, instance).Type != v1alpha1.ServerGoproxy {
			i.CheckPort = pass.AgentPort // what such a server says of itself means nothing
		}
		all = append(all, i)
	}
	return all
}

// ensureRouter publishes where clients go, and makes what of the router does not
// depend on the weights.
func (r *Reconciler) ensureRouter(ctx context.Context, s *scope) error {
	address, err := s.router.URL(ctx)
	if err != nil {
		return err
	}
	if address.URL != "" {
		s.proxy.Status.URL, s.proxy.Status.GOPROXY = address.URL, address.GOPROXY
	}
	if s.ensured, err = s.router.Ensure(ctx); s.ensured.Waits != "" {
		s.result.WakeIn(pass.ConfirmInterval)
	}
	return err
}

// setWeights publishes what was decided and reads back what every replica of
// the router does. Only what was read back counts as done.
func (r *Reconciler) setWeights(ctx context.Context, s *scope) error {
	for _, w := range s.decision.Desired {
		s.wanted = append(s.wanted, route.Server{Name: w.Name, State: route.State(w.Use), Weight: w.Weight})
	}
	if !s.decision.Wake.IsZero() {
		s.result.WakeIn(max(s.decision.Wake.Sub(s.Now), pass.ConfirmInterval))
	}
	if s.router.Record(&s.proxy.Status) {
		if err := r.writeStatus(ctx, s); err != nil {
			return err
		}
	}
	if err := s.router.Set(ctx, s.wanted); err != nil {
		return err
	}
	s.published = true
	var err error
	if s.observed, err = s.router.Observe(ctx); err != nil {
		return err
	}
	if s.Arrived, s.pending = s.observed.Confirms(s.wanted); !s.Arrived && s.routerStands() {
		s.result.WakeIn(s.confirmPause())
	}
	return nil
}

// removeFormer removes what the spec no longer names: routers of other types,
// and instances, once no replica of the router has them any more.
func (r *Reconciler) removeFormer(ctx context.Context, s *scope) error {
	settled := s.ensured.Settled && s.Arrived
	err := s.router.RemoveFormer(ctx, &s.proxy.Status, settled)
	if !settled {
		return err // its progress wakes us
	}
	return errors.Join(err, r.prune(ctx, s))
}

// confirmPause is short at first, and longer when a replica of the router has
// not followed for a while: it may be out of reach.
func (s *scope) confirmPause() time.Duration {
	routed := meta.FindStatusCondition(s.Stored.Status.Conditions, v1alpha1.RoutedCondition)
	if routed != nil && routed.Status != metav1.ConditionTrue && s.Now.Sub(routed.LastTransitionTime.Time) > patience {
		return pass.Interval / 6
	}
	return pass.ConfirmInterval
}

// routerStands says whether there is a router that takes clients.
func (s *scope) routerStands() bool { return len(s.observed.Replicas) > 0 }
