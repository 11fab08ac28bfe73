package snapshots

import (
	"context"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/snapshot"
)

// deleteExpired deletes what the policy no longer keeps. The client's cache only
// shows whether there is something to delete: what exactly, and whether it is
// pinned, being cloned, or was cloned lately, is read live.
func (r Reconciler) deleteExpired(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed, out *Result) error {
	if cache.Spec.Snapshots == nil {
		return nil
	}
	rule := snapshot.Rule(cache.Spec.Snapshots.Retention)
	if len(snapshot.Drop(o.Kept(cache, nil), rule, o.Now)) == 0 {
		return nil
	}
	live, cloned, err := r.observeUse(ctx, cache, o)
	if err != nil {
		return err
	}
	if len(cloned) > 0 {
		out.WakeIn(pass.Interval) // no watch of this controller reports their end
	}
	for i := range live.Snapshots {
		if until := snapshot.InUseUntil(&live.Snapshots[i], o.Now); !until.IsZero() {
			cloned[live.Snapshots[i].Name] = true
			out.WakeAt(o.Now, until)
		}
	}
	deleted, err := csisnapshot.Drop(ctx, r.Client, snapshot.Drop(live.Kept(cache, cloned), rule, o.Now), live.Snapshots)
	for _, name := range deleted {
		out.Events = append(out.Events, event.Normal("SnapshotDropped", "Retain", "Dropped CacheSnapshot %s by the retention policy", name))
	}
	out.Deleted = deleted
	return err
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotcontents,verbs=list

// observeUse reads the snapshots again, past the cache, and which of them are
// being cloned for a consumer.
func (r Reconciler) observeUse(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (live pass.Observed, cloned map[string]bool, err error) {
	if o.Snapshots, err = csisnapshot.Of(ctx, r.Live, false, cache.Namespace, v1alpha1.GoCacheKind, cache.Name); err != nil {
		return o, nil, err
	}
	if cloned, err = volume.BeingCloned(ctx, r.Live, cache.Namespace); err != nil {
		return o, nil, err
	}
	if cache.Spec.Consumers == nil {
		return o, cloned, nil
	}
	shared, err := sharing.BeingCloned(ctx, r.Live, cache.Namespace, o.Now)
	for _, name := range shared {
		cloned[name] = true
	}
	return o, cloned, err
}
