package modproxy

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/service"
)

// portName is the name of an instance's port in its pod, whatever its server.
const portName = "http"

// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;delete
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list

// service is a router of type Service. Its Service has the name of HAProxy's,
// so that the address stays when one takes the other's place.
func (r *Reconciler) service(p *v1alpha1.ModProxy) *service.Router {
	return &service.Router{
		Applier: r.applier(), Owner: p, Name: haproxy.RouterName(p.Name), TargetPort: portName,
		Labels: map[string]string{v1alpha1.ProxyLabel: p.Name}, Type: corev1.ServiceType(p.Spec.Router.Service.Type),
		Pods: r.instancePods(p),
	}
}

func (r *Reconciler) instancePods(p *v1alpha1.ModProxy) direct.Pods {
	return direct.Pods{
		Client: r.Client, Reader: r.Live, Namespace: p.Namespace,
		Labels: map[string]string{v1alpha1.ProxyLabel: p.Name}, Server: v1alpha1.InstanceLabel,
	}
}

// setFormer tells the intent to a router of another type that clients may
// still use, until it is removed: a convicted instance serves nowhere.
func (r *Reconciler) setFormer(ctx context.Context, s *scope) error {
	var errs []error
	if !usesHAProxy(s.proxy) && s.facts.router != nil {
		errs = append(errs, r.haproxy(s.proxy).Set(ctx, s.wanted))
	}
	if s.proxy.Spec.Router.Type == v1alpha1.RouterGateway {
		errs = append(errs, r.setFormerService(ctx, s))
	}
	return errors.Join(errs...)
}

// usesHAProxy is the default.
func usesHAProxy(p *v1alpha1.ModProxy) bool {
	return p.Spec.Router.Type == "" || p.Spec.Router.Type == v1alpha1.RouterHAProxy
}

// routerStands says whether there is a router that takes clients.
func (s *scope) routerStands() bool {
	if usesHAProxy(s.proxy) {
		return s.facts.routers() > 0
	}
	return len(s.observed.Replicas) > 0
}

// routerSettled says whether the router was seen to do what the spec says now: what
// it does not need any more can go.
func (s *scope) routerSettled() bool {
	if usesHAProxy(s.proxy) {
		return s.facts.rolledOut()
	}
	routed := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.RoutedCondition)
	return routed != nil && routed.Status == metav1.ConditionTrue && routed.ObservedGeneration == s.proxy.Generation
}
