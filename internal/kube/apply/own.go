package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Check refuses an object that was observed with a ConflictError, unless it was
// made for an owner, under labels that say what for.
func Check(owner client.Object, labels map[string]string, live client.Object, kind string) error {
	return ours(owner, live, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Labels: labels}}, kind)
}

// Ours returns an object that was observed if it was made for an owner, under
// labels that say what for, and nil if there is none or somebody else made it:
// what a stranger's object says is no fact. Apply of the same name then says
// who is in the way.
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

// Own makes an object that exists go with its owner, or outlive it, and says
// whether it had to write. It changes nothing else: the object may be one whose
// wanted state is no longer known.
func Own(ctx context.Context, c client.Client, owner Owner, o client.Object) (wrote bool, err error) {
	if metav1.IsControlledBy(o, owner.object) != owner.detached {
		return false, nil
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
