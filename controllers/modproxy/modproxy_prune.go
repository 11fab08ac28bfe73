package modproxy

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
)

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims;services,verbs=delete
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=list;delete

// prune removes the instances that the spec no longer names. A store goes or
// stays by the policy it was made under.
func (r *Reconciler) prune(ctx context.Context, s *scope) error {
	var sets appsv1.StatefulSetList
	if err := r.Client.List(ctx, &sets, client.InNamespace(s.proxy.Namespace), client.MatchingLabels{v1alpha1.ProxyLabel: s.proxy.Name}); err != nil {
		return fmt.Errorf("list the instances of %s: %w", s.proxy.Name, err)
	}
	named := map[string]bool{}
	for _, i := range s.proxy.Spec.Instances {
		named[i.Name] = true
	}
	var errs []error
	for i := range sets.Items {
		if set := &sets.Items[i]; metav1.IsControlledBy(set, s.proxy) && !named[set.Labels[v1alpha1.InstanceLabel]] && !s.Replacing(s.proxy, set.Labels[v1alpha1.InstanceLabel]) {
			errs = append(errs, r.removeInstance(ctx, s, set))
		}
	}
	return errors.Join(errs...)
}

// removeInstance deletes the StatefulSet last: as long as it is there, the
// rest is still found.
func (r *Reconciler) removeInstance(ctx context.Context, s *scope, set *appsv1.StatefulSet) error {
	claim, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, set.Namespace, set.Name)
	if err != nil {
		return err
	}
	if claim != nil && metav1.IsControlledBy(claim, s.proxy) { // deletionPolicy: Delete
		if err := apply.Delete(ctx, r.Client, claim); err != nil {
			return err
		}
	}
	service, err := read.Object[corev1.Service](ctx, r.Live, set.Namespace, set.Name)
	if err != nil {
		return err
	}
	if service != nil && metav1.IsControlledBy(service, s.proxy) {
		if err := apply.Delete(ctx, r.Client, service); err != nil {
			return err
		}
	}
	return apply.Delete(ctx, r.Client, set)
}
