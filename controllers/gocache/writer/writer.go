package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/webhook"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/verification"
	plan "gocache.dev/operator/internal/plan/writer"
)

const (
	// cacheVolume is the name of the cache PVC in a writer's pod.
	cacheVolume = "cache"
	// defaultDeadline of a run.
	defaultDeadline = time.Hour
)

// Notifier calls a webhook in the background: [webhook.Caller].
type Notifier interface {
	Notify(webhook.Call) (done bool, err error)
}

// Reconciler runs the one Job that works on a GoCache's PVC.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is applied.
	FieldOwner string
	// Images of the pods.
	Images images.Images
	// Webhooks are notified of plans that wait for approval.
	Webhooks Notifier
	// Proxies that Jobs reach git servers and the sources of modules through.
	Proxies egress.Proxies
}

// Result is what a pass did about the writer.
type Result struct {
	pass.Result
	// Started is the action that a writer was started for, and Cause why; empty:
	// none was.
	Started plan.Action
	Cause   string
	// Waits is what each action that is due waits for.
	Waits map[plan.Action]string
	// Snapshots are those of the cache as they were read last: past the client's
	// cache, if a writer was about to be started. Later parts must see these.
	Snapshots []v1alpha1.CacheSnapshot
}

// turn is the work of one pass.
type turn struct {
	Reconciler
	pass.Observed
	cache *v1alpha1.GoCache
	out   Result
}

// Record writes the outcome of a run that has ended into the status, once.
func (r Reconciler) Record(cache *v1alpha1.GoCache, o pass.Observed) {
	action, known := actionOf(o.Writer)
	if !known || o.Run.Phase != jobrun.Ended || o.Run.Run == action.recorded(cache) {
		return
	}
	action.record(&turn{Reconciler: r, Observed: o, cache: cache})
}

// Reconcile starts the action that is due next, and removes the Job of one that
// has ended.
func (r Reconciler) Reconcile(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (Result, error) {
	t := turn{Reconciler: r, Observed: o, cache: cache}
	t.approve() // before a plan is looked at
	err := t.startOrRemove(ctx)
	err = errors.Join(err, t.notifyPlan())
	t.answerCorrupt()
	t.out.Snapshots = t.Snapshots
	return t.out, err
}

// Authenticate returns how the run of the writer goes. If the Job is not the
// operator's own, there is none, and the Job is deleted: its report does not
// count, and no action waits for it.
func (r Reconciler) Authenticate(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (pass.Observed, pass.Result, error) {
	t := &turn{Reconciler: r, Observed: o, cache: cache}
	action, known := actionOf(o.Writer)
	if known && o.Run.Run == action.recorded(cache) {
		return o, t.out.Result, nil
	}
	undecided := false
	run, err := jobrun.Authenticate(ctx, r.Live, o.Writer, o.Run, cache.Status.WriterJobUID, func() (*batchv1.Job, error) {
		job, err := t.expected(ctx, action)
		undecided = job == nil && err == nil
		return job, err
	})
	if err != nil {
		return o, t.out.Result, err
	}
	switch {
	case undecided: // neither vouched for nor deleted: what is pending starts another pass
	case run.Untrusted != "":
		t.reportUntrusted(run.Untrusted)
		err = apply.Delete(ctx, r.Client, o.Writer)
	case run.Phase == jobrun.Running || run.Phase == jobrun.Ended:
		cache.Status.WriterJobUID = run.Run
	}
	o.Run = run
	if o.Writer != nil && run.Run != cache.Status.WriterJobUID {
		// It wrote nothing that a digest vouches for, and answers no request.
		o.Writer, o.Run, o.Hindrance = nil, jobrun.Outcome{Phase: jobrun.Deleting}, ""
	}
	return o, t.out.Result, err
}

// expected is the Job that the operator would create for an action; nil: it is not decided
// yet.
func (t *turn) expected(ctx context.Context, action action) (*batchv1.Job, error) {
	not := ""
	switch {
	case action == nil:
		not = "its action is unknown"
	case t.PVC == nil:
		not = "there is no PersistentVolumeClaim " + t.cache.Name
	case action.name() == plan.Cleanup:
		not = t.refusesCleanup()
	case action.name() == plan.WarmUp && t.SourcePending:
		return nil, nil
	}
	if not != "" {
		return nil, &conditions.StalledError{Reason: v1alpha1.ReasonConflict, Message: not}
	}
	return action.job(ctx, t, plan.DueAction{})
}

// reportUntrusted reports a Job of another client that was deleted.
func (t *turn) reportUntrusted(why string) {
	if why == "" {
		return
	}
	t.out.Events = append(t.out.Events, event.Warning("UntrustedJob", "Delete", "Deleted %s", why))
	t.out.WakeIn(time.Second)
}

func (r Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}
}

// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=create;delete

// startOrRemove starts a writer when some action is due, and removes one whose
// outcome was recorded. The Job's name is the lock: while it exists, no other
// writer is started.
func (t *turn) startOrRemove(ctx context.Context) error {
	switch t.Run.Phase {
	case jobrun.Running, jobrun.Deleting:
		if recheck := t.Run.Recheck(); recheck > 0 {
			t.out.WakeIn(recheck)
		}
		return t.deleteOutdated(ctx) // the watch reports its end
	case jobrun.Ended:
		if action, known := actionOf(t.Writer); known && t.Run.Run != action.recorded(t.Stored) {
			return nil // removed once its outcome is stored
		}
		return apply.Delete(ctx, t.Client, t.Writer)
	case jobrun.Absent:
	}
	for range actions() {
		action, due := t.next()
		if action == nil {
			return nil
		}
		err := t.start(ctx, action, due)
		if err != nil || t.out.Waits[action.name()] == "" {
			return err
		}
	}
	return nil
}

// deleteOutdated deletes a writer whose container has not run and that would be
// created otherwise now: the next pass starts another one for what is still due.
func (t *turn) deleteOutdated(ctx context.Context) error {
	action, known := actionOf(t.Writer)
	if !known || t.Run.Phase != jobrun.Running || t.Run.Ready || t.SourceMissing != "" {
		return nil
	}
	now, err := t.expected(ctx, action)
	if conditions.Stalled(err) != nil { // then it is not known
		now, err = nil, nil
	}
	if err != nil {
		return err
	}
	why, err := t.outdated(ctx, now)
	if err != nil || why == "" {
		return err
	}
	if err := apply.Delete(ctx, t.Client, t.Writer); err != nil {
		return err
	}
	t.out.Events = append(t.out.Events, event.Normal("JobReplaced", "Replace", "Deleted Job %s, whose container has not run: %s", t.Writer.Name, why))
	t.out.WakeIn(time.Second)
	return nil
}

// outdated is why the writer would be created otherwise now; empty: it would not, or
// what would be created is not known.
func (t *turn) outdated(ctx context.Context, now *batchv1.Job) (string, error) {
	if now == nil {
		return "", nil
	}
	changed, err := jobrun.Outdated(ctx, t.Live, t.Writer, t.Run, now)
	if err != nil {
		return "", err
	}
	if changed {
		return "its pod template has changed", nil
	}
	misplaced, err := t.misplaced(ctx)
	if err != nil || !misplaced {
		return "", err
	}
	return fmt.Sprintf("it would not be bound to node %s any more", podspec.NodeOf(&t.Writer.Spec.Template.Spec)), nil
}

// start starts a writer for an action, unless it turns out that it has to wait.
func (t *turn) start(ctx context.Context, action action, due plan.DueAction) error {
	if begun, err := t.startedMeanwhile(ctx); err != nil || begun || t.mustWait(action) {
		return err
	}
	pods, lost, err := t.podsLeft(ctx)
	if err != nil {
		return err
	}
	if t.PredecessorWriter || pods && !t.ForeignWriter { // two writers must never meet
		why := "the pod of the last run to be gone"
		if lost != "" {
			why += ": " + lost
		}
		t.wait(action.name(), why)
		t.out.WakeIn(time.Second)
		return nil
	}
	job, err := action.job(ctx, t, due)
	if err != nil {
		return t.waitForPerson(action.name(), err)
	}
	if can, err := t.bind(ctx, action.name(), job); err != nil || !can {
		return err
	}
	made, err := jobrun.Start(ctx, t.applier(), t.cache, job)
	if err != nil {
		return err
	}
	if made.UID == "" { // one of the name is in the way, and on its way
		t.reportUntrusted(made.Untrusted)
		t.wait(action.name(), "the Job of the last run to be gone")
		t.out.WakeIn(time.Second)
		return nil
	}
	t.cache.Status.WriterJobUID = made.UID
	t.out.Started, t.out.Cause = action.name(), due.Cause
	t.out.Events = append(t.out.Events, started(action.name(), due.Cause))
	return nil
}

// podsLeft reports whether a writer has a pod, and why one of them is not seen gone.
func (t *turn) podsLeft(ctx context.Context) (are bool, lost string, err error) {
	for pod, err := range jobrun.Pods(ctx, t.Live, t.cache.Namespace, naming.Child(t.cache.Name, naming.Writer)) {
		if err != nil {
			return false, "", err
		}
		are, lost = true, jobrun.Lost(pod, t.Now)
		if lost != "" {
			break
		}
	}
	return are, lost, nil
}

// waitForPerson records what only a person can repair: it keeps no other action
// from its turn. Any other error is returned.
func (t *turn) waitForPerson(action plan.Action, err error) error {
	stalled := conditions.Stalled(err)
	if stalled == nil {
		return err
	}
	t.wait(action, stalled.Message)
	t.out.WakeIn(pass.Interval)
	return nil
}

// next is the action to start now, and why; nil for none. One that waits
// for something does not keep the others from their turn.
func (t *turn) next() (action, plan.DueAction) {
	var candidates []plan.DueAction
	all := actions()
	for _, a := range all {
		candidate, due := a.due(t)
		if !due || t.out.Waits[a.name()] != "" || t.mustWait(a) {
			continue
		}
		candidate.Action = a.name()
		candidates = append(candidates, candidate)
	}
	next, ok := plan.Decide(candidates)
	for i := range all {
		if ok && all[i].name() == next.Action {
			return all[i], next
		}
	}
	return nil, plan.DueAction{}
}

// mustWait records what keeps a due action from starting, and reports whether
// anything does.
func (t *turn) mustWait(a action) bool {
	why := t.pvcWaitsFor()
	if why == "" {
		why = a.waitsFor(t)
	}
	if why != "" {
		t.wait(a.name(), why)
		t.out.WakeIn(pass.Interval)
	}
	return why != ""
}

// pvcWaitsFor is what keeps any work on the cache PVC from starting.
func (t *turn) pvcWaitsFor() string {
	switch {
	case t.PVC == nil:
		return "the PVC to be created"
	case !t.PVC.DeletionTimestamp.IsZero():
		return "the old PVC to be gone"
	case t.Replacing(t.cache):
		return "the volume to be replaced"
	default:
		return ""
	}
}

// startedMeanwhile looks past the cache, which may not show yet that a writer or
// a snapshot was begun a moment ago: two of them must never meet. It
// reports whether a writer was.
func (t *turn) startedMeanwhile(ctx context.Context) (bool, error) {
	job, err := read.Object[batchv1.Job](ctx, t.Live, t.cache.Namespace, naming.Child(t.cache.Name, naming.Writer))
	if err != nil {
		return false, err
	}
	// One that is not in the cache may be another client's: its creation shows that.
	if job = apply.Ours(t.cache, pass.Labels(t.cache), job); job != nil && string(job.UID) == t.cache.Status.WriterJobUID {
		t.out.WakeIn(time.Second)
		return true, nil
	}
	all, err := csisnapshot.Of(ctx, t.Live, false, t.cache.Namespace, v1alpha1.GoCacheKind, t.cache.Name)
	if err != nil {
		return false, err // with those that were observed: to other parts, none would mean that all are gone
	}
	t.Snapshots = all
	return false, nil
}

// working reports whether a writer does this now.
func (t *turn) working(action plan.Action) bool {
	if t.out.Started != "" {
		return t.out.Started == action
	}
	return t.Run.Phase == jobrun.Running && t.Writer.Labels[v1alpha1.ActionLabel] == string(action)
}

// wait records what a due action waits for.
func (t *turn) wait(action plan.Action, what string) {
	if t.out.Waits == nil {
		t.out.Waits = map[plan.Action]string{}
	}
	t.out.Waits[action] = what
}

// quietWaitsFor is what keeps an action that changes the content from starting:
// a snapshot is of one moment, in which there is no writer.
func (t *turn) quietWaitsFor() string {
	for i := range t.Snapshots {
		if c := &t.Snapshots[i]; CreatingSnapshot(c) {
			return "CacheSnapshot " + c.Name + " to be created"
		}
	}
	return ""
}

// CreatingSnapshot reports whether a driver may be creating the CSI snapshot now, or is
// about to be asked for it. A suspended one is not asked for before a user resumes it, and
// then no sooner than the writer has ended.
func CreatingSnapshot(c *v1alpha1.CacheSnapshot) bool {
	if c.Spec.Suspend && !asked(c) {
		return false
	}
	return c.Status.StartTime != nil && c.Status.CreationTime == nil && c.DeletionTimestamp.IsZero() &&
		!meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.StalledCondition)
}

// asked reports whether the driver was asked for the CSI snapshot.
func asked(c *v1alpha1.CacheSnapshot) bool {
	return slices.ContainsFunc(c.Status.Stages, func(s v1alpha1.StageStatus) bool { return s.Name == verification.RecordedSnapshot })
}

// recordUsage records how full a run found the file system of the PVC. A run that
// measured nothing reports 0 for both.
func (t *turn) recordUsage(m growth.Measured) {
	if m.Used == 0 && m.Available == 0 || !t.RanOnPVC() {
		return
	}
	status := &t.cache.Status.Storage
	if status.Capacity != nil {
		m = m.Of(status.Capacity.Value())
	}
	status.Used = resource.NewQuantity(m.Used>>20<<20, resource.BinarySI) // whole MiB read better
	status.UsedPercent, status.MeasuredCapacity = growth.UsedPercent(m.Used, m.Available), status.Capacity
	status.Inodes, status.InodesUsed = nil, nil
	if m.Inodes > 0 {
		status.Inodes, status.InodesUsed = &m.Inodes, &m.InodesUsed
	}
}

// answers reports whether the writer that exists answers the accepted request,
// or one was started in this pass that may. A run that began before the
// request is no answer to it.
func (t *turn) answers() bool {
	req, ok := request.Accepted(t.cache.Status.Request)
	return ok && (t.out.Started != "" || t.Run.Run != "" && t.Run.Annotations[v1alpha1.CacheRequestAnnotation] == req.Cause())
}

// Answers reports whether a writer answers the accepted request: the one that
// exists, or the one that was started in the pass with this result.
func (r Result) Answers(cache *v1alpha1.GoCache, o pass.Observed) bool {
	return (&turn{Observed: o, cache: cache, out: r}).answers()
}

// answerRun answers the request that the recorded run was started for.
func (t *turn) answerRun(outcome v1alpha1.RequestOutcome, message string) {
	if t.answers() {
		pass.Answer(t.cache, t.Now, outcome, message)
	}
}
