package gocache

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/snapshot"
)

// noteSnapshots copies into the status which snapshots there are.
func (s *scope) noteSnapshots() {
	s.cache.Status.LatestVerifiedSnapshot = snapshot.Newest(s.kept())
	s.cache.Status.LatestSnapshot = snapshot.Latest(s.facts.snapshots)
}

// kept are the snapshots of the cache as retention sees them.
func (s *scope) kept() []snapshot.Kept {
	return snapshot.All(s.facts.snapshots, s.snapshotPolicy().Verification.Trust, func(name string) bool {
		return s.facts.cloned[name] || s.restoring(name)
	})
}

// restoring says whether the volume of the claim is being made from a snapshot.
func (s *scope) restoring(name string) bool {
	return s.cache.Status.VolumeReplacement != nil && s.cache.Status.VolumeReplacement.Snapshot == name ||
		s.restorePending() && s.cache.Spec.Restore.SnapshotRef.Name == name
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=create;patch;delete

// takeSnapshot asks for a snapshot when one is due.
func (r *Reconciler) takeSnapshot(ctx context.Context, s *scope) error {
	policy := s.snapshotPolicy()
	due, next := s.dueSnapshot(policy)
	s.wakeAt(next)
	if due == nil {
		return nil
	}
	if err := r.applySnapshot(ctx, s, due.Name); err != nil {
		return err
	}
	s.done.taken, s.done.cause = due.Name, due.Cause
	s.noteTaken(*due)
	return nil
}

// applySnapshot makes a CacheSnapshot of the cache as the policy has it.
func (r *Reconciler) applySnapshot(ctx context.Context, s *scope, name string) error {
	return s.capture().Take(ctx, r.applier(), name, v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: s.cache.Name}, s.labels())
}

func (s *scope) capture() csisnapshot.Policy {
	return csisnapshot.Policy{Of: s.cache, Spec: s.cache.Spec.Snapshots, PodTemplate: s.cache.Spec.PodTemplate}
}

// snapshotPolicy is the spec's, or that of a cache which is captured only on
// request.
func (s *scope) snapshotPolicy() *v1alpha1.SnapshotPolicy {
	if s.cache.Spec.Snapshots == nil {
		return &v1alpha1.SnapshotPolicy{}
	}
	return s.cache.Spec.Snapshots
}

// ownSnapshots keeps the ownership of the snapshots that the policy made in
// step with it.
func (r *Reconciler) ownSnapshots(ctx context.Context, s *scope) error {
	return s.capture().Own(ctx, r.Client, s.facts.snapshots)
}

func (s *scope) dueSnapshot(policy *v1alpha1.SnapshotPolicy) (*snapshot.Due, time.Time) {
	status := s.cache.Status
	f := snapshot.Observation{
		Now: s.now, Cache: s.cache.Name, Created: s.cache.CreationTimestamp.Time, Schedule: s.schedules.snapshots,
		AfterWarmUp: policy.AfterWarmUp, SuccessRun: status.WarmUp.LastSuccessRun, SnapshottedRun: status.SnapshottedRun,
	}
	if s.facts.claim == nil || !s.facts.claim.DeletionTimestamp.IsZero() || s.newVolume() || s.restored() {
		f.SuccessRun = "" // what was warmed is gone
	}
	if status.WarmUp.LastSuccessTime != nil {
		f.SuccessTime = status.WarmUp.LastSuccessTime.Time
	}
	if status.LastScheduledSnapshot != nil {
		f.LastScheduled = status.LastScheduledSnapshot.Time
	}
	if req, ok := s.requested(request.Snapshot); ok {
		f.Request = req.Token
	}
	return snapshot.Decide(f)
}

// noteTaken remembers what the snapshot answers, so that it is not taken again
// when retention has dropped it.
func (s *scope) noteTaken(due snapshot.Due) {
	status := &s.cache.Status
	status.LatestSnapshot = due.Name // as the next pass will see
	if due.Run != "" {
		status.SnapshottedRun = due.Run
	}
	if due.Scheduled {
		status.LastScheduledSnapshot = ptr.To(metav1.NewTime(s.now))
	}
	if due.Requested {
		s.answer(status.LastHandledRequest.Request, v1alpha1.RequestSucceeded, "CacheSnapshot "+due.Name+" was made")
	}
}

// dropSnapshots deletes what the policy no longer keeps. The cache says only
// whether there is something to drop: what exactly, and whether somebody has
// pinned it or is cloning it, is read live.
func (r *Reconciler) dropSnapshots(ctx context.Context, s *scope) error {
	if s.cache.Spec.Snapshots == nil {
		return nil
	}
	rule := snapshot.Rule(s.cache.Spec.Snapshots.Retention)
	if len(snapshot.Drop(s.kept(), rule, s.now)) == 0 {
		return nil
	}
	if err := r.observeUse(ctx, s); err != nil {
		return err
	}
	if len(s.facts.cloned) > 0 {
		s.wakeIn(sourceInterval) // their end wakes nobody here
	}
	dropped, err := csisnapshot.Drop(ctx, r.Client, snapshot.Drop(s.kept(), rule, s.now), s.facts.snapshots)
	s.done.dropped = append(s.done.dropped, dropped...)
	return err
}
