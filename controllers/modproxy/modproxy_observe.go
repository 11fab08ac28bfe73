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
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/prober"
)

// facts are what was read in one pass.
type facts struct {
	// addresses of the instances, by name: host:port, or the URL of one that
	// somebody else runs; absent while unknown.
	addresses map[string]string
	// certificates are what the router's replicas say of theirs.
	certificates []route.Certificate
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

// observe reads where the instances are and how the router stands.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	s.facts.addresses = map[string]string{}
	var errs []error
	for i := range s.proxy.Spec.Instances {
		instance := &s.proxy.Spec.Instances[i]
		if instance.External != nil {
			s.facts.addresses[instance.Name] = instance.External.URL
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
		s.facts.addresses[instance.Name] = net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(instancePort))
	}
	s.router = r.router(s.proxy, routed(s.proxy, s.facts.addresses))
	return errors.Join(errors.Join(errs...), r.observeToken(ctx, s), r.observeCertificates(ctx, s), r.observeSnapshots(ctx, s))
}

// observeCertificates asks the router's replicas what became of the Secret of
// router.tls. They alone read it: the operator has no business with keys.
func (r *Reconciler) observeCertificates(ctx context.Context, s *scope) (err error) {
	if s.proxy.Spec.Router.TLS != nil {
		s.facts.certificates, err = s.router.Certificates(ctx)
	}
	return err
}

// byClaim wakes the proxy that a store's claim belongs to.
func byClaim(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.ProxyLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
