package modproxy

import (
	"context"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/instances"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
)

// observe makes all reads of a pass but one: what the router does is read back
// after its weights were set. An object that could not be read does not count as
// absent: nothing is decided then. What is read for messages alone keeps nothing from
// being decided.
func (r *Reconciler) observe(ctx context.Context, p *progress) (err error) {
	if p.Addresses, err = r.addresses(ctx, p.proxy); err != nil {
		return err
	}
	p.Refused, err = r.refused(ctx, p.proxy)
	if err != nil {
		p.Refused = append(p.Refused, fmt.Sprintf("it could not be read why pods do not run: %s", err))
	}
	if len(p.Refused) > 0 {
		p.result.WakeIn(refusedInterval)
	}
	if p.Token, err = instances.Token(ctx, r.Live, p.proxy); err != nil {
		return err
	}
	if p.Snapshots, err = r.snapshots(ctx, p.proxy); err != nil {
		return err
	}
	p.clients = r.observeClients(ctx, p.proxy)
	router := r.router(p.proxy, routed(p.proxy, p.Addresses), p.clients.withheld)
	if p.proxy.Spec.Router.TLS != nil {
		// The router's replicas alone read the Secret: the operator needs no keys.
		if p.Certificates, p.CertificatesUnknown = router.Certificates(ctx); p.CertificatesUnknown != nil {
			p.result.WakeIn(refusedInterval)
		}
	}
	p.router = router
	// The targets first: what was found of the former address of an instance is
	// not about this one.
	key := client.ObjectKeyFromObject(p.proxy)
	r.prober.Set(key, targets(p.proxy, p.Addresses, p.Token))
	found := r.prober.Observe(key)
	p.Found, p.Database, p.Agreed = found.Instances, found.Database, found.Agreed
	return nil
}

// +kubebuilder:rbac:groups="",resources=services,verbs=get

// addresses of the instances, by name, as far as they have one.
func (r *Reconciler) addresses(ctx context.Context, p *v1alpha1.ModProxy) (map[string]string, error) {
	all := map[string]string{}
	for _, instance := range p.Spec.Instances {
		if instance.External != nil {
			all[instance.Name] = instance.External.URL
			continue
		}
		service, err := read.Object[corev1.Service](ctx, r.Live, p.Namespace, naming.Child(p.Name, instance.Name))
		if err != nil {
			return nil, err
		}
		if service == nil || !metav1.IsControlledBy(service, p) || service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		all[instance.Name] = net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(pass.InstancePort))
	}
	return all, nil
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=get;list;watch

// snapshots of the stores.
func (r *Reconciler) snapshots(ctx context.Context, p *v1alpha1.ModProxy) ([]v1alpha1.CacheSnapshot, error) {
	return csisnapshot.Of(ctx, r.Client, r.Indexed, p.Namespace, v1alpha1.ModProxyKind, p.Name)
}

// bySnapshot wakes the proxy that a snapshot is of.
func bySnapshot(_ context.Context, o client.Object) []reconcile.Request {
	ref := o.(*v1alpha1.CacheSnapshot).Spec.SourceRef
	if ref.Kind != v1alpha1.ModProxyKind {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: ref.Name}}}
}

// byClaim wakes the proxy that the PVC of a store belongs to.
func byClaim(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.ProxyLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
