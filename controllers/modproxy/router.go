package modproxy

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/backend"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/plan/naming"
)

// followTimeout is how long a router is expected to follow soon.
const followTimeout = 30 * time.Second

// routing is how the router follows the weights that were decided.
type routing struct {
	// published: the weights were handed to the router.
	published bool
	// observed is what its replicas do.
	observed route.Observation
	// pending is why they do not do yet what was published.
	pending string
}

// ready reports whether there is a router that accepts clients.
func (r routing) ready() bool { return len(r.observed.Replicas) > 0 }

// What the backends of internal/kube/route need. The operator lists and watches
// no ConfigMap of its users. It may, because the Role of the router's sidecar
// contains get, list and watch of the weights, and the API server accepts no Role
// with permissions that its creator lacks.
//
// +kubebuilder:rbac:groups="",resources=serviceaccounts;configmaps;services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;delete
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=get

// router of a proxy for one pass. Withheld: the Secret of its clients may not be
// used.
func (r *Reconciler) router(p *v1alpha1.ModProxy, instances []route.Instance, withheld bool) *backend.Router {
	if r.Router != nil {
		return r.Router(p, instances, withheld)
	}
	return r.backend(p, instances, withheld)
}

func (r *Reconciler) backend(p *v1alpha1.ModProxy, instances []route.Instance, withheld bool) *backend.Router {
	return r.maker(withheld).Router(p, instances)
}

func (r *Reconciler) maker(withheld bool) backend.Maker {
	return backend.Maker{Applier: r.applier(), Images: r.Images, HTTP: r.HTTP, ManagerNamespace: r.ManagerNamespace, ClientsWithheld: withheld}
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
			i.CheckPort = pass.AgentPort // such a server reports ready whatever the state of its store
		}
		all = append(all, i)
	}
	return all
}

// ensureRouter publishes the address of the proxy, and creates what of the router
// does not depend on the weights.
func (r *Reconciler) ensureRouter(ctx context.Context, p *progress) error {
	if err := publishAddress(ctx, p); err != nil {
		return err
	}
	if p.clients.unknown {
		return p.clients.problem // the router stays as it is
	}
	var err error
	if p.ensured, err = p.router.Ensure(ctx); p.ensured.Waits != "" && p.instancesMade {
		p.result.WakeIn(pass.ConfirmInterval) // otherwise the error of the instances is to be corrected first
	}
	return errors.Join(err, p.clients.problem)
}

// publishAddress records the address that clients are to use, once it is known.
func publishAddress(ctx context.Context, p *progress) error {
	address, err := p.router.URL(ctx)
	if err == nil && address.URL != "" {
		p.proxy.Status.URL, p.proxy.Status.GOPROXY = address.URL, address.GOPROXY
	}
	return err
}

// route publishes the weights that were decided, and reads back what every
// replica of the router does. Only what was read back counts as done.
func (r *Reconciler) route(ctx context.Context, p *progress) error {
	var desired []route.Server
	for _, d := range p.decision.Desired {
		desired = append(desired, route.Server{Name: d.Name, State: route.State(d.Use), Weight: d.Weight})
	}
	intended := desired
	if p.router.Limits() == (route.Limits{}) {
		// Replicas that run with the configuration of before have no other instance, maybe.
		for _, former := range formers(p.proxy) {
			intended = append(intended, route.Server{Name: former.Name, State: route.State(use(former))})
		}
	}
	if p.router.Record(&p.proxy.Status) {
		if err := r.writeStatus(ctx, p); err != nil {
			return err
		}
	}
	if err := p.router.Set(ctx, intended); err != nil {
		return err
	}
	p.routing.published = true
	var err error
	if p.routing.observed, err = p.router.Observe(ctx); err != nil {
		return err
	}
	if p.Arrived, p.routing.pending = p.routing.observed.Confirms(desired); !p.Arrived && p.routing.ready() {
		p.result.WakeIn(confirmPause(p.proxy, p.Now))
	}
	if p.Arrived && p.proxy.Status.URL == "" { // accepted since this pass began: no other one may follow soon
		return publishAddress(ctx, p)
	}
	return nil
}

// recordRouting writes into the status what was read back from the router.
func recordRouting(p *progress) {
	status := &p.proxy.Status
	if p.routing.ready() {
		for i, desired := range p.decision.Desired {
			status.Instances[i].ObservedWeight = weightObserved(p.routing.observed, desired)
		}
	}
	if status.LastWeightChange != nil && status.LastWeightChange.ConfirmedTime == nil && p.Arrived {
		status.LastWeightChange.ConfirmedTime = ptr.To(metav1.NewTime(p.Now))
	}
	switch {
	case p.Arrived:
		status.WeightsPendingSince = nil
	case status.WeightsPendingSince == nil:
		status.WeightsPendingSince = ptr.To(metav1.NewTime(p.Now))
	}
}

// weightObserved is the weight of an instance in the router's replicas, by the
// one that differs most from what is desired.
func weightObserved(o route.Observation, desired failover.Desired) int32 {
	observed, seen := desired.Weight, false
	for _, replica := range o.Replicas {
		server, ok := replica.Servers[desired.Name]
		if !ok {
			continue
		}
		if !seen || server.Weight != desired.Weight {
			observed = server.Weight
		}
		seen = true
	}
	if !seen {
		return 0
	}
	return int32(observed) //nolint:gosec // 0 to 256
}

// confirmPause is the time until the router is read back again: short at first,
// and longer when a replica of it has not followed for a while, as it may be out
// of reach.
func confirmPause(p *v1alpha1.ModProxy, now time.Time) time.Duration {
	if since := p.Status.WeightsPendingSince; since != nil && now.Sub(since.Time) > followTimeout {
		return pass.Interval / 6
	}
	return pass.ConfirmInterval
}

// removeFormer removes what the spec no longer names: routers of other types,
// and instances, once no replica of the router has them any more.
func (r *Reconciler) removeFormer(ctx context.Context, p *progress) error {
	settled := p.ensured.Settled && p.Arrived
	err := p.router.RemoveFormer(ctx, &p.proxy.Status, settled)
	if !settled {
		return err // its progress wakes a pass
	}
	if status := &p.proxy.Status; len(formers(p.proxy)) > 0 {
		// The next pass takes them out of the weights, and then removes them.
		status.Instances = slices.DeleteFunc(status.Instances, func(i v1alpha1.InstanceStatus) bool {
			return i.VolumeReplacement == nil && !named(p.proxy, i.Name)
		})
		if len(formers(p.proxy)) == 0 {
			p.result.WakeIn(pass.ConfirmInterval)
			return err
		}
	}
	return errors.Join(err, r.instancesPart().RemoveFormer(ctx, p.proxy, p.Observed))
}

// named reports whether the spec has an instance of a name.
func named(p *v1alpha1.ModProxy, name string) bool {
	return slices.ContainsFunc(p.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return i.Name == name })
}
