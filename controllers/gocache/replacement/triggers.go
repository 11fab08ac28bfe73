package replacement

import (
	"cmp"
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/snapshot"
)

// retryAfter is when a replacement that failed is tried again, if what asked for
// it still does.
const retryAfter = time.Hour

const noneVerified = "there is no verified snapshot to go back to"

// dueRestore is the intent of a restore: spec.restore names another state than was acted on last.
func (a *attempt) dueRestore(ctx context.Context) (*v1alpha1.VolumeReplacementStatus, error) {
	if !pass.RestorePending(a.cache) {
		return nil, nil
	}
	intent, err := a.intentToRestore(ctx, v1alpha1.ReplacementRestore, a.cache.Spec.Restore.SnapshotRef.Name)
	if intent != nil {
		intent.Restore = a.cache.Spec.Restore.DeepCopy()
	}
	return intent, err
}

// dueRequestedRollback is the intent of a rollback on request, to a snapshot or
// to the newest verified one.
func (a *attempt) dueRequestedRollback(ctx context.Context) (*v1alpha1.VolumeReplacementStatus, error) {
	req, ok := pass.Requested(a.cache, v1alpha1.RequestRollback)
	if !ok {
		return nil, nil
	}
	name := req.Argument
	if name == "" {
		name = snapshot.Newest(a.Kept(a.cache, nil))
	}
	if name == "" {
		pass.Answer(a.cache, a.Now, v1alpha1.RequestRefused, noneVerified)
		return nil, nil
	}
	intent, err := a.intentToRestore(ctx, v1alpha1.ReplacementRequestedRollback, name)
	if u := a.out.Unfulfilled; intent == nil && err == nil && u != nil && u.Refused != "" {
		pass.Answer(a.cache, a.Now, v1alpha1.RequestRefused, u.Refused)
		a.out.Unfulfilled = nil
	}
	return intent, err
}

// dueRollback is the intent of a rollback because the volume is Corrupt, if the
// spec asks for that.
func (a *attempt) dueRollback(ctx context.Context) (*v1alpha1.VolumeReplacementStatus, error) {
	if a.cache.Spec.Integrity == nil || a.cache.Spec.Integrity.OnCorrupt != v1alpha1.CacheRollback || !pass.Corrupt(a.cache) || !volume.Bound(a.PVC) {
		return nil, nil
	}
	candidates := a.Kept(a.cache, nil)
	if last := failed(a.cache, v1alpha1.ReplacementRollback); last != nil && last.PreviousVolume == a.PVC.Spec.VolumeName {
		if a.pausing(last) {
			return nil, nil
		}
		for i := range candidates { // an older one may be better
			candidates[i].Verified = candidates[i].Verified && candidates[i].Name != last.Snapshot
		}
	}
	name := snapshot.Newest(candidates)
	if name == "" {
		return nil, nil // condition Ready reports it, and the volume is kept
	}
	return a.intentToRestore(ctx, v1alpha1.ReplacementRollback, name)
}

// dueMigration is the intent of a migration: the spec asks for another class than
// the volume was made with, or for less.
func (a *attempt) dueMigration(context.Context) (*v1alpha1.VolumeReplacementStatus, error) {
	class, size, asked := migration(a.cache, a.PVC)
	if !asked || !volume.Bound(a.PVC) {
		return nil, nil
	}
	if last := failed(a.cache, v1alpha1.ReplacementMigration); last != nil && last.StorageClassName == class && last.Size.Cmp(size) == 0 && a.pausing(last) {
		return nil, nil
	}
	if a.NeverWarmed(a.cache) || a.cache.Status.WarmUp.LastSuccessRun == "" && !a.Restored(a.cache) {
		a.out.Unfulfilled = &Unfulfilled{Reason: v1alpha1.ReplacementMigration, WaitsFor: "the first warm-up to succeed: there is nothing to move yet"}
		return nil, nil
	}
	return &v1alpha1.VolumeReplacementStatus{
		Reason: v1alpha1.ReplacementMigration, StorageClassName: class, Size: &size,
		Snapshot: naming.Child(a.cache.Name, "migration-"+naming.Hash(class+" "+size.String()+" "+a.Now.UTC().Format(time.RFC3339))),
	}, nil
}

// migration is the class and size of the volume that the spec asks for, and
// whether it must be another volume than there is. What was applied counts, and
// not what the PVC became.
func migration(cache *v1alpha1.GoCache, pvc *corev1.PersistentVolumeClaim) (class string, size resource.Quantity, asked bool) {
	spec, status := cache.Spec.Storage, cache.Status.Storage
	class = newClass(cache)
	size = newSize(cache, pvc)
	asked = status.AppliedClass != "" && class != status.AppliedClass || replacement.Lowered(spec.Size, status.AppliedSize)
	return class, size, asked
}

// newClass is the class of a new volume; empty: the default one. An empty name in the
// spec, which earlier versions of the API accepted, is none: no volume ever has it.
func newClass(cache *v1alpha1.GoCache) string {
	return cmp.Or(ptr.Deref(cache.Spec.Storage.StorageClassName, ""), cache.Status.Storage.AppliedClass)
}

// newSize is the size of a new volume.
func newSize(cache *v1alpha1.GoCache, pvc *corev1.PersistentVolumeClaim) resource.Quantity {
	var have []resource.Quantity
	if pvc != nil {
		have = append(have, pvc.Spec.Resources.Requests[corev1.ResourceStorage], pvc.Status.Capacity[corev1.ResourceStorage])
	}
	return replacement.Size(cache.Spec.Storage.Size, cache.Status.Storage.AppliedSize, have...)
}

// failed is the last replacement, if it was made for a reason and failed.
func failed(cache *v1alpha1.GoCache, reason v1alpha1.VolumeReplacementReason) *v1alpha1.VolumeReplacementResult {
	last := cache.Status.LastVolumeReplacement
	if last == nil || last.Reason != reason || last.Failure == "" {
		return nil
	}
	return last
}

// pausing reports whether it is too early to try again.
func (a *attempt) pausing(last *v1alpha1.VolumeReplacementResult) bool {
	again := last.CompletionTime.Add(retryAfter)
	a.out.WakeAt(a.Now, again)
	return a.Now.Before(again)
}

// noWayBack reports whether the cache PVC has lost the volume that is replaced.
func (a *attempt) noWayBack(intent *v1alpha1.VolumeReplacementStatus) bool {
	return intent.PreviousVolume != "" && (a.PVC == nil || a.PVC.Spec.VolumeName != intent.PreviousVolume)
}

// withdrawn is why a replacement that was begun is not asked for any more, by the spec or
// because its CacheRequest was deleted; empty: it is.
func (a *attempt) withdrawn(ctx context.Context, intent *v1alpha1.VolumeReplacementStatus) (string, error) {
	if why := a.revoked(intent); why != "" || a.noWayBack(intent) {
		return why, nil
	}
	req, ok := pass.Requested(a.cache, v1alpha1.RequestRollback)
	if intent.Reason != v1alpha1.ReplacementRequestedRollback || !ok {
		return "", nil
	}
	stands, err := read.Object[v1alpha1.CacheRequest](ctx, a.Live, a.cache.Namespace, req.Name)
	if err != nil || stands != nil && string(stands.UID) == req.UID && stands.DeletionTimestamp.IsZero() {
		return "", err
	}
	return "CacheRequest " + req.Name + " was deleted", nil
}

// revoked is why a replacement that was begun is not asked for any more; empty:
// it is.
func (a *attempt) revoked(intent *v1alpha1.VolumeReplacementStatus) string {
	if a.noWayBack(intent) {
		return ""
	}
	switch spec := a.cache.Spec; intent.Reason {
	case v1alpha1.ReplacementRestore:
		if !equality.Semantic.DeepEqual(spec.Restore, intent.Restore) {
			return "spec.restore was changed"
		}
	case v1alpha1.ReplacementMigration:
		class, size, asked := migration(a.cache, a.PVC)
		if !asked || class != intent.StorageClassName || size.Cmp(*intent.Size) != 0 {
			return "spec.storage was changed"
		}
	case v1alpha1.ReplacementRollback:
		if spec.Integrity == nil || spec.Integrity.OnCorrupt != v1alpha1.CacheRollback {
			return "spec.integrity.onCorrupt is no longer Rollback"
		}
	case v1alpha1.ReplacementRequestedRollback:
	}
	return ""
}
