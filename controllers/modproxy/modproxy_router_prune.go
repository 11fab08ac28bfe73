package modproxy

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// +kubebuilder:rbac:groups="",resources=serviceaccounts;configmaps;services,verbs=delete
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=delete

// pruneRouter removes what a router of another type has left, once the one
// that the spec wants serves. HAProxy's Deployment goes last: as long as it is
// there, the rest is looked for.
func (r *Reconciler) pruneRouter(ctx context.Context, s *scope) error {
	if s.proxy.Spec.Router.Type == v1alpha1.RouterGateway {
		if err := r.removeOwn(ctx, s, &corev1.Service{}, haproxy.RouterName(s.proxy.Name)); err != nil {
			return err
		}
	}
	if usesHAProxy(s.proxy) || s.facts.router == nil {
		return nil
	}
	former := []client.Object{
		&policyv1.PodDisruptionBudget{}, &rbacv1.RoleBinding{}, &rbacv1.Role{}, &corev1.ServiceAccount{}, &appsv1.Deployment{},
	}
	for _, name := range haproxy.ConfigMapNames(s.proxy.Name) {
		if err := r.removeOwn(ctx, s, &corev1.ConfigMap{}, name); err != nil {
			return err
		}
	}
	for _, o := range former {
		if err := r.removeOwn(ctx, s, o, haproxy.RouterName(s.proxy.Name)); err != nil {
			return err
		}
	}
	s.facts.router = nil // nobody is told weights through it any more
	return nil
}

// removeOwn deletes an object if it is this proxy's.
func (r *Reconciler) removeOwn(ctx context.Context, s *scope, o client.Object, name string) error {
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.proxy.Namespace, Name: name}, o)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %T %s, which is no longer needed: %w", o, name, err)
	}
	if !metav1.IsControlledBy(o, s.proxy) {
		return nil
	}
	return apply.Delete(ctx, r.Client, o)
}
