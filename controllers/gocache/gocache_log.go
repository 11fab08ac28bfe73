package gocache

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/api/v1alpha1"
)

// logDecision logs what a pass has decided: one line at the default level when
// it began something or the reason of condition Ready has changed, else at V(1).
func (s *scope) logDecision(ctx context.Context) {
	was, is := readyReason(s.Stored), readyReason(s.cache)
	values := []any{"reason", is, "latestVerifiedSnapshot", s.cache.Status.LatestVerifiedSnapshot, "requeueAfter", s.result.Wake}
	level := 1
	if was != is {
		level, values = 0, append(values, "reasonBefore", was)
	}
	if s.done.began != "" {
		level, values = 0, append(values, "began", s.done.began, "cause", s.done.beganFor)
	}
	if s.done.snapshots.Taken != "" {
		level, values = 0, append(values, "snapshot", s.done.snapshots.Taken, "snapshotCause", s.done.snapshots.Cause)
	}
	if len(s.done.snapshots.Deleted) > 0 {
		level, values = 0, append(values, "deletedSnapshots", s.done.snapshots.Deleted)
	}
	var waiting []string
	for action := range s.done.waits {
		waiting = append(waiting, string(action))
	}
	if slices.Sort(waiting); len(waiting) > 0 {
		values = append(values, "waiting", waiting)
	}
	log.FromContext(ctx).V(level).Info("Decided", values...)
}

func readyReason(c *v1alpha1.GoCache) string {
	if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.Reason
	}
	return ""
}
