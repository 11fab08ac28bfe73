package instances

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get

// ensureStore creates the PVC of a store, or brings it up to date. A PVC never
// shrinks.
func (r Reconciler) ensureStore(ctx context.Context, p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) error {
	storage := instance.Storage
	desired := volume.Claim{
		Namespace: p.Namespace, Name: childName(p, instance), Labels: pass.Labels(p, instance.Name),
		Class: storage.StorageClassName, Size: storage.Size,
	}
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, desired.Namespace, desired.Name)
	if err != nil {
		return err
	}
	var cannot error
	if pvc != nil {
		cannot = storeCannotFollow(instance, pvc)
		size := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
		why, err := volume.NotExpandable(ctx, r.Live, pvc, desired.Size)
		if err != nil {
			return err
		}
		if why != "" { // the rest is applied all the same
			desired.Size = size
			cannot = errors.Join(cannot, &conditions.StalledError{Reason: v1alpha1.ReasonExpansionNotAllowed, Message: fmt.Sprintf(
				"spec.instances[%s].storage.size: %s; otherwise set it back, or add an instance of another name and remove this one", instance.Name, why)})
		}
		desired.Size, desired.Class = volume.Larger(&desired.Size, &size), pvc.Spec.StorageClassName
	}
	owner := apply.DetachedFrom(p)
	if storage.DeletionPolicy == v1alpha1.DeletionDelete {
		owner = apply.ControlledBy(p)
	}
	_, err = r.applier().Apply(ctx, owner, desired.Object())
	return errors.Join(cannot, err)
}

// storeCannotFollow is an error if the spec asks for storage that an existing PVC
// cannot become.
func storeCannotFollow(instance *v1alpha1.ProxyInstance, pvc *corev1.PersistentVolumeClaim) error {
	size := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	class := ptr.Deref(pvc.Spec.StorageClassName, "")
	var what string
	switch spec := instance.Storage; {
	case spec.Size.Cmp(size) < 0:
		what = fmt.Sprintf("size is %s, and PVC %s requests %s: a PVC cannot shrink", spec.Size.String(), pvc.Name, size.String())
	case spec.StorageClassName != nil && *spec.StorageClassName != class:
		what = fmt.Sprintf("storageClassName is %q, and PVC %s has %q: a PVC cannot move to another class", *spec.StorageClassName, pvc.Name, class)
	default:
		return nil
	}
	return pass.Invalid("spec.instances[%s].storage.%s. Take it back, or add an instance of another name and remove this one", instance.Name, what)
}
