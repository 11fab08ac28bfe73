package pool

import (
	"fmt"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

// Filled is the fact for the condition PoolFilled; nil: there is no pool.
func Filled(cache *v1alpha1.GoCache, out Result) *pass.Fact {
	status := cache.Status.Pool
	if status == nil {
		return nil
	}
	is := fmt.Sprintf("%d of %d volumes are ready; all volumes of the pool have %s", status.Ready, status.Size, status.Capacity)
	switch {
	case cache.Spec.Suspend && status.Ready < status.Size:
		return pass.False(v1alpha1.ReasonPoolFilling, "%s. spec.suspend is set: none is made", is)
	case status.Ready > 0 && cache.Status.LatestVerifiedSnapshot == "":
		return pass.False(v1alpha1.ReasonNoVerifiedSnapshot, "%s. None is given to a PVC, and no more are made, until there is a verified snapshot", is)
	case status.Size > 0 && status.Ready >= status.Size:
		return pass.True(v1alpha1.ReasonPoolFilled, "%s, of CacheSnapshot %s", is, cache.Status.LatestVerifiedSnapshot)
	case status.RefusedTime != nil:
		return pass.False(v1alpha1.ReasonPoolRefused, "%s. It is tried again every %s: %s", is, retryRefused, status.RefusedMessage)
	case out.Obstructed != "":
		return pass.False(v1alpha1.ReasonPoolRefused, "%s. %s", is, out.Obstructed)
	case status.Failures > 0:
		return pass.False(v1alpha1.ReasonPoolFailing, "%s. The last attempt failed (%d in a row): %s", is, status.Failures, status.Message)
	case cache.Status.LatestVerifiedSnapshot == "":
		return pass.False(v1alpha1.ReasonNoVerifiedSnapshot, "%s. There is no verified snapshot that more can be made from", is)
	case status.Message != "":
		return pass.False(v1alpha1.ReasonPoolFilling, "%s. %s", is, status.Message)
	default:
		return pass.False(v1alpha1.ReasonPoolFilling, "%s", is)
	}
}
