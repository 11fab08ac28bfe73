package gocache

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/snapshot"
)

// noteSnapshots copies into the status which snapshots there are.
func (s *scope) noteSnapshots() {
	s.cache.Status.LatestVerifiedSnapshot = snapshot.Newest(s.Kept(s.cache, s.cloned))
	s.cache.Status.LatestSnapshot = snapshot.Latest(s.Snapshots)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=create;patch;delete

// takeSnapshot asks for a snapshot when one is due.
func (r *Reconciler) takeSnapshot(ctx context.Context, s *scope) error {
	policy := pass.SnapshotPolicy(s.cache)
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
	return s.capture().Take(ctx, r.applier(), name, v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: s.cache.Name}, pass.Labels(s.cache))
}

func (s *scope) capture() csisnapshot.Policy {
	return csisnapshot.Policy{Of: s.cache, Spec: s.cache.Spec.Snapshots, PodTemplate: s.cache.Spec.PodTemplate}
}

// ownSnapshots keeps the ownership of the snapshots that the policy made in
// step with it.
func (r *Reconciler) ownSnapshots(ctx context.Context, s *scope) error {
	return s.capture().Own(ctx, r.Client, s.Snapshots)
}

func (s *scope) dueSnapshot(policy *v1alpha1.SnapshotPolicy) (*snapshot.Due, time.Time) {
	status := s.cache.Status
	f := snapshot.Observation{
		Now: s.Now, Cache: s.cache.Name, Created: s.cache.CreationTimestamp.Time, Schedule: s.Schedules.Snapshots,
		AfterWarmUp: policy.AfterWarmUp, SuccessRun: status.WarmUp.LastSuccessRun, SnapshottedRun: status.SnapshottedRun,
	}
	if s.PVC == nil || !s.PVC.DeletionTimestamp.IsZero() || s.NewVolume(s.cache) || s.Restored(s.cache) {
		f.SuccessRun = "" // what was warmed is gone
	}
	if status.WarmUp.LastSuccessTime != nil {
		f.SuccessTime = status.WarmUp.LastSuccessTime.Time
	}
	if status.LastScheduledSnapshot != nil {
		f.LastScheduled = status.LastScheduledSnapshot.Time
	}
	if req, ok := pass.Requested(s.cache, request.Snapshot); ok {
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
		status.LastScheduledSnapshot = ptr.To(metav1.NewTime(s.Now))
	}
	if due.Requested {
		pass.Answer(s.cache, s.Now, status.LastHandledRequest.Request, v1alpha1.RequestSucceeded, "CacheSnapshot "+due.Name+" was made")
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
	if len(snapshot.Drop(s.Kept(s.cache, s.cloned), rule, s.Now)) == 0 {
		return nil
	}
	if err := r.observeUse(ctx, s); err != nil {
		return err
	}
	if len(s.cloned) > 0 {
		s.wakeIn(pass.Interval) // their end wakes nobody here
	}
	dropped, err := csisnapshot.Drop(ctx, r.Client, snapshot.Drop(s.Kept(s.cache, s.cloned), rule, s.Now), s.Snapshots)
	s.done.dropped = append(s.done.dropped, dropped...)
	return err
}
