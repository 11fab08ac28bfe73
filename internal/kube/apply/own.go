package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/internal/kube/cached"
)

// Check refuses an object that was observed with a ConflictError, unless it was
// made for an owner, under labels that identify its purpose.
func Check(owner client.Object, labels map[string]string, live client.Object, kind string) error {
	return ours(owner, live, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Labels: labels}}, kind)
}

// Ours returns an observed object if it was made for an owner, under labels
// that identify its purpose, and nil if there is none or it is foreign: the
// content of a foreign object is not evidence. Apply of the same name then
// reports the conflict.
func Ours[T any, P interface {
	*T
	client.Object
}](owner client.Object, labels map[string]string, live P) P {
	if live == nil {
		return nil
	}
	if Check(owner, labels, live, "") != nil {
		return nil
	}
	return live
}

// Own sets whether an object is deleted with its owner, and reports whether it
// had to write. It changes nothing else: the desired state of the object may no
// longer be known.
func Own(ctx context.Context, c client.Client, owner Owner, o client.Object) (wrote bool, err error) {
	if metav1.IsControlledBy(o, owner.object) != owner.detached {
		return false, nil
	}
	if cached.Reduced(o) { // it may have owners that the cache does not keep
		err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
		switch {
		case apierrors.IsNotFound(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read %s/%s: %w", o.GetNamespace(), o.GetName(), err)
		}
	}
	before := o.DeepCopyObject().(client.Object)
	if owner.detached {
		err = controllerutil.RemoveControllerReference(owner.object, o, c.Scheme())
	} else {
		err = controllerutil.SetControllerReference(owner.object, o, c.Scheme())
	}
	if err != nil {
		return false, fmt.Errorf("own %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	err = c.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("own %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	return true, nil
}
