package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Delete removes an object that was observed, and no later one of its name.
// Dependents are removed in the background. An object that is gone, or already
// on its way, is no error.
func Delete(ctx context.Context, c client.Client, o client.Object) error {
	if !o.GetDeletionTimestamp().IsZero() {
		return nil
	}
	err := c.Delete(ctx, o,
		client.Preconditions{UID: ptr.To(o.GetUID())},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	return nil
}
