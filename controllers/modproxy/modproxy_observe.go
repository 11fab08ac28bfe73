package modproxy

import (
	"context"
	"errors"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/read"
)

// +kubebuilder:rbac:groups="",resources=services,verbs=get

// observe reads where the instances are and how the router stands.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	s.Addresses = map[string]string{}
	var errs []error
	for i := range s.proxy.Spec.Instances {
		instance := &s.proxy.Spec.Instances[i]
		if instance.External != nil {
			s.Addresses[instance.Name] = instance.External.URL
			continue
		}
		service, err := read.Object[corev1.Service](ctx, r.Live, s.proxy.Namespace, s.childName(instance))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if service == nil || !metav1.IsControlledBy(service, s.proxy) || service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		s.Addresses[instance.Name] = net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(pass.InstancePort))
	}
	s.router = r.router(s.proxy, routed(s.proxy, s.Addresses))
	return errors.Join(errors.Join(errs...), r.observeToken(ctx, s), r.observeCertificates(ctx, s), r.observeSnapshots(ctx, s))
}

// observeCertificates asks the router's replicas what became of the Secret of
// router.tls. They alone read it: the operator has no business with keys.
func (r *Reconciler) observeCertificates(ctx context.Context, s *scope) (err error) {
	if s.proxy.Spec.Router.TLS != nil {
		s.Certificates, err = s.router.Certificates(ctx)
	}
	return err
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=get;list;watch

// observeSnapshots reads the snapshots of the stores.
func (r *Reconciler) observeSnapshots(ctx context.Context, s *scope) (err error) {
	s.Snapshots, err = csisnapshot.Of(ctx, r.Client, r.Indexed, s.proxy.Namespace, v1alpha1.ModProxyKind, s.proxy.Name)
	return err
}

// bySnapshot wakes the proxy whose store a snapshot is of.
func bySnapshot(_ context.Context, o client.Object) []reconcile.Request {
	ref := o.(*v1alpha1.CacheSnapshot).Spec.SourceRef
	if ref.Kind != v1alpha1.ModProxyKind {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: ref.Name}}}
}

// byClaim wakes the proxy that a store's claim belongs to.
func byClaim(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.ProxyLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
