package provision

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/volume"
)

// Record copies into the status what the cache PVC is like.
func Record(cache *v1alpha1.GoCache, o pass.Observed) {
	status, pvc := &cache.Status.Storage, o.PVC
	if pvc == nil {
		if !o.Replacing(cache) { // otherwise what was applied still counts
			*status = v1alpha1.CacheStorageStatus{}
		}
		return
	}
	if status.VolumeName != "" && status.VolumeName != pvc.Spec.VolumeName {
		status.Used, status.UsedPercent, status.MeasuredCapacity, status.Growth = nil, nil, nil, nil // were of another
		status.Inodes, status.InodesUsed = nil, nil
	}
	status.PersistentVolumeClaimName, status.VolumeName = pvc.Name, pvc.Spec.VolumeName
	if !volume.Bound(pvc) {
		return
	}
	capacity := pvc.Status.Capacity[corev1.ResourceStorage]
	status.Capacity = &capacity
	if pvc.Spec.StorageClassName != nil {
		status.AppliedClass = *pvc.Spec.StorageClassName
	}
	// Only a size that the PVC has taken on counts: one that the API server
	// refused may be taken back.
	size, asked := cache.Spec.Storage.Size.DeepCopy(), pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	if asked.Cmp(size) >= 0 && (status.AppliedSize == nil || status.AppliedSize.Cmp(size) < 0) {
		status.AppliedSize = &size
	}
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=create;patch
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get

// Own applies the deletion policy to the cache PVC, and to the one that keeps the volume
// that was replaced last. An owner reference that a replacement or an earlier pass has set
// under another field owner is not taken back by what applyPVC applies.
func (r Reconciler) Own(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) error {
	var errs []error
	for _, pvc := range []*corev1.PersistentVolumeClaim{o.PVC, o.Previous} {
		if pvc == nil || !pvc.DeletionTimestamp.IsZero() {
			continue
		}
		_, err := apply.Own(ctx, r.Client, owner(cache), pvc)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// owner of the cache PVC: it goes with the cache, or outlives it.
func owner(cache *v1alpha1.GoCache) apply.Owner {
	if cache.Spec.Storage.DeletionPolicy == v1alpha1.DeletionDelete {
		return apply.ControlledBy(cache)
	}
	return apply.DetachedFrom(cache)
}

// applyPVC creates the PVC and lets it grow with the spec. A PVC never shrinks:
// the API server forbids it.
func (r Reconciler) applyPVC(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed, out *Result) error {
	if o.Replacing(cache) || o.PVC == nil && pass.RestorePending(cache) {
		return nil // it is created on the volume that is restored
	}
	storage := cache.Spec.Storage
	size := storage.Size
	class := storage.StorageClassName
	if pvc := o.PVC; pvc != nil {
		if !pvc.DeletionTimestamp.IsZero() {
			return nil // the watch reports when it is gone
		}
		if outdated(cache, pvc) {
			return r.deleteOutdated(ctx, pvc, out)
		}
		var err error
		if size, err = r.sizeOf(ctx, cache, o, out); err != nil {
			return err
		}
		class = pvc.Spec.StorageClassName // immutable, and defaulted once
	}
	_, err := r.applier().Apply(ctx, owner(cache), volume.Claim{
		Namespace: cache.Namespace, Name: cache.Name, Labels: pass.Labels(cache),
		Class: class, AccessModes: storage.AccessModes, Size: size,
	}.Object())
	if recordRefusedGrowth(cache, o, size, err) {
		return nil
	}
	return err
}

// sizeOf is the size that the cache PVC is to have, which exists: not less than it
// has, and not more while a snapshot of it is created or its class forbids it.
func (r Reconciler) sizeOf(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed, out *Result) (resource.Quantity, error) {
	size, have := cache.Spec.Storage.Size, o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	why, err := volume.NotExpandable(ctx, r.Live, o.PVC, size)
	if err != nil {
		return size, err
	}
	if why != "" { // the rest is applied all the same
		out.NotExpandable, size = why, have
		out.WakeIn(pass.Interval)
	}
	size = volume.Larger(&size, &have)
	size = volume.Larger(&size, grownSize(cache, o))
	if !volume.Bound(o.PVC) || size.Cmp(have) <= 0 {
		return size, nil
	}
	pending, err := r.snapshotPending(ctx, cache, o)
	if err != nil {
		return size, err
	}
	if pending {
		size = have
		out.WakeIn(againAfter)
	}
	return size, nil
}

// deleteOutdated deletes a PVC that has to be created again. The watch reports
// when it is gone.
func (r Reconciler) deleteOutdated(ctx context.Context, pvc *corev1.PersistentVolumeClaim, out *Result) error {
	deleted, err := apply.DeleteUnchanged(ctx, r.Client, pvc)
	if deleted {
		out.Events = append(out.Events, event.Normal("PVCDeleted", "Provision", "Deleted PVC %s, which never had a volume: spec.storage requests another one", pvc.Name))
	}
	return err
}

// outdated reports whether a PVC that never had a volume asks for another one
// than the spec does. It holds nothing, and neither its class nor its size can
// be changed: only another PVC can get what the spec asks for now.
func outdated(cache *v1alpha1.GoCache, pvc *corev1.PersistentVolumeClaim) bool {
	if pvc.Spec.VolumeName != "" || pvc.Status.Phase != corev1.ClaimPending {
		return false
	}
	class, size := cache.Spec.Storage.StorageClassName, cache.Spec.Storage.Size
	return class != nil && *class != ptr.Deref(pvc.Spec.StorageClassName, "") || size.Cmp(pvc.Spec.Resources.Requests[corev1.ResourceStorage]) != 0
}
