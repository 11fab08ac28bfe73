package service

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/router/weights"
)

// Spread is what kube-proxy usually takes at most to follow EndpointSlices.
const Spread = 2 * time.Second

// noPodLabel is on no pod: a selector that holds it selects none.
const noPodLabel = "cache.gocache.dev/none"

// Port of the Service, unless the user chooses another.
const Port = 80

// Router implements route.Router.
type Router struct {
	Applier apply.Applier
	// Owner is the object that the Service belongs to.
	Owner client.Object
	// Name of the Service.
	Name string
	// Labels of the Service.
	Labels map[string]string
	// Service is what users choose of it.
	Service route.Service
	// TargetPort is the name of the port in the instances' pods.
	TargetPort string
	// Pods of the instances.
	Pods direct.Pods
}

var _ route.Router = (*Router)(nil)

// Limits implements route.Router.
func (*Router) Limits() route.Limits {
	return route.Limits{OneAtATime: true, CallerHeals: true, Spread: Spread}
}

// URL implements route.Router: the Service's name inside the cluster.
func (r *Router) URL(context.Context) (route.Address, error) {
	return direct.Address("http://" + r.Service.Authority(fmt.Sprintf("%s.%s.svc", r.Name, r.Pods.Namespace), Port)), nil
}

// Ensure implements route.Router: the Service follows from the intent, and is
// all that there is.
func (*Router) Ensure(context.Context) (route.Ensured, error) {
	return route.Ensured{Settled: true}, nil
}

// Remove implements route.Router.
func (r *Router) Remove(ctx context.Context) error {
	return direct.Remove(ctx, r.Applier, r.Owner, &corev1.Service{}, r.Pods.Namespace, r.Name)
}

// Set implements route.Router.
func (r *Router) Set(ctx context.Context, servers []route.Server) error {
	live, err := r.Live(ctx)
	if err != nil {
		return err
	}
	desired, err := r.service(servers)
	if err != nil {
		return err
	}
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
		return err
	}
	return r.Pods.End(ctx, desired)
}

// Live is the Service as it stands; nil: there is none.
func (r *Router) Live(ctx context.Context) (*corev1.Service, error) {
	return read.Object[corev1.Service](ctx, r.Applier.Live, r.Pods.Namespace, r.Name)
}

// service that selects the Ready instances.
func (r *Router) service(servers []route.Server) (*corev1.Service, error) {
	selected := ""
	for _, s := range servers {
		if s.State != route.Ready {
			continue
		}
		if selected != "" {
			return nil, fmt.Errorf("route to %s and %s: a Service leads to one instance at a time", selected, s.Name)
		}
		selected = s.Name
	}
	meta := metav1.ObjectMeta{Namespace: r.Pods.Namespace, Name: r.Name, Labels: r.Labels}
	return r.Service.Object(meta, r.selector(selected), Port, r.TargetPort), nil
}

func (r *Router) selector(server string) map[string]string {
	selector := maps.Clone(r.Pods.Labels)
	if server == "" {
		selector[noPodLabel] = "true"
	} else {
		selector[r.Pods.Server] = server
	}
	return selector
}

// Observe implements route.Router: the Service stands for all replicas there
// are.
func (r *Router) Observe(ctx context.Context) (route.Observation, error) {
	service, err := r.Live(ctx)
	if err != nil {
		return route.Observation{}, err
	}
	if service == nil || !metav1.IsControlledBy(service, r.Owner) {
		return route.Observation{}, nil
	}
	replica := route.Replica{Name: "Service " + r.Name}
	replica.Servers, replica.Problem, err = r.observe(ctx, service)
	return route.Observation{Replicas: []route.Replica{replica}}, err
}

// observe holds the Service, its EndpointSlices and the pods that must have
// ended against the intent.
func (r *Router) observe(ctx context.Context, service *corev1.Service) (servers map[string]route.Observed, problem string, err error) {
	intent, ok := direct.Intent(service)
	if !ok {
		return nil, "its intent cannot be read", nil
	}
	selected := ""
	for name, s := range intent.Servers {
		if s.State == weights.Ready {
			selected = name
		}
	}
	if !maps.Equal(service.Spec.Selector, r.selector(selected)) {
		return nil, fmt.Sprintf("it selects %v, which is not what was meant", service.Spec.Selector), nil
	}
	ready, strangers, err := r.endpoints(ctx, selected)
	if err != nil {
		return nil, "", err
	}
	if len(strangers) > 0 {
		return nil, "its EndpointSlices still name " + strings.Join(strangers, ", "), nil
	}
	left, err := r.Pods.Ending(ctx, service)
	if err != nil {
		return nil, "", err
	}
	if len(left) > 0 {
		return nil, "the pods of a quarantined instance have not ended yet: " + strings.Join(left, ", "), nil
	}
	return direct.Observed(intent, func(server string) bool { return server != selected || ready }), "", nil
}

// endpoints reports whether one of the selected instance is ready, and which
// are foreign.
func (r *Router) endpoints(ctx context.Context, selected string) (ready bool, strangers []string, err error) {
	own := map[string]bool{}
	if selected != "" {
		pods, err := r.Pods.Of(ctx, selected)
		if err != nil {
			return false, nil, err
		}
		for _, pod := range pods {
			own[pod.Name] = true
		}
	}
	for slice, err := range read.All[discoveryv1.EndpointSlice](ctx, r.Pods.Reader, &discoveryv1.EndpointSliceList{}, client.InNamespace(r.Pods.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: r.Name}) {
		if err != nil {
			return false, nil, fmt.Errorf("list the EndpointSlices of %s: %w", r.Name, err)
		}
		for _, e := range slice.Endpoints {
			isReady := e.Conditions.Ready == nil || *e.Conditions.Ready
			switch {
			case e.TargetRef != nil && own[e.TargetRef.Name]:
				ready = ready || isReady
			case e.TargetRef != nil && isReady:
				strangers = append(strangers, e.TargetRef.Name)
			}
		}
	}
	return ready, strangers, nil
}
