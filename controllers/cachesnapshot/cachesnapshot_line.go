package cachesnapshot

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/queue"
	"gocache.dev/operator/internal/plan/verification"
)

// lines bound what is under way at once in the whole cluster; nil is no bound.
type lines struct {
	captures      *queue.Line // CSI snapshots that are asked for and not cut
	verifications *queue.Line // snapshots from the first check to the end
}

// queued lines up before a capture or a first check, and says whether it has to
// wait. What follows a first check is the same work.
func (r *Reconciler) queued(ctx context.Context, s *scope) (bool, error) {
	var line *queue.Line
	var at func(*v1alpha1.CacheSnapshot) queue.State
	var what string
	switch {
	case s.decision.Stage == verification.CreateSnapshot:
		line, at, what = r.lines.captures, capturing, "captures"
	case s.decision.Stage == verification.Check && !began(s.snapshot, stageVerify):
		line, at, what = r.lines.verifications, verifying, "verifications"
	}
	if line == nil {
		return false, nil
	}
	all, err := r.everywhere(ctx)
	if err != nil {
		return false, err
	}
	known := map[string]queue.State{}
	for i := range all {
		if o := &all[i]; underWay(o) {
			known[string(o.UID)] = at(o)
		}
	}
	begin, again, ahead := line.Ask(queue.Ticket{ID: string(s.snapshot.UID), Since: s.snapshot.CreationTimestamp.Time}, known, s.now)
	if !begin {
		s.decision.Wake = again
		s.facts.obstacle = obstacle{v1alpha1.ReasonQueued, fmt.Sprintf("Waits for its turn: %d %s are under way or before it", ahead, what)}
	}
	return !begin, nil
}

// capturing says whether the CSI driver is to make a snapshot now.
func capturing(o *v1alpha1.CacheSnapshot) queue.State {
	return state(began(o, stageCapture), o.Status.CreationTime != nil)
}

// verifying says whether there are Jobs or clones of a snapshot now, or will be
// again.
func verifying(o *v1alpha1.CacheSnapshot) queue.State {
	return state(began(o, stageVerify), (facts{}).plan(&scope{snapshot: o}).Settled())
}

func state(began, ended bool) queue.State {
	switch {
	case !began:
		return queue.Outside
	case ended:
		return queue.Through
	}
	return queue.Inside
}

// underWay says whether anything is done about a snapshot.
func underWay(o *v1alpha1.CacheSnapshot) bool {
	return o.DeletionTimestamp.IsZero() && !o.Spec.Suspend && !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.StalledCondition)
}

// began says whether a stage was entered.
func began(o *v1alpha1.CacheSnapshot, stage string) bool {
	return slices.ContainsFunc(o.Status.Stages, func(s v1alpha1.StageStatus) bool { return s.Name == stage })
}
