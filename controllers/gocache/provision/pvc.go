package provision

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/bounded"
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
	class, modes := storage.StorageClassName, storage.AccessModes
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
		modes = modesOf(cache, pvc, out)
	}
	claim := volume.Claim{
		Namespace: cache.Namespace, Name: cache.Name, Labels: pass.Labels(cache),
		Class: class, AccessModes: modes, Size: size,
	}
	_, err := r.applier().Apply(ctx, owner(cache), claim.Object())
	if recordRefusedGrowth(cache, o, size, err) {
		return nil
	}
	if have := requested(o.PVC); apply.Refused(err) && o.PVC != nil && size.Cmp(have) > 0 {
		return r.applyRefused(ctx, cache, claim, have, err, out)
	}
	return err
}

// applyRefused applies the rest when the cluster, such as a quota, refuses the size.
func (r Reconciler) applyRefused(ctx context.Context, cache *v1alpha1.GoCache, claim volume.Claim, have resource.Quantity, refused error, out *Result) error {
	size := claim.Size
	claim.Size = have
	if _, err := r.applier().Apply(ctx, owner(cache), claim.Object()); err != nil {
		return err
	}
	out.NotExpandable = fmt.Sprintf("the cluster does not let PVC %s grow from %s to %s: %s; change what refuses it, such as a ResourceQuota",
		claim.Name, have.String(), size.String(), bounded.Text(refused.Error(), maxRefusal))
	out.WakeIn(pass.Interval)
	return nil
}

// maxRefusal is how much of a refusal is repeated, in bytes.
const maxRefusal = 1024

// requested is the size that a PVC requests, which may be nil.
func requested(pvc *corev1.PersistentVolumeClaim) resource.Quantity {
	if pvc == nil {
		return resource.Quantity{}
	}
	return pvc.Spec.Resources.Requests[corev1.ResourceStorage]
}

// modesOf are the access modes of a PVC that exists: they cannot be changed. A retained
// one may have others than the spec of the GoCache that takes it up again.
func modesOf(cache *v1alpha1.GoCache, pvc *corev1.PersistentVolumeClaim, out *Result) []corev1.PersistentVolumeAccessMode {
	have, asked := pvc.Spec.AccessModes, cache.Spec.Storage.AccessModes
	if len(asked) > 0 && !sets.New(have...).Equal(sets.New(asked...)) {
		out.OtherAccessModes = fmt.Sprintf("PVC %s was made with %v, and is used with these; create the GoCache again with accessModes %v, or delete the PVC to begin again with an empty volume",
			pvc.Name, have, have)
	}
	return have
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
		out.NotExpandable, size = why+"; otherwise set storageClassName to a class that does, which moves the content to another volume", have
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
