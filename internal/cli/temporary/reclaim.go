package temporary

import (
	"context"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reclaim has volumes and snapshots deleted with their objects where the classes
// retain them: they hold nothing but the data of the command. The error names
// what stays on the storage.
func (s *Set) reclaim(ctx context.Context) error {
	var errs []error
	var claims corev1.PersistentVolumeClaimList
	var snapshots snapshotv1.VolumeSnapshotList
	mine := []client.ListOption{client.InNamespace(s.Namespace), client.MatchingLabels{InstanceLabel: s.Name, createdByLabel: createdBy}}
	errs = append(errs, s.Client.List(ctx, &claims, mine...))
	if err := s.Client.List(ctx, &snapshots, mine...); !meta.IsNoMatchError(err) {
		errs = append(errs, client.IgnoreNotFound(err))
	}
	for i := range claims.Items {
		errs = append(errs, s.reclaimVolume(ctx, &claims.Items[i]))
	}
	for i := range snapshots.Items {
		errs = append(errs, s.reclaimContent(ctx, &snapshots.Items[i]))
	}
	return errors.Join(errs...)
}

func (s *Set) reclaimVolume(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName == "" {
		return nil
	}
	var pv corev1.PersistentVolume
	if err := s.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &pv); err != nil {
		var class storagev1.StorageClass
		name := client.ObjectKey{Name: ptr.Deref(claim.Spec.StorageClassName, "")}
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && s.Client.Get(ctx, name, &class) == nil &&
			ptr.Deref(class.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete) == corev1.PersistentVolumeReclaimDelete {
			return nil // it is gone, or is deleted with its PVC
		}
		return unknown("PersistentVolume", "pv", claim.Spec.VolumeName, err)
	}
	if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != claim.UID {
		return nil
	}
	before := pv.DeepCopy()
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	if err := s.Client.Patch(ctx, &pv, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("PersistentVolume %s stays on the storage, since its StorageClass retains volumes: %w; delete it with: kubectl delete pv %s, and its data on the storage", pv.Name, err, pv.Name)
	}
	return nil
}

func (s *Set) reclaimContent(ctx context.Context, snapshot *snapshotv1.VolumeSnapshot) error {
	if snapshot.Status == nil || ptr.Deref(snapshot.Status.BoundVolumeSnapshotContentName, "") == "" {
		return nil
	}
	var content snapshotv1.VolumeSnapshotContent
	if err := s.Client.Get(ctx, client.ObjectKey{Name: *snapshot.Status.BoundVolumeSnapshotContentName}, &content); err != nil {
		var class snapshotv1.VolumeSnapshotClass
		name := client.ObjectKey{Name: ptr.Deref(snapshot.Spec.VolumeSnapshotClassName, "")}
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && s.Client.Get(ctx, name, &class) == nil && class.DeletionPolicy == snapshotv1.VolumeSnapshotContentDelete {
			return nil // as for volumes
		}
		return unknown("VolumeSnapshotContent", "volumesnapshotcontent", *snapshot.Status.BoundVolumeSnapshotContentName, err)
	}
	if content.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain || content.Spec.VolumeSnapshotRef.UID != snapshot.UID {
		return nil
	}
	before := content.DeepCopy()
	content.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete
	if err := s.Client.Patch(ctx, &content, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("VolumeSnapshotContent %s stays on the storage, since its VolumeSnapshotClass retains snapshots: %w; delete it with: kubectl delete volumesnapshotcontent %s, and its data on the storage", content.Name, err, content.Name)
	}
	return nil
}

// unknown is the error about an object that could not be read: its data may stay
// on the storage. Those who may not read such objects, but their classes, get none
// where the class deletes the data.
func unknown(kind, resource, name string, err error) error {
	return fmt.Errorf("it is not known whether %s %s stays on the storage: %w; look for it with: kubectl get %s %s, and delete it if it is there a minute later", kind, name, err, resource, name)
}
