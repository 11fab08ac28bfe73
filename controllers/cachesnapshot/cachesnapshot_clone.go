package cachesnapshot

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

func (s *scope) clone() volume.Claim {
	source := s.snapshot.Status.Source
	pvc := volume.Claim{
		Namespace: s.snapshot.Namespace, Name: s.cloneName(), Labels: s.labels(),
		Size:     volume.Larger(s.snapshot.Status.RestoreSize, source.Capacity),
		Snapshot: s.snapshot.Status.VolumeSnapshotName,
	}
	if source.StorageClassName != "" {
		pvc.Class = &source.StorageClassName
	}
	return pvc
}

// createClone creates a clone, and records its uid. It reports whether the clone exists
// with a uid that is in the stored status: only then may a Job run on it. By the uid it
// is known at the verdict which PVC the Job has read. Any client that may create PVCs can
// create one of the name, with the labels and the owner, from an earlier VolumeSnapshot of
// the name: one that is not recorded is deleted.
func (r *Reconciler) createClone(ctx context.Context, s *scope, clone volume.Claim, uid *string) (bool, error) {
	there, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, clone.Namespace, clone.Name)
	if err != nil {
		return false, err
	}
	if there == nil {
		made, err := r.applier().Create(ctx, apply.ControlledBy(s.snapshot), clone.Object())
		if err != nil {
			return false, err
		}
		*uid, s.decision.Wake = string(made), retryStart // none: one of the name came first, and the next pass reads it
		return false, nil
	}
	if err := apply.Check(s.snapshot, s.labels(), there, "PersistentVolumeClaim"); err != nil {
		return false, err
	}
	if there.DeletionTimestamp.IsZero() && string(there.UID) == *uid && volume.MadeFrom(there, clone.Snapshot) {
		return true, nil
	}
	s.decision.Wake = retryStart
	return false, apply.Delete(ctx, r.Client, there)
}

// recorded reports whether a PVC, if there is one, is the clone with a uid that was
// recorded. Another one is left of an attempt before, or of a pass whose status was lost,
// or is another client's.
func recorded(clone *corev1.PersistentVolumeClaim, uid string) bool {
	return clone == nil || string(clone.UID) == uid
}

// discardClones makes the next attempt begin on new clones.
func (s *scope) discardClones() {
	s.snapshot.Status.VerificationCloneUID, s.snapshot.Status.ReferenceCloneUID = "", ""
}

// cloned is a clone that a Job has read.
type cloned struct{ name, uid string }

// unproven is why the report of a Job about the clones does not count, although the Job
// is the operator's own: it may not be about the content of the VolumeSnapshot. It reads
// from the API server. Empty: it counts.
func (r *Reconciler) unproven(ctx context.Context, s *scope, w work) (string, error) {
	clones := []cloned{{s.cloneName(), s.snapshot.Status.VerificationCloneUID}}
	if uid := s.snapshot.Status.ReferenceCloneUID; uid != "" && w.name == s.facts.check.name {
		clones = append(clones, cloned{s.referenceName(), uid})
	}
	for _, clone := range clones {
		if why, err := r.replacedClone(ctx, s, clone); err != nil || why != "" {
			return why, err
		}
	}
	return r.mountedClone(ctx, s, w, clones)
}

// replacedClone is why a PVC is not the clone that was created, or is not a clone.
func (r *Reconciler) replacedClone(ctx context.Context, s *scope, clone cloned) (string, error) {
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, s.snapshot.Namespace, clone.name)
	switch {
	case err != nil:
		return "", err
	case pvc == nil:
		return fmt.Sprintf("PVC %s, the clone that was read, was deleted before its verdict: the report is not trusted", clone.name), nil
	case string(pvc.UID) != clone.uid:
		return fmt.Sprintf("PVC %s is not the clone that the operator created: the report is not trusted", clone.name), nil
	}
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", volume.BoundTo(pvc))
	if err == nil && pv != nil && volume.Preexisting(pv, pvc) {
		return fmt.Sprintf("PVC %s was bound to PersistentVolume %s, which was there before and is no clone: the report is not trusted", clone.name, pv.Name), nil
	}
	return "", err
}

// mountedClone is why others than the Job may have written to the clones: a pod names one
// that is not the Job's, or that a container was added to. Those that have ended count,
// too; of those that were deleted nothing is left to see.
func (r *Reconciler) mountedClone(ctx context.Context, s *scope, w work, clones []cloned) (string, error) {
	names := make([]string, len(clones))
	for i := range clones {
		names[i] = clones[i].name
	}
	for mount, err := range volume.Mounts(ctx, r.Live, s.snapshot.Namespace, names...) {
		if err != nil {
			return "", err
		}
		if !w.isItsPod(mount.Pod) {
			return fmt.Sprintf("pod %s names PVC %s, the clone that was read, and may have written to it: the report is not trusted. Delete the pod, and mount a PVC of your own", mount.Pod.Name, mount.Claim), nil
		}
	}
	return "", nil
}

// isItsPod reports whether a pod is the one whose report counts, and has nothing else in
// it: a container that was added while it runs can mount the clone writable.
func (w work) isItsPod(pod *corev1.Pod) bool {
	return w.run.Pod == pod.Name && jobrun.IsPodOf(pod, types.UID(w.run.Run)) && len(pod.Spec.EphemeralContainers) == 0
}
