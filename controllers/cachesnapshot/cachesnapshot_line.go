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

// lines limit the work in progress in the whole cluster; a nil Line is no limit.
type lines struct {
	creations     *queue.Line // CSI snapshots that are requested and not created yet
	verifications *queue.Line // snapshots from their first check to their last Job, and repetitions
}

// queued requests a place before the CSI snapshot, before the first check and before
// a repetition, and reports whether this snapshot has to wait. The stages after the
// first check use the same place.
func (r *Reconciler) queued(ctx context.Context, s *scope) (bool, error) {
	var line *queue.Line
	var at func(*v1alpha1.CacheSnapshot) queue.State
	var what string
	since := s.snapshot.CreationTimestamp.Time
	switch {
	case s.decision.Stage == verification.CreateSnapshot:
		line, what = r.lines.creations, "snapshots"
		at = func(o *v1alpha1.CacheSnapshot) queue.State { return creating(o, s.now) }
	case s.decision.Stage == verification.Check && !began(s.snapshot, stageVerify):
		line, what = r.lines.verifications, "verifications"
	case s.decision.Stage == verification.BeginRepeat:
		line, what = r.lines.verifications, "verifications"
		since = s.facts.plan(s).Repeat.Due.Add(repeatHandicap)
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
	ticket := queue.Ticket{ID: string(s.snapshot.UID), Share: s.snapshot.Namespace, Since: since}
	begin, again, ahead := line.Ask(ticket, known, s.now)
	if !begin {
		s.decision.Wake = again
		s.facts.obstacle = obstacle{v1alpha1.ReasonQueued, fmt.Sprintf("Waits for its turn: %d %s are under way or before it; one namespace has at most %d at once", ahead, what, line.Share())}
	}
	return !begin, nil
}

// Timeouts after which work that does not run counts as idle. They leave time for
// a volume, a node and an image, and no more, since other snapshots wait.
const (
	creationTimeout = 5 * time.Minute
	startTimeout    = time.Minute
	// repeatHandicap is how much longer than a first verification a repetition waits:
	// builds wait for the first one.
	repeatHandicap = time.Hour
	// holdTimeout is how long a snapshot takes a place of other namespaces while its
	// Jobs run. Its deadline may be a week, and a few namespaces could have all places.
	holdTimeout = time.Hour
)

// creating returns the place of a snapshot in the line of creations. A CSI driver
// that does not respond within creationTimeout makes it idle.
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

// verifying returns the place of a snapshot in the line of verifications: inside
// while one of its Jobs runs or may still start, idle if none does, or if it has had
// the place for longer than holdTimeout. A snapshot that
// was verified may ask for a place again, for a repetition.
func verifying(o *v1alpha1.CacheSnapshot, job jobState, now time.Time) queue.State {
	last, since := job.created, entered(o, stageVerify)
	if r := o.Status.Repeat; r != nil {
		since = r.StartTime.Time
		if since.After(last) {
			last = since
		}
	}
	settled := (facts{}).plan(&scope{snapshot: o}).Settled()
	switch repeats := o.Status.Repeat != nil && o.Status.Repeat.EndTime == nil; {
	case !began(o, stageVerify):
		return queue.Outside
	case settled && !repeats && now.Sub(verification.ProvenTime(o)) > startTimeout:
		return queue.Outside
	case settled && !repeats:
		return queue.Through
	case now.Sub(since) > holdTimeout:
		return queue.Idle
	case job.runs:
		return queue.Inside
	}
	for _, s := range o.Status.Stages {
		if s.StartTime.After(last) {
			last = s.StartTime.Time
		}
	}
	// A time ahead of the clock, as after one that was set back, holds no place.
	if now.Sub(last).Abs() > startTimeout {
		return queue.Idle
	}
	return queue.Inside
}

// jobState is the state of the Jobs of a snapshot: whether a pod of one is ready,
// and when the newest unfinished one was created.
type jobState struct {
	runs    bool
	created time.Time
}

// jobs returns the state of the Jobs of every snapshot, from the cache.
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

// superseded reports whether a snapshot waits for its first check while there is a
// newer one of the same source, both by a policy: one that a user created is verified
// in its turn, however long that takes.
func (r *Reconciler) superseded(ctx context.Context, s *scope) (bool, error) {
	if !ofPolicy(s.snapshot) || began(s.snapshot, stageVerify) {
		return false, nil
	}
	all, err := r.everywhere(ctx, client.InNamespace(s.snapshot.Namespace), client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	if err != nil {
		return false, err
	}
	for i := range all {
		o := &all[i]
		if o.Spec.SourceRef == s.snapshot.Spec.SourceRef && s.snapshot.CreationTimestamp.Before(&o.CreationTimestamp) && ofPolicy(o) && underWay(o) {
			return true, nil
		}
	}
	return false, nil
}

// ofPolicy reports whether a CSI snapshot was created that a policy asked for, and
// that is to be verified.
func ofPolicy(o *v1alpha1.CacheSnapshot) bool {
	return o.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue && o.Spec.Verification.Mode != v1alpha1.VerificationSkip && o.Status.CreationTime != nil
}

// underWay reports whether a snapshot is still reconciled: it is not deleted,
// suspended or stalled.
func underWay(o *v1alpha1.CacheSnapshot) bool {
	return o.DeletionTimestamp.IsZero() && !o.Spec.Suspend && !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.StalledCondition)
}

// began reports whether a stage has started.
func began(o *v1alpha1.CacheSnapshot, stage string) bool { return !entered(o, stage).IsZero() }

// entered returns the start time of a stage; zero if it has not started.
func entered(o *v1alpha1.CacheSnapshot, stage string) time.Time {
	for _, s := range o.Status.Stages {
		if s.Name == stage {
			return s.StartTime.Time
		}
	}
	return time.Time{}
}
