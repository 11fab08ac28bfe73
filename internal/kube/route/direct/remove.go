package direct

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/apply"
)

// Remove deletes an object if it belongs to the owner. An object, or a kind,
// that does not exist is no error.
func Remove(ctx context.Context, a apply.Applier, owner, o client.Object, namespace, name string) error {
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %T %s, which is no longer needed: %w", o, name, err)
	}
	if !metav1.IsControlledBy(o, owner) {
		return nil
	}
	return apply.Delete(ctx, a.Client, o)
}
