package modproxy

import (
	"context"
	"errors"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/gateway"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=get

// gateway is a router of type Gateway.
func (r *Reconciler) gateway(p *v1alpha1.ModProxy) *gateway.Router {
	applier := r.applier()
	applier.Client = uncached{applier.Client, applier.Live}
	g := &gateway.Router{
		Applier: applier, Owner: p, Name: haproxy.RouterName(p.Name), Labels: map[string]string{v1alpha1.ProxyLabel: p.Name},
		Pods: r.instancePods(p),
	}
	if p.Spec.Router.Gateway != nil {
		g.Spec = *p.Spec.Router.Gateway
	}
	s := &scope{proxy: p}
	for i := range p.Spec.Instances {
		instance := &p.Spec.Instances[i]
		g.Backends = append(g.Backends, gateway.Backend{Name: instance.Name, Service: s.childName(instance), Port: instancePort})
	}
	return g
}

// withoutGatewayAPI is for a person: nothing that the operator tries again
// installs it.
func withoutGatewayAPI(err error) error {
	if !errors.Is(err, gateway.ErrNoAPI) {
		return err
	}
	return &conditions.StalledError{Reason: v1alpha1.ReasonGatewayAPIMissing, Message: "router.type is Gateway, and " + gateway.ErrNoAPI.Error()}
}

// noteHTTPRoute remembers that there is one, before it is made: a cluster need
// not know the kind, so it is not looked for without a reason.
func (r *Reconciler) noteHTTPRoute(ctx context.Context, s *scope) error {
	name := haproxy.RouterName(s.proxy.Name)
	if s.proxy.Spec.Router.Type != v1alpha1.RouterGateway || s.proxy.Status.HTTPRoute == name {
		return nil
	}
	s.proxy.Status.HTTPRoute = name
	if _, err := patch.Status(ctx, r.Client, s.before, s.proxy); err != nil {
		return err
	}
	s.before = s.proxy.DeepCopy()
	return nil
}

// removeHTTPRoute ends the address of a former Gateway at once: with the
// router's specification went what the route would have to say.
func (r *Reconciler) removeHTTPRoute(ctx context.Context, s *scope) error {
	if s.proxy.Spec.Router.Type == v1alpha1.RouterGateway || s.proxy.Status.HTTPRoute == "" {
		return nil
	}
	if err := r.removeOwn(ctx, s, &gatewayv1.HTTPRoute{}, s.proxy.Status.HTTPRoute); err != nil {
		return err
	}
	s.proxy.Status.HTTPRoute = ""
	return nil
}

// setFormerService tells the weights to a Service that led to the instances
// before the Gateway did, as far as one that leads to one of them can follow.
func (r *Reconciler) setFormerService(ctx context.Context, s *scope) error {
	former := r.service(s.proxy)
	service, err := former.Live(ctx)
	if err != nil || service == nil {
		return err
	}
	if _, ours := direct.Intent(service); !ours {
		return nil // HAProxy's
	}
	wanted, taken := append([]route.Server(nil), s.wanted...), false
	for i := range wanted {
		if wanted[i].State == route.Ready && taken {
			wanted[i] = route.Server{Name: wanted[i].Name, State: route.Drain}
		}
		taken = taken || wanted[i].State == route.Ready
	}
	return former.Set(ctx, wanted)
}
