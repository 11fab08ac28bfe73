package modproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/service"
)

// The operator lists and watches no ConfigMap of its users. It may, because the
// Role of the router's sidecar says get, list and watch of the weights, and the
// API server lets nobody grant what they may not do themselves.
//
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;patch

// ensureRouter makes what of the router does not depend on the weights.
func (r *Reconciler) ensureRouter(ctx context.Context, s *scope) error {
	switch s.proxy.Spec.Router.Type {
	case v1alpha1.RouterService:
		publish(s, service.URL(s.proxy.Namespace, haproxy.RouterName(s.proxy.Name)))
		return nil
	case v1alpha1.RouterGateway:
		url, err := r.gateway(s.proxy).URL(ctx)
		if err == nil && url != "" {
			publish(s, url)
		}
		return withoutGatewayAPI(err)
	case v1alpha1.RouterHAProxy:
	}
	return r.ensureHAProxy(ctx, s)
}

// publish says where clients go. Only HAProxy knows a second and third attempt.
func publish(s *scope, url string) {
	s.proxy.Status.URL = url
	s.proxy.Status.GOPROXY = strings.Join([]string{url, url, url}, "|")
}

// ensureHAProxy makes the router, once every instance has its address: its
// configuration names them, and is not reloaded.
func (r *Reconciler) ensureHAProxy(ctx context.Context, s *scope) error {
	if len(s.facts.addresses) < len(s.proxy.Spec.Instances) {
		s.wake = min(s.wake, confirmInterval)
		return nil
	}
	s.proxy.Status.URL = r.routerParams(s).URL()
	s.proxy.Status.GOPROXY = haproxy.GOPROXY(s.proxy.Status.URL)
	objects, err := haproxy.Objects(r.routerParams(s))
	if err != nil {
		return fmt.Errorf("build the router: %w", err)
	}
	var errs []error
	for _, o := range objects {
		_, err := r.applier().Apply(ctx, apply.ControlledBy(s.proxy), o)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (r *Reconciler) routerParams(s *scope) haproxy.Params {
	spec := s.proxy.Spec
	params := haproxy.Params{
		Name: s.proxy.Name, Namespace: s.proxy.Namespace,
		Labels:   map[string]string{v1alpha1.ProxyLabel: s.proxy.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		Replicas: spec.Router.Replicas, ServiceType: corev1.ServiceType(spec.Router.Service.Type),
		PassModules:  spec.Router.ResponseVerification == v1alpha1.ResponseVerificationDisabled,
		HAProxyImage: r.Images.HAProxy, RouterImage: r.Images.Operator,
		HAProxyResources: podspec.Resources(nil, spec.PodTemplate), SidecarResources: podspec.Resources(nil, nil),
	}
	// HAProxy's public image names its user, which the kubelet cannot tell from
	// root: the id is said here, unless the platform assigns it.
	for _, i := range spec.Instances {
		if i.Storage != nil && i.Storage.Ownership != nil {
			params.RunAsUser, params.RunAsGroup = i.Storage.Ownership.RunAsUser, i.Storage.Ownership.RunAsGroup
		}
	}
	for _, i := range spec.Instances {
		params.Instances = append(params.Instances, s.routed(&i))
	}
	if spec.Router.TLS != nil {
		params.TLSSecret = spec.Router.TLS.SecretRef.Name
	}
	if t := spec.PodTemplate; t != nil {
		var pod corev1.PodSpec
		podspec.Place(&pod, t, "")
		labels, annotations := podspec.Metadata(t, params.Labels)
		params.Labels, params.Annotations = labels, annotations
		params.NodeSelector, params.Tolerations, params.Affinity = pod.NodeSelector, pod.Tolerations, pod.Affinity
		params.PriorityClassName, params.ImagePullSecrets = pod.PriorityClassName, pod.ImagePullSecrets
	}
	return params
}

// setWeights publishes what was decided and reads back what every replica of
// the router does. Only what was read back counts as done.
func (r *Reconciler) setWeights(ctx context.Context, s *scope) error {
	for _, w := range s.decision.Desired {
		s.wanted = append(s.wanted, route.Server{Name: w.Name, State: route.State(w.Use), Weight: w.Weight})
	}
	if !s.decision.Wake.IsZero() {
		s.wake = min(s.wake, max(s.decision.Wake.Sub(s.now), confirmInterval))
	}
	router := r.router(s.proxy)
	if err := r.noteHTTPRoute(ctx, s); err != nil {
		return err
	}
	if err := errors.Join(withoutGatewayAPI(router.Set(ctx, s.wanted)), r.setFormer(ctx, s)); err != nil {
		return err
	}
	s.published = true
	var err error
	if s.observed, err = router.Observe(ctx); err != nil {
		return err
	}
	if s.arrived, s.pending = s.observed.Confirms(s.wanted); !s.arrived && s.routerStands() {
		s.wake = min(s.wake, s.confirmPause())
	}
	return nil
}

// confirmPause is short at first, and longer when a replica of the router has
// not followed for a while: it may be out of reach.
func (s *scope) confirmPause() time.Duration {
	routed := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.RoutedCondition)
	if routed != nil && routed.Status != metav1.ConditionTrue && s.now.Sub(routed.LastTransitionTime.Time) > patience {
		return observeInterval / 6
	}
	return confirmInterval
}

func (r *Reconciler) router(p *v1alpha1.ModProxy) route.Router {
	if r.Router != nil {
		return r.Router(p)
	}
	switch p.Spec.Router.Type {
	case v1alpha1.RouterService:
		return r.service(p)
	case v1alpha1.RouterGateway:
		return r.gateway(p)
	case v1alpha1.RouterHAProxy:
	}
	return r.haproxy(p)
}

func (r *Reconciler) haproxy(p *v1alpha1.ModProxy) *haproxy.Router {
	pods := haproxy.Pods{Reader: r.Live, Namespace: p.Namespace, Labels: haproxy.Selector(p.Name)}
	return &haproxy.Router{
		Owner: string(p.UID),
		Publisher: &haproxy.ConfigMap{
			Client: r.Client, Reader: r.Live, FieldOwner: fieldOwner,
			Namespace: p.Namespace, Name: haproxy.WeightsName(p.Name),
			Labels: map[string]string{v1alpha1.ProxyLabel: p.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
			Owner:  *metav1.NewControllerRef(p, v1alpha1.GroupVersion.WithKind(v1alpha1.ModProxyKind)),
		},
		Replicas: pods.Replicas, Starting: pods.All,
		HTTP: r.HTTP,
	}
}
