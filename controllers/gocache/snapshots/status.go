package snapshots

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/snapshot"
)

// maxReason is how much of a snapshot's message is repeated, in bytes.
const maxReason = 4096

// Available is the fact for the condition SnapshotAvailable: whether a PVC that
// names the cache is populated now, and if not, what it waits for.
func Available(cache *v1alpha1.GoCache, o pass.Observed) *pass.Fact {
	policy, latest := pass.SnapshotPolicy(cache), cache.Status.LatestVerifiedSnapshot
	disabled := !pass.AfterWarmUp(cache) && policy.Schedule.Schedule == ""
	if o.SnapshotAPIMissing != "" && (latest != "" || !disabled) {
		return pass.False(v1alpha1.ReasonSnapshotAPIMissing, "No snapshots: %s", o.SnapshotAPIMissing)
	}
	if latest != "" && o.OfferedOfPrevious(cache) {
		return pass.True(v1alpha1.ReasonSnapshotAvailable, "New PVCs are populated from CacheSnapshot %s, which is of the previous volume; PVC %s is kept until a snapshot of the present volume is verified, but not after %s",
			latest, o.Previous.Name, o.PreviousEnd(cache).UTC().Format(time.RFC3339))
	}
	if latest != "" {
		return pass.True(v1alpha1.ReasonSnapshotAvailable, "New PVCs are populated from CacheSnapshot %s", latest)
	}
	f := observation(cache, o)
	all := snapshot.ContentOf(o.Snapshots, f.Cache, time.Time{}, 0)
	_, next := snapshot.Decide(f)
	switch {
	case all.Pending != "":
		return pass.False(v1alpha1.ReasonSnapshotPending, "CacheSnapshot %s is not verified yet%s", all.Pending, reason(o, all.Pending))
	case disabled:
		return pass.False(v1alpha1.ReasonSnapshotsDisabled, "No snapshot is created: spec.snapshots.afterWarmUp is false, and there is no schedule. PVCs that name this cache wait until one is requested")
	case all.Corrupt && f.Content == nil:
		return pass.False(v1alpha1.ReasonNoVerifiedSnapshot, "CacheSnapshot %s is Corrupt; another one is created when a check has found the cache PVC Intact", all.Failed)
	case all.Failed != "":
		return pass.False(v1alpha1.ReasonNoVerifiedSnapshot, "CacheSnapshot %s cannot be offered%s%s", all.Failed, reason(o, all.Failed), pass.At("the next snapshot is created", next))
	case f.SuccessRun == "":
		return pass.False(v1alpha1.ReasonSnapshotPending, "No snapshot yet: the first one is created when a warm-up has succeeded")
	case !next.IsZero():
		return pass.False(v1alpha1.ReasonSnapshotPending, "No verified snapshot%s", pass.At("the next snapshot is created", next))
	default:
		return pass.False(v1alpha1.ReasonSnapshotPending, "No verified snapshot; one is due")
	}
}

// reason is what a snapshot reports of itself.
func reason(o pass.Observed, name string) string {
	for i := range o.Snapshots {
		if c := &o.Snapshots[i]; c.Name == name {
			if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
				return ": " + bounded.Text(ready.Message, maxReason)
			}
		}
	}
	return ""
}
