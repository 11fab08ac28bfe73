package snapshots

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/snapshot"
)

// Reconciler creates the snapshots of a GoCache and applies their retention.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is applied.
	FieldOwner string
}

// Result is what a pass did about snapshots.
type Result struct {
	pass.Result
	// Created is the snapshot that was created, and Cause why; empty: none.
	Created, Cause string
	// Deleted are the snapshots that retention deleted.
	Deleted []string
}

// Record copies into the status which snapshots there are.
func Record(cache *v1alpha1.GoCache, o pass.Observed) {
	cache.Status.LatestVerifiedSnapshot = snapshot.Newest(o.Kept(cache, nil))
	cache.Status.LatestSnapshot = snapshot.Latest(o.Snapshots)
}

// Reconcile creates a snapshot if one is due, and applies the retention to the
// existing ones. A step that fails does not keep the others from theirs.
func (r Reconciler) Reconcile(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (Result, error) {
	var out Result
	if o.SnapshotAPIMissing != "" {
		out.WakeIn(csisnapshot.ServedInterval)
	}
	err := errors.Join(
		r.createDue(ctx, cache, o, &out),
		r.deleteExpired(ctx, cache, o, &out),
	)
	return out, err
}

// Own applies the deletion policy to the existing snapshots.
func (r Reconciler) Own(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) error {
	return policy(cache).Own(ctx, r.Client, o.Snapshots)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=create;patch;delete

// Create creates a CacheSnapshot of the GoCache with the settings of the policy.
func (r Reconciler) Create(ctx context.Context, cache *v1alpha1.GoCache, name string) error {
	applier := apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}
	return policy(cache).Take(ctx, applier, name, v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: cache.Name}, pass.Labels(cache))
}

func policy(cache *v1alpha1.GoCache) csisnapshot.Policy {
	return csisnapshot.Policy{Of: cache, Spec: cache.Spec.Snapshots, PodTemplate: cache.Spec.PodTemplate}
}

func (r Reconciler) createDue(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed, out *Result) error {
	due, next := due(cache, o)
	out.WakeAt(o.Now, next)
	if due == nil {
		return nil
	}
	if due.Present { // nothing in the status shows that it was created, and the list may be old
		made, err := read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, cache.Namespace, due.Name)
		if err != nil || made != nil {
			return err
		}
	}
	if err := r.Create(ctx, cache, due.Name); err != nil {
		return err
	}
	out.Created, out.Cause = due.Name, due.Cause
	out.Events = append(out.Events, event.Normal("SnapshotRequested", "Snapshot", "Asked for CacheSnapshot %s: %s", due.Name, due.Cause))
	recordCreated(cache, o, *due)
	return nil
}

// due is the snapshot to create now, or when to ask again.
func due(cache *v1alpha1.GoCache, o pass.Observed) (*snapshot.Due, time.Time) {
	return snapshot.Decide(observation(cache, o))
}

// observation is what the decision about snapshots is made from.
func observation(cache *v1alpha1.GoCache, o pass.Observed) snapshot.Observation {
	status := cache.Status
	f := snapshot.Observation{
		Now: o.Now, Cache: cache.Name, Created: cache.CreationTimestamp.Time, Schedule: o.Schedules.Snapshots,
		AfterWarmUp: pass.AfterWarmUp(cache), SuccessRun: status.WarmUp.LastSuccessRun, SnapshottedRun: status.SnapshottedRun,
	}
	if o.PVC == nil || !o.PVC.DeletionTimestamp.IsZero() || o.NewVolume(cache) || o.Restored(cache) {
		f.SuccessRun = "" // what was warmed is gone
	}
	if status.WarmUp.LastSuccessTime != nil {
		f.SuccessTime = status.WarmUp.LastSuccessTime.Time
	}
	if status.LastScheduledSnapshot != nil {
		f.LastScheduled = status.LastScheduledSnapshot.Time
	}
	if req, ok := pass.Requested(cache, v1alpha1.RequestSnapshot); ok {
		f.Request = req.UID
	}
	if o.Restored(cache) && cache.Status.LastVolumeReplacement != nil { // which is of a snapshot already
		f.SuccessRun, f.SnapshottedRun = restored, restored
		f.SuccessTime = cache.Status.LastVolumeReplacement.CompletionTime.Time
	}
	if o.OfferedOfPrevious(cache) && !o.Replacing(cache) && !ofPresent(cache, o) {
		f.Renew = o.Previous.Spec.VolumeName
		f.RenewAt = o.Previous.CreationTimestamp.Add(pass.KeepPrevious(cache.Spec.Storage.VolumeReplacement) / 2)
	}
	if retry := status.SnapshotRetry; retry != nil {
		f.Retries, f.LastRetry = retry.Count, retry.Time.Time
	}
	if content := content(o, f); worthAnother(cache, content) {
		f.Content = &content
	}
	return f
}

// ofPresent reports whether a snapshot of the present volume may become the one that
// is offered, or was tried in vain.
func ofPresent(cache *v1alpha1.GoCache, o pass.Observed) bool {
	tried := snapshot.OfPresent(cache.Name, o.Previous.Spec.VolumeName)
	for i := range o.Snapshots {
		s := &o.Snapshots[i]
		if s.Name == tried {
			return true
		}
		if kept, ok := snapshot.Of(s, false); ok && kept.Pending && (s.Status.Source == nil || o.PVC != nil && s.Status.Source.VolumeName == o.PVC.Spec.VolumeName) {
			return true
		}
	}
	return false
}

// worthAnother reports whether another snapshot may turn out better than those
// that there are: not of a PVC that is Corrupt, or that a check after a Corrupt
// snapshot has not found Intact yet.
func worthAnother(cache *v1alpha1.GoCache, content snapshot.Content) bool {
	if !content.Corrupt || cache.Spec.Integrity == nil {
		return !pass.Corrupt(cache)
	}
	check := cache.Status.Integrity
	return check != nil && check.Verdict == v1alpha1.VerdictIntact && check.VolumeName == cache.Status.Storage.VolumeName &&
		check.StartTime != nil && !check.StartTime.Time.Before(content.FailedAt)
}

// restored stands for the warm-up of a volume that was restored.
const restored = "restored"

// content is what there is of the content that a snapshot was last created of.
// That of a restored volume is older than its volume.
func content(o pass.Observed, f snapshot.Observation) snapshot.Content {
	content := snapshot.ContentOf(o.Snapshots, f.Cache, f.Base(), f.Retries)
	if f.SuccessRun == restored {
		content.Usable = snapshot.ContentOf(o.Snapshots, f.Cache, time.Time{}, 0).Usable
	}
	return content
}

// recordCreated records what the snapshot was created for, so that it is not
// created again after retention has deleted it.
func recordCreated(cache *v1alpha1.GoCache, o pass.Observed, due snapshot.Due) {
	status := &cache.Status
	status.LatestSnapshot = due.Name // as the next pass will see
	if due.Run != "" {
		status.SnapshottedRun = due.Run
	}
	if due.Scheduled {
		status.LastScheduledSnapshot = ptr.To(metav1.NewTime(o.Now))
	}
	switch {
	case due.Replaces:
		retry := ptr.Deref(status.SnapshotRetry, v1alpha1.SnapshotRetryStatus{})
		status.SnapshotRetry = &v1alpha1.SnapshotRetryStatus{Count: retry.Count + 1, Time: metav1.NewTime(o.Now)}
	case due.Run != "" || due.Scheduled:
		status.SnapshotRetry = nil
	}
	if due.Requested {
		pass.Answer(cache, o.Now, v1alpha1.RequestSucceeded, "CacheSnapshot "+due.Name+" was made")
	}
}
