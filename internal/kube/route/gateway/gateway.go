package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/router/weights"
)

// Spread is what a Gateway's data plane is expected to take at most to follow
// an HTTPRoute that its controller has accepted.
const Spread = 10 * time.Second

// longest is how long an answer may take: the largest archive over a slow
// line. A Gateway's own default would end it early.
const longest = gatewayv1.Duration("10m")

// ErrNoAPI means that the cluster does not have the Gateway API. Only a person can
// install it, so the object is Stalled.
var ErrNoAPI error = &conditions.StalledError{
	Reason: v1alpha1.ReasonGatewayAPIMissing,
	Message: "router.type is Gateway, and this cluster has no HTTPRoute of gateway.networking.k8s.io/v1: install the CRDs of the Gateway API " +
		"(its standard channel) and a Gateway implementation, or choose another router.type",
}

// Backend is an instance's Service.
type Backend struct {
	// Name of the instance.
	Name string
	// Service and Port that lead to it.
	Service string
	Port    int32
}

// Router implements route.Router.
type Router struct {
	Applier apply.Applier
	// Owner is the object that the HTTPRoute belongs to.
	Owner client.Object
	// Name of the HTTPRoute.
	Name string
	// Labels of the HTTPRoute.
	Labels   map[string]string
	Spec     v1alpha1.GatewayRouter
	Backends []Backend
	// Pods of the instances.
	Pods direct.Pods
}

var _ route.Router = (*Router)(nil)

// Limits implements route.Router.
func (*Router) Limits() route.Limits { return route.Limits{CallerHeals: true, Spread: Spread} }

// Ensure implements route.Router: the HTTPRoute follows from the intent, and is
// all that there is.
func (*Router) Ensure(context.Context) (route.Ensured, error) {
	return route.Ensured{Settled: true}, nil
}

// Remove implements route.Router. A cluster that has lost the kind has no
// HTTPRoute either.
func (r *Router) Remove(ctx context.Context) error {
	return direct.Remove(ctx, r.Applier, r.Owner, &gatewayv1.HTTPRoute{}, r.Pods.Namespace, r.Name)
}

// Set implements route.Router.
func (r *Router) Set(ctx context.Context, servers []route.Server) error {
	live, err := r.live(ctx)
	if err != nil {
		return err
	}
	desired := r.httpRoute(servers)
	if err := direct.Note(desired, string(r.Owner.GetUID()), servers); err != nil {
		return err
	}
	var before client.Object
	if live != nil {
		before = live
	}
	if err := r.Pods.NoteEnding(ctx, before, desired, servers); err != nil {
		return err
	}
	if _, err := r.Applier.Apply(ctx, apply.ControlledBy(r.Owner), desired); err != nil {
		return known(err)
	}
	return r.Pods.End(ctx, desired)
}

func (r *Router) live(ctx context.Context) (*gatewayv1.HTTPRoute, error) {
	o, err := read.Object[gatewayv1.HTTPRoute](ctx, r.Applier.Live, r.Pods.Namespace, r.Name)
	return o, known(err)
}

// known turns "no such kind" into what to do about it.
func known(err error) error {
	if meta.IsNoMatchError(err) {
		return ErrNoAPI
	}
	return err
}

// httpRoute leads everything but the instances' own pages to the Ready
// instances.
func (r *Router) httpRoute(servers []route.Server) *gatewayv1.HTTPRoute {
	o := &gatewayv1.HTTPRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "HTTPRoute"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Pods.Namespace, Name: r.Name, Labels: maps.Clone(r.Labels)},
	}
	o.Spec.ParentRefs = []gatewayv1.ParentReference{r.parent()}
	for _, h := range r.Spec.Hostnames {
		o.Spec.Hostnames = append(o.Spec.Hostnames, gatewayv1.Hostname(h))
	}
	o.Spec.Rules = []gatewayv1.HTTPRouteRule{{
		Matches:     []gatewayv1.HTTPRouteMatch{matching(gatewayv1.PathMatchPathPrefix, "/")},
		Timeouts:    &gatewayv1.HTTPRouteTimeouts{Request: ptr.To(longest), BackendRequest: ptr.To(longest)},
		BackendRefs: r.backendRefs(servers),
	}, {
		// No backend: a Gateway answers with an error of its own.
		Matches: []gatewayv1.HTTPRouteMatch{matching(gatewayv1.PathMatchExact, "/metrics"), matching(gatewayv1.PathMatchExact, "/readyz"), matching(gatewayv1.PathMatchExact, "/moved")},
	}}
	return o
}

func matching(kind gatewayv1.PathMatchType, path string) gatewayv1.HTTPRouteMatch {
	return gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{Type: ptr.To(kind), Value: ptr.To(path)}}
}

func (r *Router) parent() gatewayv1.ParentReference {
	ref := gatewayv1.ParentReference{
		Group: ptr.To(gatewayv1.Group(gatewayv1.GroupName)), Kind: ptr.To(gatewayv1.Kind("Gateway")), Name: gatewayv1.ObjectName(r.Spec.ParentRef.Name),
	}
	if ns := r.Spec.ParentRef.Namespace; ns != "" {
		ref.Namespace = ptr.To(gatewayv1.Namespace(ns))
	}
	if section := r.Spec.ParentRef.SectionName; section != "" {
		ref.SectionName = ptr.To(gatewayv1.SectionName(section))
	}
	return ref
}

// backendRefs name every instance; those that are not Ready with weight zero.
func (r *Router) backendRefs(servers []route.Server) []gatewayv1.HTTPBackendRef {
	shares := map[string]int32{}
	for _, s := range servers {
		if s.State == route.Ready {
			shares[s.Name] = int32(s.Weight) //nolint:gosec // 1 to 256
		}
	}
	var refs []gatewayv1.HTTPBackendRef
	for _, b := range r.Backends {
		refs = append(refs, gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{
				Group: ptr.To(gatewayv1.Group("")), Kind: ptr.To(gatewayv1.Kind("Service")),
				Name: gatewayv1.ObjectName(b.Service), Port: ptr.To(b.Port),
			},
			Weight: ptr.To(shares[b.Name]),
		}})
	}
	return refs
}

// Observe implements route.Router: the HTTPRoute stands for all replicas that
// the Gateway has.
func (r *Router) Observe(ctx context.Context) (route.Observation, error) {
	o, err := r.live(ctx)
	if err != nil {
		return route.Observation{}, err
	}
	if o == nil || !metav1.IsControlledBy(o, r.Owner) {
		return route.Observation{}, nil
	}
	replica := route.Replica{Name: "HTTPRoute " + r.Name}
	replica.Servers, replica.Problem, err = r.observe(ctx, o)
	return route.Observation{Replicas: []route.Replica{replica}}, err
}

func (r *Router) observe(ctx context.Context, o *gatewayv1.HTTPRoute) (servers map[string]route.Observed, problem string, err error) {
	intent, ok := direct.Intent(o)
	if !ok {
		return nil, "its intent cannot be read", nil
	}
	if difference := r.difference(o, intent); difference != "" {
		return nil, difference, nil
	}
	if refusal := r.refusal(o); refusal != "" {
		return nil, refusal, nil
	}
	left, err := r.Pods.Ending(ctx, o)
	if err != nil {
		return nil, "", err
	}
	if len(left) > 0 {
		return nil, "the pods of a quarantined instance have not ended yet: " + strings.Join(left, ", "), nil
	}
	return direct.Observed(intent, func(string) bool { return true }), "", nil
}

// difference holds the weights that stand there against the intent.
func (r *Router) difference(o *gatewayv1.HTTPRoute, intent weights.Weights) string {
	if len(o.Spec.Rules) == 0 || len(o.Spec.Rules[0].BackendRefs) != len(r.Backends) {
		return "it does not name every instance"
	}
	for i, b := range r.Backends {
		ref := o.Spec.Rules[0].BackendRefs[i]
		want := 0
		if s := intent.Servers[b.Name]; s.State == weights.Ready {
			want = s.Weight
		}
		if string(ref.Name) != b.Service || ptr.Deref(ref.Weight, 1) != int32(want) { //nolint:gosec // 0 to 256
			return fmt.Sprintf("its backendRef %d is %s with weight %d, want %s with %d", i, ref.Name, ptr.Deref(ref.Weight, 1), b.Service, want)
		}
	}
	return ""
}

// refusal is why the parent does not act on this generation; empty: it does.
func (r *Router) refusal(o *gatewayv1.HTTPRoute) string {
	gateway := "Gateway " + r.Spec.ParentRef.Name
	reported := r.reported(o)
	if reported == nil {
		return "no Gateway has accepted it: is there a " + gateway + ", and does its implementation run?"
	}
	for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
		c := meta.FindStatusCondition(reported, string(kind))
		switch {
		case c == nil || c.ObservedGeneration != o.Generation:
			return fmt.Sprintf("%s has not reported %s for its present generation yet", gateway, kind)
		case c.Status != metav1.ConditionTrue:
			return fmt.Sprintf("%s reports %s=%s, %s: %s", gateway, kind, c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

// reported are the conditions that the parent has reported of the HTTPRoute; nil: none.
func (r *Router) reported(o *gatewayv1.HTTPRoute) []metav1.Condition {
	i := slices.IndexFunc(o.Status.Parents, func(p gatewayv1.RouteParentStatus) bool {
		return string(p.ParentRef.Name) == r.Spec.ParentRef.Name && string(ptr.Deref(p.ParentRef.SectionName, "")) == r.Spec.ParentRef.SectionName &&
			string(ptr.Deref(p.ParentRef.Namespace, gatewayv1.Namespace(r.Pods.Namespace))) == r.gatewayNamespace()
	})
	if i < 0 {
		return nil
	}
	return o.Status.Parents[i].Conditions
}

func (r *Router) gatewayNamespace() string {
	return cmp.Or(r.Spec.ParentRef.Namespace, r.Pods.Namespace)
}

// URL implements route.Router: the first host name that is no pattern, at the
// Gateway's listener. It is empty until the Gateway has accepted the HTTPRoute: the
// Gateway may be in a namespace that the user may not read.
func (r *Router) URL(ctx context.Context) (route.Address, error) {
	url, err := r.url(ctx)
	return direct.Address(url), err
}

func (r *Router) url(ctx context.Context) (string, error) {
	i := slices.IndexFunc(r.Spec.Hostnames, func(h string) bool { return !strings.HasPrefix(h, "*.") })
	if i < 0 {
		return "", &conditions.StalledError{
			Reason:  v1alpha1.ReasonInvalidSpec,
			Message: "router.gateway.hostnames has patterns only: name at least one host that clients are to use",
		}
	}
	o, err := r.live(ctx)
	if err != nil {
		return "", err
	}
	if o == nil || !metav1.IsControlledBy(o, r.Owner) || !meta.IsStatusConditionTrue(r.reported(o), string(gatewayv1.RouteConditionAccepted)) {
		return "", nil
	}
	g, err := read.Object[gatewayv1.Gateway](ctx, r.Applier.Live, r.gatewayNamespace(), r.Spec.ParentRef.Name)
	if err != nil {
		return "", known(err)
	}
	if g == nil {
		return "", nil // there is no Gateway yet that accepts clients
	}
	for _, l := range g.Spec.Listeners {
		if section := r.Spec.ParentRef.SectionName; section != "" && section != string(l.Name) {
			continue
		}
		if url, ok := address(l, r.Spec.Hostnames[i]); ok {
			return url, nil
		}
	}
	return "", nil
}

// address of a host at an HTTP listener.
func address(l gatewayv1.Listener, host string) (string, bool) {
	usual := map[gatewayv1.ProtocolType]int32{gatewayv1.HTTPProtocolType: 80, gatewayv1.HTTPSProtocolType: 443}
	port, ok := usual[l.Protocol]
	if !ok {
		return "", false
	}
	if l.Port != port {
		host = net.JoinHostPort(host, strconv.Itoa(int(l.Port)))
	}
	return strings.ToLower(string(l.Protocol)) + "://" + host, true
}
