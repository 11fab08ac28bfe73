package replacement

import (
	"cmp"
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	storagev1 "k8s.io/api/storage/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/read"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/snapshot"
)

// intentToRestore is the intent to create the PVC again from a snapshot, or nil
// after it recorded why that is not possible.
func (a *attempt) intentToRestore(ctx context.Context, reason v1alpha1.VolumeReplacementReason, name string) (*v1alpha1.VolumeReplacementStatus, error) {
	c, err := read.Object[v1alpha1.CacheSnapshot](ctx, a.Live, a.cache.Namespace, name)
	if err != nil {
		return nil, err
	}
	source, err := a.judge(ctx, name, c)
	if err != nil {
		return nil, err
	}
	if source != (replacement.Source{}) {
		a.out.Unfulfilled = &Unfulfilled{Reason: reason, WaitsFor: source.Waits, Refused: source.Refused}
		a.out.WakeIn(pass.Interval)
		return nil, nil
	}
	size := newSize(a.cache, a.PVC)
	intent := &v1alpha1.VolumeReplacementStatus{Reason: reason, Snapshot: name, Size: &size}
	intent.StorageClassName = cmp.Or(newClass(a.cache), c.Status.Source.StorageClassName)
	intent.Copied, err = a.mustCopy(ctx, intent, c)
	return intent, err
}

// judge decides whether a snapshot may be restored, which was chosen by its own
// name.
func (a *attempt) judge(ctx context.Context, name string, c *v1alpha1.CacheSnapshot) (replacement.Source, error) {
	csi, err := volume.StateOf(ctx, a.Live, c)
	use := snapshot.Use{Of: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: a.cache.Name}, CSI: csi}
	return replacement.Judge(name, snapshot.Candidate(c, use)), err
}

// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotcontents,verbs=get

// mustCopy reports whether the driver of a snapshot cannot restore it into the
// class and size of the intent, so that the content has to be copied.
func (a *attempt) mustCopy(ctx context.Context, intent *v1alpha1.VolumeReplacementStatus, c *v1alpha1.CacheSnapshot) (bool, error) {
	if least := volume.CloneSize(c); intent.Size.Cmp(least) < 0 {
		return true, nil
	}
	if intent.StorageClassName == "" || intent.StorageClassName == c.Status.Source.StorageClassName {
		return false, nil
	}
	class, err := read.Object[storagev1.StorageClass](ctx, a.Live, "", intent.StorageClassName)
	if err != nil || class == nil {
		return false, err
	}
	content, err := read.Object[snapshotv1.VolumeSnapshotContent](ctx, a.Live, "", c.Status.VolumeSnapshotContentName)
	return content != nil && content.Spec.Driver != class.Provisioner, err
}

// source decides whether what a replacement needs is there, and creates the
// snapshot of a migration.
func (a *attempt) source(ctx context.Context, c *v1alpha1.CacheSnapshot, o replacementrun.Observed) (replacement.Source, error) {
	intent := a.cache.Status.VolumeReplacement
	if intent.Reason == v1alpha1.ReplacementMigration {
		if o.Live == nil || !o.Live.DeletionTimestamp.IsZero() {
			return replacement.Source{Refused: "the cache PVC was deleted: there is nothing to move"}, nil
		}
		if c == nil {
			return replacement.Source{Waits: "CacheSnapshot " + intent.Snapshot + " to be created"}, a.CreateSnapshot(ctx, a.cache, intent.Snapshot)
		}
	}
	source, err := a.judge(ctx, intent.Snapshot, c)
	if err != nil || source != (replacement.Source{}) {
		return source, err
	}
	if intent.StorageClassName != "" {
		class, err := read.Object[storagev1.StorageClass](ctx, a.Live, "", intent.StorageClassName)
		if err != nil {
			return source, err
		}
		if class == nil && intent.StorageClassName != c.Status.Source.StorageClassName {
			return replacement.Source{Waits: fmt.Sprintf("StorageClass %s to exist", intent.StorageClassName)}, nil
		}
	}
	if intent.Reason == v1alpha1.ReplacementMigration && o.Next == nil {
		// Only now is it known how large it is. What it becomes is written before
		// the PVC is created, since another pass may see another class.
		copied, err := a.mustCopy(ctx, intent, c)
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
