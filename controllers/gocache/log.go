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
func (p *progress) logDecision(ctx context.Context) {
	was, is := readyReason(p.Stored), readyReason(p.cache)
	values := []any{"reason", is, "latestVerifiedSnapshot", p.cache.Status.LatestVerifiedSnapshot, "requeueAfter", p.result.Wake}
	level := 1
	if was != is {
		level, values = 0, append(values, "reasonBefore", was)
	}
	if p.writer.Started != "" {
		level, values = 0, append(values, "began", p.writer.Started, "cause", p.writer.Cause)
	}
	if p.snapshots.Created != "" {
		level, values = 0, append(values, "snapshot", p.snapshots.Created, "snapshotCause", p.snapshots.Cause)
	}
	if len(p.snapshots.Deleted) > 0 {
		level, values = 0, append(values, "deletedSnapshots", p.snapshots.Deleted)
	}
	var waiting []string
	for action := range p.writer.Waits {
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
