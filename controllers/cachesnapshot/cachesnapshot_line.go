package cachesnapshot

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/queue"
	"gocache.dev/operator/internal/plan/verification"
)

// lines bound what is under way at once in the whole cluster; nil is no bound.
type lines struct {
	creations     *queue.Line // CSI snapshots that are asked for and not ready to use
	verifications *queue.Line // snapshots from the first check to the end, while a pod of theirs runs
}

// queued lines up before a CSI snapshot or a first check, and reports whether it has to
// wait. What follows a first check is the same work.
func (r *Reconciler) queued(ctx context.Context, s *scope) (bool, error) {
	var line *queue.Line
	var at func(*v1alpha1.CacheSnapshot) queue.State
	var what string
	switch {
	case s.decision.Stage == verification.CreateSnapshot:
		line, what = r.lines.creations, "snapshots"
		at = func(o *v1alpha1.CacheSnapshot) queue.State { return creating(o, s.now) }
	case s.decision.Stage == verification.Check && !began(s.snapshot, stageVerify):
		line, what = r.lines.verifications, "verifications"
	}
	if line == nil {
		return false, nil
	}
	if at == nil {
		jobs, err := r.jobs(ctx)
		if err != nil {
			return false, err
		}
		at = func(o *v1alpha1.CacheSnapshot) queue.State {
			return verifying(o, jobs[client.ObjectKeyFromObject(o)], s.now)
		}
	}
	all, err := r.everywhere(ctx)
	if err != nil {
		return false, err
	}
	known := map[string]queue.Work{}
	for i := range all {
		if o := &all[i]; underWay(o) {
			known[string(o.UID)] = queue.Work{Share: o.Namespace, State: at(o)}
		}
	}
	ticket := queue.Ticket{ID: string(s.snapshot.UID), Share: s.snapshot.Namespace, Since: s.snapshot.CreationTimestamp.Time}
	begin, again, ahead := line.Ask(ticket, known, s.now)
	if !begin {
		s.decision.Wake = again
		s.facts.obstacle = obstacle{v1alpha1.ReasonQueued, fmt.Sprintf("Waits for its turn: %d %s are under way or before it; one namespace has at most %d at once", ahead, what, line.Share())}
	}
	return !begin, nil
}

// Until work counts as idle that does not run: long enough for a volume, a node
// and an image, and no longer, because others wait meanwhile.
const (
	creationTimeout = 5 * time.Minute
	startTimeout    = time.Minute
)

// creating reports whether the CSI driver is to make a snapshot now. A driver that
// does not answer is waited for no longer than a while.
func creating(o *v1alpha1.CacheSnapshot, now time.Time) queue.State {
	switch at := entered(o, stageSnapshot); {
	case at.IsZero():
		return queue.Outside
	case o.Status.CreationTime != nil:
		return queue.Through
	case now.Sub(at) > creationTimeout:
		return queue.Idle
	}
	return queue.Inside
}

// verifying reports whether there are Jobs or clones of a snapshot now, or will be
// again, and whether one of its Jobs runs or had no time yet to begin.
func verifying(o *v1alpha1.CacheSnapshot, job jobState, now time.Time) queue.State {
	began := entered(o, stageVerify)
	switch {
	case began.IsZero():
		return queue.Outside
	case (facts{}).plan(&scope{snapshot: o}).Settled():
		return queue.Through
	case job.runs:
		return queue.Inside
	}
	last := job.created
	for _, s := range o.Status.Stages {
		if s.StartTime.After(last) {
			last = s.StartTime.Time
		}
	}
	if now.Sub(last) > startTimeout {
		return queue.Idle
	}
	return queue.Inside
}

// jobState is how the Jobs of a snapshot stand: whether a container of one runs,
// and when the newest that has not ended was created.
type jobState struct {
	runs    bool
	created time.Time
}

// jobs are the states of the Jobs of all snapshots.
func (r *Reconciler) jobs(ctx context.Context) (map[client.ObjectKey]jobState, error) {
	var list batchv1.JobList
	if err := r.Client.List(ctx, &list, client.HasLabels{v1alpha1.SnapshotLabel}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list Jobs of CacheSnapshots: %w", err)
	}
	states := map[client.ObjectKey]jobState{}
	for i := range list.Items {
		job := &list.Items[i]
		key := client.ObjectKey{Namespace: job.Namespace, Name: job.Labels[v1alpha1.SnapshotLabel]}
		state := states[key]
		state.runs = state.runs || ptr.Deref(job.Status.Ready, 0) > 0
		if job.Status.CompletionTime == nil && job.CreationTimestamp.After(state.created) {
			state.created = job.CreationTimestamp.Time
		}
		states[key] = state
	}
	return states, nil
}

// underWay reports whether anything is done about a snapshot.
func underWay(o *v1alpha1.CacheSnapshot) bool {
	return o.DeletionTimestamp.IsZero() && !o.Spec.Suspend && !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.StalledCondition)
}

// began reports whether a stage was entered.
func began(o *v1alpha1.CacheSnapshot, stage string) bool { return !entered(o, stage).IsZero() }

// entered is when a stage was entered first; zero: not yet.
func entered(o *v1alpha1.CacheSnapshot, stage string) time.Time {
	for _, s := range o.Status.Stages {
		if s.Name == stage {
			return s.StartTime.Time
		}
	}
	return time.Time{}
}
