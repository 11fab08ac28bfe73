package cachesnapshot

import (
	"context"
	"fmt"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// obstacle is why a stage cannot be carried out yet: the reason and message of the
// conditions.
type obstacle struct{ reason, message string }

// retryQuota is after how long an object that a quota refused is created again.
const retryQuota = 10 * time.Second

// refusedByQuota turns the refusal by a ResourceQuota into an obstacle that is
// retried; other errors are returned as they are.
func (s *scope) refusedByQuota(err error) error {
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		return err
	}
	s.facts.obstacle = obstacle{v1alpha1.ReasonQuotaExceeded, fmt.Sprintf("A ResourceQuota leaves no room to verify on a clone; raise it, or remove what is not needed. It is tried again until the deadline: %v", err)}
	if s.decision.Wake == 0 || s.decision.Wake > retryQuota {
		s.decision.Wake = retryQuota
	}
	return nil
}

// observeCloning reads why a clone that the Job waits for has no volume. It reads
// events, since a provisioner reports errors nowhere else.
func (r *Reconciler) observeCloning(ctx context.Context, s *scope, f *facts) error {
	running := f.running()
	if running.job == nil || running.run.Ready || s.now.Sub(running.run.Started) < jobrun.StartTimeout {
		return nil
	}
	for _, pvc := range []*corev1.PersistentVolumeClaim{f.clone, f.reference} {
		if pvc == nil || pvc.Status.Phase != corev1.ClaimPending {
			continue
		}
		complaint, err := volume.Complaint(ctx, r.Live, pvc)
		if err != nil {
			return err
		}
		if volume.InProgress(complaint) {
			f.obstacle = obstacle{v1alpha1.ReasonCloning, fmt.Sprintf("The CSI driver is still creating the volume for PVC %s, and the check begins after that; raise the deadline if that takes longer. It reports: %s", pvc.Name, complaint)}
			return nil
		}
		if complaint != "" {
			f.obstacle = obstacle{v1alpha1.ReasonCloneFailed, fmt.Sprintf("The CSI driver creates no volume from the VolumeSnapshot for PVC %s: %s. It is tried again until the deadline; if the driver cannot restore snapshots, move the source to a StorageClass whose driver can", pvc.Name, complaint)}
			return nil
		}
	}
	return nil
}

// chooseClass sets the VolumeSnapshotClass of the CSI snapshot. It returns a
// StalledError if the driver of the source's volume has no class, or more than one
// and no default. The only class of the driver is used even if it is not marked as
// default, which the snapshot controller would require.
func (r *Reconciler) chooseClass(ctx context.Context, s *scope) error {
	source := s.snapshot.Status.Source
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", source.VolumeName)
	if err != nil || pv == nil {
		return err // without a PersistentVolume the CSI driver reports the error
	}
	if pv.Spec.CSI == nil {
		return &conditions.StalledError{Reason: v1alpha1.ReasonCannotSnapshot, Message: fmt.Sprintf(
			"volume %s of PVC %s was not created by a CSI driver, and only CSI drivers create snapshots: move %s to a StorageClass of a CSI driver", pv.Name, source.PersistentVolumeClaimName, s.sourceName())}
	}
	driver := pv.Spec.CSI.Driver
	if name := s.snapshot.Spec.VolumeSnapshotClassName; name != nil {
		return r.namedClassFits(ctx, *name, driver)
	}
	classes, err := r.classes(ctx)
	if err != nil {
		return err
	}
	var fit []string
	for i := range classes {
		switch class := &classes[i]; {
		case class.Driver != driver:
		case class.Annotations[defaultClass] == "true":
			return nil // the snapshot controller chooses it
		default:
			fit = append(fit, class.Name)
		}
	}
	switch len(fit) {
	case 0:
		return &conditions.StalledError{Reason: v1alpha1.ReasonSnapshotClassMissing, Message: fmt.Sprintf(
			"driver %s of PVC %s has no VolumeSnapshotClass: create one with driver: %s and deletionPolicy: Delete", driver, source.PersistentVolumeClaimName, driver)}
	case 1:
		s.class = &fit[0]
		return nil
	default:
		return &conditions.StalledError{Reason: v1alpha1.ReasonSnapshotClassMissing, Message: fmt.Sprintf(
			"driver %s of PVC %s has more than one VolumeSnapshotClass, and none is the default: name one of %s in volumeSnapshotClassName, or give it the annotation %s: \"true\"",
			driver, source.PersistentVolumeClaimName, strings.Join(fit, ", "), defaultClass)}
	}
}

// defaultClass is the annotation of the VolumeSnapshotClass that is used for its
// driver if a VolumeSnapshot names none.
const defaultClass = "snapshot.storage.kubernetes.io/is-default-class"

func (r *Reconciler) namedClassFits(ctx context.Context, name, driver string) error {
	class, err := read.Object[snapshotv1.VolumeSnapshotClass](ctx, r.Live, "", name)
	switch {
	case err != nil:
		return err
	case class == nil:
		return &conditions.StalledError{Reason: v1alpha1.ReasonSnapshotClassMissing, Message: fmt.Sprintf(
			"spec.volumeSnapshotClassName: VolumeSnapshotClass %s does not exist: create it with driver: %s, or create another CacheSnapshot with another class", name, driver)}
	case class.Driver != driver:
		return &conditions.StalledError{Reason: v1alpha1.ReasonSnapshotClassMissing, Message: fmt.Sprintf(
			"spec.volumeSnapshotClassName: VolumeSnapshotClass %s is of driver %s, and the volume of driver %s: create another CacheSnapshot with a class of that driver", name, class.Driver, driver)}
	}
	return nil
}
