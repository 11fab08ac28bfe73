package modproxy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;patch

// ensureRouter makes the router, once every instance has its address: its
// configuration names them, and is not reloaded.
func (r *Reconciler) ensureRouter(ctx context.Context, s *scope) (err error) {
	if len(s.facts.addresses) < len(s.proxy.Spec.Instances) {
		return nil
	}
	objects, err := haproxy.Objects(r.routerParams(s))
	if err != nil {
		return fmt.Errorf("build the router: %w", err)
	}
	for _, o := range objects {
		if _, err := r.applier().Apply(ctx, apply.ControlledBy(s.proxy), o); err != nil {
			return err
		}
	}
	s.facts.routers, err = r.readyRouters(ctx, s)
	return err
}

func (r *Reconciler) routerParams(s *scope) haproxy.Params {
	spec := s.proxy.Spec
	params := haproxy.Params{
		Name: s.proxy.Name, Namespace: s.proxy.Namespace,
		Labels:   map[string]string{v1alpha1.ProxyLabel: s.proxy.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		Replicas: spec.Router.Replicas, ServiceType: corev1.ServiceType(spec.Router.ServiceType),
		HAProxyImage: r.Images.HAProxy, RouterImage: r.Images.Operator,
	}
	for _, i := range spec.Instances {
		params.Instances = append(params.Instances, haproxy.Instance{
			Name: i.Name, Address: s.facts.addresses[i.Name], Standby: i.Role == v1alpha1.RoleStandby,
		})
	}
	if t := spec.PodTemplate; t != nil {
		var pod corev1.PodSpec
		podspec.Place(&pod, t, "")
		params.Annotations = t.Annotations
		params.NodeSelector, params.Tolerations, params.Affinity = pod.NodeSelector, pod.Tolerations, pod.Affinity
		params.PriorityClassName, params.ImagePullSecrets = pod.PriorityClassName, pod.ImagePullSecrets
	}
	return params
}

// setWeights publishes what was decided and reads back what every replica of
// the router does. Only what was read back counts as done.
func (r *Reconciler) setWeights(ctx context.Context, s *scope) error {
	for _, w := range s.decision.Wanted {
		s.wanted = append(s.wanted, route.Server{Name: w.Name, State: route.State(w.Use), Weight: w.Weight})
	}
	if !s.decision.Wake.IsZero() {
		s.wake = min(s.wake, max(s.decision.Wake.Sub(s.now), confirmInterval))
	}
	router := r.router(s)
	if err := router.Set(ctx, s.wanted); err != nil {
		return err
	}
	var err error
	if s.observed, err = router.Observe(ctx); err != nil {
		return err
	}
	if s.arrived, s.pending = s.observed.Confirms(s.wanted); !s.arrived && s.facts.routers > 0 {
		s.wake = min(s.wake, confirmInterval)
	}
	return nil
}

func (r *Reconciler) router(s *scope) route.Router {
	return &haproxy.Router{
		Owner: string(s.proxy.UID),
		Publisher: &haproxy.ConfigMap{
			Client: r.Client, Reader: r.Live, FieldOwner: fieldOwner,
			Namespace: s.proxy.Namespace, Name: haproxy.WeightsName(s.proxy.Name),
			Labels: map[string]string{v1alpha1.ProxyLabel: s.proxy.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
			Owner:  *metav1.NewControllerRef(s.proxy, v1alpha1.GroupVersion.WithKind(v1alpha1.ModProxyKind)),
		},
		Replicas: haproxy.Pods{Reader: r.Live, Namespace: s.proxy.Namespace, Labels: haproxy.Selector(s.proxy.Name)}.Replicas,
		HTTP:     r.HTTP,
	}
}

// url is the published address.
func (r *Reconciler) url(s *scope) string { return r.routerParams(s).URL() }

// probe tells the prober whom to ask.
func (r *Reconciler) probe(s *scope) {
	probes := s.proxy.Spec.Probes
	var targets []target
	for _, i := range s.proxy.Spec.Instances {
		address, ok := s.facts.addresses[i.Name]
		if !ok {
			continue
		}
		targets = append(targets, target{
			name: i.Name, url: "http://" + address,
			interval: probes.Interval.Duration, timeout: probes.Timeout.Duration,
			thresholds: thresholds(probes), kinds: probes.Kinds, canaries: canaries(probes.Canaries), diskLimit: int(probes.DiskUsedPercent),
		})
	}
	r.prober.want(client.ObjectKeyFromObject(s.proxy), targets)
}
