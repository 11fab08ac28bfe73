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
	_, err := remove(ctx, c, o, client.Preconditions{UID: ptr.To(o.GetUID())})
	return err
}

// DeleteUnchanged removes an object if it is still as it was observed, and
// reports whether it did: for a decision that a user may reverse by a change of
// the object, up to the last moment.
func DeleteUnchanged(ctx context.Context, c client.Client, o client.Object) (deleted bool, err error) {
	if !o.GetDeletionTimestamp().IsZero() {
		return false, nil
	}
	return remove(ctx, c, o, client.Preconditions{UID: ptr.To(o.GetUID()), ResourceVersion: ptr.To(o.GetResourceVersion())})
}

func remove(ctx context.Context, c client.Client, o client.Object, only client.Preconditions) (bool, error) {
	err := c.Delete(ctx, o, only, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	return true, nil
}
