package gocache

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/read"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/snapshot"
)

// retrySwap is when a swap that failed is tried again, if what asked for it
// stands.
const retrySwap = time.Hour

// unfulfilled is a wish for a swap that cannot be begun.
type unfulfilled struct {
	reason  v1alpha1.VolumeReplacementReason
	waits   string // for what it waits; or else
	refused string // why it never can
}

// wishRestore: spec.restore names another state than was acted on last.
func (r *Reconciler) wishRestore(ctx context.Context, s *scope) (*v1alpha1.VolumeReplacementStatus, error) {
	if !pass.RestorePending(s.cache) {
		return nil, nil
	}
	intent, err := r.restoreIntent(ctx, s, v1alpha1.ReplacementRestore, s.cache.Spec.Restore.SnapshotRef.Name)
	if intent != nil {
		intent.Restore = s.cache.Spec.Restore.DeepCopy()
	}
	return intent, err
}

// wishRequest: the request rollback, of a snapshot or of the newest verified one.
func (r *Reconciler) wishRequest(ctx context.Context, s *scope) (*v1alpha1.VolumeReplacementStatus, error) {
	req, ok := pass.Requested(s.cache, request.Rollback)
	if !ok {
		return nil, nil
	}
	name := req.Argument
	if name == "" {
		name = snapshot.Newest(s.Kept(s.cache, nil))
	}
	if name == "" {
		pass.Answer(s.cache, s.Now, req.Text, v1alpha1.RequestRefused, noneVerified)
		return nil, nil
	}
	intent, err := r.restoreIntent(ctx, s, v1alpha1.ReplacementRequestedRollback, name)
	if u := s.done.unfulfilled; intent == nil && err == nil && u != nil && u.refused != "" {
		pass.Answer(s.cache, s.Now, req.Text, v1alpha1.RequestRefused, u.refused)
		s.done.unfulfilled = nil
	}
	return intent, err
}

const noneVerified = "there is no verified snapshot to go back to"

// answerSwap answers the request that a swap was made for.
func (s *scope) answerSwap(intent *v1alpha1.VolumeReplacementStatus) {
	req, ok := pass.Requested(s.cache, request.Rollback)
	switch {
	case !ok: // another request took its place
	case intent.Failure != "":
		pass.Answer(s.cache, s.Now, req.Text, v1alpha1.RequestFailed, intent.Failure)
	default:
		pass.Answer(s.cache, s.Now, req.Text, v1alpha1.RequestSucceeded, "the claim was rolled back to CacheSnapshot "+intent.Snapshot)
	}
}

// wishCorrupt: the volume was convicted, and is to be rolled back then.
func (r *Reconciler) wishCorrupt(ctx context.Context, s *scope) (*v1alpha1.VolumeReplacementStatus, error) {
	if s.cache.Spec.Integrity == nil || s.cache.Spec.Integrity.OnCorrupt != v1alpha1.CacheRollback || !pass.Corrupt(s.cache) || !volume.Bound(s.PVC) {
		return nil, nil
	}
	candidates := s.Kept(s.cache, nil)
	if last := s.failedSwap(v1alpha1.ReplacementRollback); last != nil && last.PreviousVolume == s.PVC.Spec.VolumeName {
		if s.pausing(last) {
			return nil, nil
		}
		for i := range candidates { // an older one may be better
			candidates[i].Verified = candidates[i].Verified && candidates[i].Name != last.Snapshot
		}
	}
	name := snapshot.Newest(candidates)
	if name == "" {
		return nil, nil // condition Ready says so, and the volume is kept
	}
	return r.restoreIntent(ctx, s, v1alpha1.ReplacementRollback, name)
}

// wishMigration: the spec asks for another class than the volume was made with,
// or for less.
func (r *Reconciler) wishMigration(_ context.Context, s *scope) (*v1alpha1.VolumeReplacementStatus, error) {
	class, size, asked := s.migration()
	if !asked || !volume.Bound(s.PVC) {
		return nil, nil
	}
	if last := s.failedSwap(v1alpha1.ReplacementMigration); last != nil && last.StorageClassName == class && last.Size.Cmp(size) == 0 && s.pausing(last) {
		return nil, nil
	}
	if s.NeverWarmed(s.cache) || s.cache.Status.WarmUp.LastSuccessRun == "" && !s.Restored(s.cache) {
		s.done.unfulfilled = &unfulfilled{reason: v1alpha1.ReplacementMigration, waits: "the first warm-up to succeed: there is nothing to move yet"}
		return nil, nil
	}
	return &v1alpha1.VolumeReplacementStatus{
		Reason: v1alpha1.ReplacementMigration, StorageClassName: class, Size: &size,
		Snapshot: naming.Child(s.cache.Name, "migration-"+naming.Hash(class+" "+size.String()+" "+s.Now.UTC().Format(time.RFC3339))),
	}, nil
}

// migration is the class and size of the volume that the spec asks for, and
// whether it must be another volume than there is. What was applied counts, and
// not what the claim became.
func (s *scope) migration() (class string, size resource.Quantity, asked bool) {
	spec, status := s.cache.Spec.Storage, s.cache.Status.Storage
	class = ptr.Deref(spec.StorageClassName, status.AppliedClass)
	size = s.swapSize()
	asked = status.AppliedClass != "" && class != status.AppliedClass || replacement.Lowered(spec.Size, status.AppliedSize)
	return class, size, asked
}

// swapSize is the size of a new volume.
func (s *scope) swapSize() resource.Quantity {
	var have []resource.Quantity
	if claim := s.PVC; claim != nil {
		have = append(have, claim.Spec.Resources.Requests[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage])
	}
	return replacement.Size(s.cache.Spec.Storage.Size, s.cache.Status.Storage.AppliedSize, have...)
}

// failedSwap is the last swap, if it was made for a reason and failed.
func (s *scope) failedSwap(reason v1alpha1.VolumeReplacementReason) *v1alpha1.VolumeReplacementResult {
	last := s.cache.Status.LastVolumeReplacement
	if last == nil || last.Reason != reason || last.Failure == "" {
		return nil
	}
	return last
}

// pausing says whether it is too early to try again.
func (s *scope) pausing(last *v1alpha1.VolumeReplacementResult) bool {
	again := last.CompletionTime.Add(retrySwap)
	s.wakeAt(again)
	return s.Now.Before(again)
}

// restoreIntent is the intent to make the claim anew from a snapshot, or nil,
// noting why that cannot be.
func (r *Reconciler) restoreIntent(ctx context.Context, s *scope, reason v1alpha1.VolumeReplacementReason, name string) (*v1alpha1.VolumeReplacementStatus, error) {
	c, err := read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, s.cache.Namespace, name)
	if err != nil {
		return nil, err
	}
	source, err := r.judge(ctx, s, name, c)
	if err != nil {
		return nil, err
	}
	if source != (replacement.Source{}) {
		s.done.unfulfilled = &unfulfilled{reason: reason, waits: source.Waits, refused: source.Refused}
		s.wakeIn(pass.Interval)
		return nil, nil
	}
	size := s.swapSize()
	intent := &v1alpha1.VolumeReplacementStatus{Reason: reason, Snapshot: name, Size: &size}
	intent.StorageClassName = ptr.Deref(s.cache.Spec.Storage.StorageClassName, s.cache.Status.Storage.AppliedClass)
	if intent.StorageClassName == "" {
		intent.StorageClassName = c.Status.Source.StorageClassName
	}
	intent.Copied, err = r.mustCopy(ctx, intent, c)
	return intent, err
}

// judge decides whether a snapshot may be restored, which was chosen by its own
// name.
func (r *Reconciler) judge(ctx context.Context, s *scope, name string, c *v1alpha1.CacheSnapshot) (replacement.Source, error) {
	csi, err := volume.StateOf(ctx, r.Live, c)
	use := snapshot.Use{Of: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: s.cache.Name}, CSI: csi}
	return replacement.Judge(name, snapshot.Candidate(c, use)), err
}

// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotcontents,verbs=get

// mustCopy says whether a snapshot cannot be restored into the wanted class and
// size by its driver.
func (r *Reconciler) mustCopy(ctx context.Context, intent *v1alpha1.VolumeReplacementStatus, c *v1alpha1.CacheSnapshot) (bool, error) {
	if least := c.Status.RestoreSize; least != nil && intent.Size.Cmp(*least) < 0 {
		return true, nil
	}
	if intent.StorageClassName == "" || intent.StorageClassName == c.Status.Source.StorageClassName {
		return false, nil
	}
	class, err := read.Object[storagev1.StorageClass](ctx, r.Live, "", intent.StorageClassName)
	if err != nil || class == nil {
		return false, err
	}
	content, err := read.Object[snapshotv1.VolumeSnapshotContent](ctx, r.Live, "", c.Status.VolumeSnapshotContentName)
	return content != nil && content.Spec.Driver != class.Provisioner, err
}

// swapSource says whether what a swap needs is there, and makes the snapshot of
// a migration.
func (r *Reconciler) swapSource(ctx context.Context, s *scope, c *v1alpha1.CacheSnapshot, o replacementrun.Observed) (replacement.Source, error) {
	intent := s.cache.Status.VolumeReplacement
	if intent.Reason == v1alpha1.ReplacementMigration {
		if o.Live == nil || !o.Live.DeletionTimestamp.IsZero() {
			return replacement.Source{Refused: "the claim was deleted by somebody: there is nothing to move"}, nil
		}
		if c == nil {
			return replacement.Source{Waits: "CacheSnapshot " + intent.Snapshot + " to be made"}, r.snapshots().Take(ctx, s.cache, intent.Snapshot)
		}
	}
	source, err := r.judge(ctx, s, intent.Snapshot, c)
	if err != nil || source != (replacement.Source{}) {
		return source, err
	}
	if intent.StorageClassName != "" {
		class, err := read.Object[storagev1.StorageClass](ctx, r.Live, "", intent.StorageClassName)
		if err != nil {
			return source, err
		}
		if class == nil && intent.StorageClassName != c.Status.Source.StorageClassName {
			return replacement.Source{Waits: fmt.Sprintf("StorageClass %s to exist", intent.StorageClassName)}, nil
		}
	}
	if intent.Reason == v1alpha1.ReplacementMigration && o.Next == nil {
		// Only now is it known how large it is. What it becomes is written before
		// the claim is made, since another pass may see another class.
		copied, err := r.mustCopy(ctx, intent, c)
		if err != nil {
			return source, err
		}
		if copied != intent.Copied {
			intent.Copied = copied
			return replacement.Source{Waits: "the next pass"}, nil
		}
	}
	return source, nil
}
