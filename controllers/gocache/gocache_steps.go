package gocache

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/writer"
)

// progress is what one pass did, for the conditions and events.
type progress struct {
	began    writer.Action            // what a writer was started for, and why
	beganFor string                   //
	waits    map[writer.Action]string // what due actions wait for
	taken    string                   // the snapshot that was asked for, and why
	cause    string
	dropped  []string
	// unfulfilled says why the volume is not replaced although something asks
	// for it, and released that one which was replaced is no longer kept.
	unfulfilled *unfulfilled
	released    string
	withdrawn   bool // the claim, which never had a volume
}

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=create;patch

// publishEnvironment writes the ConfigMaps that builds take their environment
// from. They are written whole, or not at all while the proxy has no address:
// a build must not fall back to the toolchain's default unasked.
func (r *Reconciler) publishEnvironment(ctx context.Context, s *scope) error {
	if s.ProxyMissing != "" {
		return nil
	}
	settings := s.Environment(s.cache)
	for suffix, env := range map[string]map[string]string{
		naming.Environment:        goenv.Online(settings),
		naming.OfflineEnvironment: goenv.Offline(settings),
	} {
		_, err := r.applier().Apply(ctx, apply.ControlledBy(s.cache), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.cache.Namespace, Name: naming.Child(s.cache.Name, suffix), Labels: pass.Labels(s.cache)},
			Data:       env,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=create;patch

// ensureClaim makes the claim and lets it grow with the spec. A claim never
// shrinks: the API server forbids it.
func (r *Reconciler) ensureClaim(ctx context.Context, s *scope) (err error) {
	if s.Replacing(s.cache) || s.PVC == nil && pass.RestorePending(s.cache) {
		return nil // it is made on the volume that is restored
	}
	storage := s.cache.Spec.Storage
	size := storage.Size
	class := storage.StorageClassName
	if claim := s.PVC; claim != nil {
		if !claim.DeletionTimestamp.IsZero() {
			return nil // its going wakes us
		}
		if s.outdated(claim) {
			s.done.withdrawn, err = apply.DeleteUnchanged(ctx, r.Client, claim)
			return err // its going wakes us
		}
		have := claim.Spec.Resources.Requests[corev1.ResourceStorage]
		size = volume.Larger(&size, &have)
		size = volume.Larger(&size, s.grownSize())
		class = claim.Spec.StorageClassName // immutable, and defaulted once
	}
	owner := apply.DetachedFrom(s.cache)
	if storage.DeletionPolicy == v1alpha1.DeletionDelete {
		owner = apply.ControlledBy(s.cache)
	}
	_, err = r.applier().Apply(ctx, owner, volume.Claim{
		Namespace: s.cache.Namespace, Name: s.cache.Name, Labels: pass.Labels(s.cache),
		Class: class, AccessModes: storage.AccessModes, Size: size,
	}.Object())
	if s.noteRefusedGrowth(size, err) {
		return nil
	}
	return err
}

// outdated says whether a claim that never had a volume asks for another one
// than the spec does. It holds nothing, and neither its class nor its size can
// be changed: only another claim can get what the spec says now.
func (s *scope) outdated(claim *corev1.PersistentVolumeClaim) bool {
	if claim.Spec.VolumeName != "" || claim.Status.Phase != corev1.ClaimPending {
		return false
	}
	class, size := s.cache.Spec.Storage.StorageClassName, s.cache.Spec.Storage.Size
	return class != nil && *class != ptr.Deref(claim.Spec.StorageClassName, "") || size.Cmp(claim.Spec.Resources.Requests[corev1.ResourceStorage]) != 0
}

// noteClaim copies what the claim is like into the status.
func (s *scope) noteClaim() {
	status := &s.cache.Status.Storage
	claim := s.PVC
	if claim == nil {
		if !s.Replacing(s.cache) { // then what was applied stands
			*status = v1alpha1.CacheStorageStatus{}
		}
		return
	}
	if status.VolumeName != "" && status.VolumeName != claim.Spec.VolumeName {
		status.Used, status.UsedPercent, status.MeasuredCapacity, status.Growth = nil, nil, nil, nil // were of another
	}
	status.PersistentVolumeClaimName, status.VolumeName = claim.Name, claim.Spec.VolumeName
	if !volume.Bound(claim) {
		return
	}
	capacity := claim.Status.Capacity[corev1.ResourceStorage]
	status.Capacity = &capacity
	if claim.Spec.StorageClassName != nil {
		status.AppliedClass = *claim.Spec.StorageClassName
	}
	// Only a size that the claim has taken on counts: one that the API server
	// refused may be taken back.
	size, asked := s.cache.Spec.Storage.Size.DeepCopy(), claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if asked.Cmp(size) >= 0 && (status.AppliedSize == nil || status.AppliedSize.Cmp(size) < 0) {
		status.AppliedSize = &size
	}
}

// bookUsage writes how full a run found the file system of the claim, if it
// could tell.
func (s *scope) bookUsage(used, available int64) {
	if used == 0 && available == 0 || !s.RanOnPVC() {
		return
	}
	status := &s.cache.Status.Storage
	status.Used = resource.NewQuantity(used>>20<<20, resource.BinarySI) // whole MiB read better
	status.UsedPercent, status.MeasuredCapacity = growth.UsedPercent(used, available), status.Capacity
}
