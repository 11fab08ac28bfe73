package instances

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
)

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims;services,verbs=delete
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=list;delete

// RemoveFormer deletes the instances that the spec no longer names. A store is deleted
// or kept by the policy that it was created under. Clients may use an instance
// until the router has none of it: call it only then.
func (r Reconciler) RemoveFormer(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed) error {
	var sets appsv1.StatefulSetList
	if err := r.Client.List(ctx, &sets, client.InNamespace(p.Namespace), client.MatchingLabels{v1alpha1.ProxyLabel: p.Name}); err != nil {
		return fmt.Errorf("list the instances of %s: %w", p.Name, err)
	}
	named := map[string]bool{}
	for _, i := range p.Spec.Instances {
		named[i.Name] = i.External == nil // one that has become external leaves what ran here
	}
	var errs []error
	for i := range sets.Items {
		set := &sets.Items[i]
		if name := set.Labels[v1alpha1.InstanceLabel]; metav1.IsControlledBy(set, p) && !named[name] && !o.Replacing(p, name) {
			errs = append(errs, r.remove(ctx, p, set))
		}
	}
	return errors.Join(errs...)
}

// remove deletes the StatefulSet last: by it the rest is found.
func (r Reconciler) remove(ctx context.Context, p *v1alpha1.ModProxy, set *appsv1.StatefulSet) error {
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, set.Namespace, set.Name)
	if err != nil {
		return err
	}
	if pvc != nil && metav1.IsControlledBy(pvc, p) { // deletionPolicy: Delete
		if err := apply.Delete(ctx, r.Client, pvc); err != nil {
			return err
		}
	}
	service, err := read.Object[corev1.Service](ctx, r.Live, set.Namespace, set.Name)
	if err != nil {
		return err
	}
	if service != nil && metav1.IsControlledBy(service, p) {
		if err := apply.Delete(ctx, r.Client, service); err != nil {
			return err
		}
	}
	return apply.Delete(ctx, r.Client, set)
}
