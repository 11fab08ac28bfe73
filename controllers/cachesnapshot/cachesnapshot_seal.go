package cachesnapshot

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// sealed returns the digest of the content that the writer left on a PVC; empty for
// a PVC that was neither warmed nor restored.
func (s *source) sealed(pvc *corev1.PersistentVolumeClaim) string {
	bound := volume.BoundTo(pvc)
	if string(pvc.UID) != s.warmed && (bound == "" || bound != s.restored) {
		return ""
	}
	return s.record.SealedDigest
}

// recordSeal brings the recorded digest of what the writer left up to date
// before the CSI snapshot is created, since a writer may have run after this
// snapshot was admitted. It reports whether the status changed: the
// CSI snapshot is created by the pass that finds the digest stored.
func (r *Reconciler) recordSeal(ctx context.Context, s *scope) (bool, error) {
	ref := s.snapshot.Spec.SourceRef
	if ref.Kind != v1alpha1.GoCacheKind {
		return false, nil
	}
	cache, err := read.Object[v1alpha1.GoCache](ctx, r.Live, s.snapshot.Namespace, ref.Name)
	if err != nil || cache == nil {
		return false, err
	}
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, s.snapshot.Namespace, s.snapshot.Status.Source.PersistentVolumeClaimName)
	if err != nil || pvc == nil {
		return false, err
	}
	digest := r.cacheSource(cache).sealed(pvc)
	if digest == s.snapshot.Status.Source.SealedDigest {
		return false, nil
	}
	s.snapshot.Status.Source.SealedDigest = digest
	return true, nil
}

// unrecorded reports whether a writer has ended and its outcome is not in the
// status of its GoCache yet, so that the sealed digest may be out of date.
func (r *Reconciler) unrecorded(ctx context.Context, s *scope, writer *batchv1.Job, run jobrun.Outcome) (bool, error) {
	if run.Phase != jobrun.Ended {
		return false, nil
	}
	cache, err := read.Object[v1alpha1.GoCache](ctx, r.Live, s.snapshot.Namespace, s.snapshot.Spec.SourceRef.Name)
	if err != nil || cache == nil || !metav1.IsControlledBy(writer, cache) {
		return false, err
	}
	status := cache.Status
	recorded := status.WarmUp.Run == run.Run ||
		status.Cleanup != nil && status.Cleanup.Run == run.Run || status.Integrity != nil && status.Integrity.Run == run.Run
	return !recorded, nil
}
