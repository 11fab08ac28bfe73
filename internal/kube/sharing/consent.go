package sharing

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/sharing"
)

// Consent reads, past all caches, whether a GoCache may use its source, and the
// source; it is nil unless it may.
func Consent(ctx context.Context, live client.Reader, cache *v1alpha1.GoCache) (sharing.Decision, *v1alpha1.GoCache, error) {
	o := sharing.Observation{Namespace: cache.Namespace, Source: *cache.Spec.Source}
	namespace, err := read.Object[corev1.Namespace](ctx, live, "", cache.Namespace)
	if err == nil {
		o.Cache, err = read.Object[v1alpha1.GoCache](ctx, live, o.Source.Namespace, o.Source.Name)
	}
	switch {
	case apierrors.IsForbidden(err):
		o.Refused = err.Error()
	case err != nil:
		return sharing.Decision{}, nil, err
	case namespace != nil && namespace.DeletionTimestamp.IsZero():
		o.Labels = map[string]string{}
		for k, v := range namespace.Labels {
			o.Labels[k] = v
		}
	}
	d := sharing.Decide(o)
	if !d.Granted() {
		return d, nil, nil
	}
	return d, o.Cache, nil
}
