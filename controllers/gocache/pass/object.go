package pass

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/plan/request"
)

// Labels of the objects that belong to a GoCache.
func Labels(cache *v1alpha1.GoCache) map[string]string {
	return map[string]string{v1alpha1.CacheLabel: cache.Name}
}

// Platform is what the cache is built for: the platform of the spec, or that of
// the operator when it first reconciled the cache.
func Platform(cache *v1alpha1.GoCache) string {
	return cmp.Or(cache.Spec.Platform, cache.Status.Platform, "linux/"+runtime.GOARCH)
}

// Has reports whether a GoCache has a layer.
func Has(cache *v1alpha1.GoCache, layer v1alpha1.CacheLayer) bool {
	return slices.Contains(cache.Spec.Layers, layer)
}

// SnapshotPolicy is the policy of the spec, or that of a GoCache which is
// snapshotted only on request.
func SnapshotPolicy(cache *v1alpha1.GoCache) *v1alpha1.SnapshotPolicy {
	if cache.Spec.Snapshots == nil {
		return &v1alpha1.SnapshotPolicy{}
	}
	return cache.Spec.Snapshots
}

// AfterWarmUp reports whether a snapshot is created after each successful warm-up.
func AfterWarmUp(cache *v1alpha1.GoCache) bool {
	policy := cache.Spec.Snapshots
	return policy != nil && ptr.Deref(policy.AfterWarmUp, policy.Schedule.Schedule == "")
}

// RestorePending reports whether spec.restore differs from what was acted on
// last.
func RestorePending(cache *v1alpha1.GoCache) bool {
	restore := cache.Spec.Restore
	return restore != nil && !equality.Semantic.DeepEqual(restore, cache.Status.LastHandledRestore)
}

// restoring reports whether the volume of the cache PVC is being made from a
// snapshot.
func restoring(cache *v1alpha1.GoCache, name string) bool {
	return cache.Status.VolumeReplacement != nil && cache.Status.VolumeReplacement.Snapshot == name ||
		RestorePending(cache) && cache.Spec.Restore.SnapshotRef.Name == name
}

// Corrupt reports whether the volume that the cache PVC has now is known to be
// corrupt.
func Corrupt(cache *v1alpha1.GoCache) bool {
	i := cache.Status.Integrity
	return i != nil && i.Verdict == v1alpha1.VerdictCorrupt && i.VolumeName == cache.Status.Storage.VolumeName
}

// RollsBack reports whether a corrupt volume is replaced without a person.
func RollsBack(cache *v1alpha1.GoCache) bool {
	i := cache.Spec.Integrity
	return cache.Status.VolumeReplacement != nil || i != nil && i.OnCorrupt == v1alpha1.CacheRollback && cache.Status.LatestVerifiedSnapshot != ""
}

// Requested is the accepted request for an action, if that is what waits for
// its answer.
func Requested(cache *v1alpha1.GoCache, action v1alpha1.RequestAction) (request.Request, bool) {
	req, ok := request.Accepted(cache.Status.Request)
	return req, ok && req.Action == action
}

// Answer records what became of the request that the cache works on.
func Answer(cache *v1alpha1.GoCache, now time.Time, outcome v1alpha1.RequestOutcome, message string) {
	r := cache.Status.Request
	r.Outcome, r.Message, r.Time = outcome, bounded.Text(message, requests.MaxMessage), metav1.NewTime(now)
}
