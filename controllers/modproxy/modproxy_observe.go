package modproxy

import (
	"context"
	"net"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/prober"
)

// facts are what was read in one pass.
type facts struct {
	// addresses of the instances, by name: host:port, or the URL of one that
	// somebody else runs; absent while unknown.
	addresses map[string]string
	// router is its Deployment; nil: there is none.
	router *appsv1.Deployment
	// certificates are what the router's replicas say of theirs.
	certificates []haproxy.Certified
	// token that the agents take orders for; empty: there is none yet.
	token string
	// found by the probes, by instance.
	found map[string]prober.Observation
	// database is what they found out of the checksum database.
	database prober.DatabaseObservation
	// snapshots of the stores, and which of them somebody makes a volume of;
	// nil: not known.
	snapshots []v1alpha1.CacheSnapshot
	used      map[string]bool
}

// +kubebuilder:rbac:groups="",resources=services,verbs=get
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch

// observe reads where the instances are and how the router stands.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	s.facts.addresses = map[string]string{}
	for i := range s.proxy.Spec.Instances {
		instance := &s.proxy.Spec.Instances[i]
		if instance.External != nil {
			s.facts.addresses[instance.Name] = instance.External.URL
			continue
		}
		service, err := read.Object[corev1.Service](ctx, r.Live, s.proxy.Namespace, s.childName(instance))
		if err != nil {
			return err
		}
		if service == nil || !metav1.IsControlledBy(service, s.proxy) || service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		s.facts.addresses[instance.Name] = net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(instancePort))
	}
	if err := r.observeToken(ctx, s); err != nil {
		return err
	}
	if err := r.observeCertificate(ctx, s); err != nil {
		return err
	}
	if err := r.observeSnapshots(ctx, s); err != nil {
		return err
	}
	var err error
	s.facts.router, err = read.Object[appsv1.Deployment](ctx, r.Client, s.proxy.Namespace, haproxy.RouterName(s.proxy.Name))
	return err
}

// routers is how many replicas of the router take clients.
func (f facts) routers() int32 {
	if f.router == nil {
		return 0
	}
	return f.router.Status.ReadyReplicas
}

// byClaim wakes the proxy that a store's claim belongs to.
func byClaim(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.ProxyLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
