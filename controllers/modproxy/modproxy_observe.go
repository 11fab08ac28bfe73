package modproxy

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// facts are what was read in one pass.
type facts struct {
	// addresses of the instances, by name: host:port; absent while unknown.
	addresses map[string]string
	// routers is how many replicas of the router are ready.
	routers int32
	// found by the probes, by instance.
	found map[string]found
}

// +kubebuilder:rbac:groups="",resources=services,verbs=get
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch

// clusterIP is the address that the API server gave to a Service; empty while
// it has none.
func (r *Reconciler) clusterIP(ctx context.Context, namespace, name string) (string, error) {
	service, err := read.Object[corev1.Service](ctx, r.Live, namespace, name)
	if err != nil || service == nil || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return "", err
	}
	return service.Spec.ClusterIP, nil
}

// readyRouters is how many replicas of the router take clients.
func (r *Reconciler) readyRouters(ctx context.Context, s *scope) (int32, error) {
	d, err := read.Object[appsv1.Deployment](ctx, r.Client, s.proxy.Namespace, haproxy.RouterName(s.proxy.Name))
	if err != nil || d == nil {
		return 0, err
	}
	return d.Status.ReadyReplicas, nil
}

// byClaim wakes the proxy that a store's claim belongs to.
func byClaim(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.ProxyLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
