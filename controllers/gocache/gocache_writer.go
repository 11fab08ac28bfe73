package gocache

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/writer"
)

const (
	// cacheVolume is the name of the live claim in a writer's pod.
	cacheVolume = "cache"
	// defaultDeadline of a run.
	defaultDeadline = time.Hour
)

// writerAction is one kind of work on the live claim. All of them are done by
// the one Job of the writer's name, which is the lock.
type writerAction struct {
	// name is the value of the Job's action label.
	name writer.Action
	// title of a run, with its article.
	title string
	// requests that a run answers.
	requests []string
	// decide says whether it is due, and asks to be woken when it may be.
	decide func(*Reconciler, *scope) (writer.DueAction, bool)
	// waitsFor says what keeps it from starting though it is due; empty: nothing.
	waitsFor func(*scope) string
	// job is the Job to start.
	job func(*Reconciler, context.Context, *scope, writer.DueAction) (*batchv1.Job, error)
	// book writes the outcome of the run that has ended into the status.
	book func(*scope)
	// booked is the run that was booked last.
	booked func(*v1alpha1.GoCache) string
}

// writerActions are all that the writer does.
func writerActions() []writerAction {
	return []writerAction{warmUpAction(), cleanupAction(), integrityAction()}
}

// actionOf is what a writer Job does; false for one of another release, of
// whose outcome nobody here knows what to say.
func actionOf(job *batchv1.Job) (writerAction, bool) {
	for _, a := range writerActions() {
		if job != nil && string(a.name) == job.Labels[v1alpha1.ActionLabel] {
			return a, true
		}
	}
	return writerAction{}, false
}

// book writes the outcome of a writer that has ended into the status, once.
func (s *scope) book() {
	action, known := actionOf(s.Writer)
	if !known || s.Run.Phase != jobrun.Ended || s.Run.Run == action.booked(s.cache) {
		return
	}
	action.book(s)
}

// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=create;patch;delete

// write starts a writer when some action is due, and removes one that was
// booked. The Job's name is the lock: while it exists, nobody else writes to
// the claim.
func (r *Reconciler) write(ctx context.Context, s *scope) error {
	switch s.Run.Phase {
	case jobrun.Running, jobrun.Deleting:
		if !s.Run.Ready {
			s.wakeIn(jobrun.StartTimeout) // no watch tells why a pod does not run
		}
		return nil // its end wakes us
	case jobrun.Ended:
		if action, known := actionOf(s.Writer); known && s.Run.Run != action.booked(s.Stored) {
			return nil // removed once its outcome stands in the status
		}
		return apply.Delete(ctx, r.Client, s.Writer)
	case jobrun.Absent:
	}
	for range writerActions() {
		action, wish := r.nextAction(s)
		if action == nil {
			return nil
		}
		err := r.begin(ctx, s, action, wish)
		if err != nil || s.done.waits[action.name] == "" {
			return err
		}
	}
	return nil
}

// begin starts a writer for an action, unless it turns out that it has to wait.
func (r *Reconciler) begin(ctx context.Context, s *scope, action *writerAction, wish writer.DueAction) error {
	if begun, err := r.begunMeanwhile(ctx, s); err != nil || begun || s.mustWait(action) {
		return err
	}
	pods, err := jobrun.Pods(ctx, r.Live, s.cache.Namespace, naming.Child(s.cache.Name, naming.Writer))
	if err != nil {
		return err
	}
	if s.PredecessorWriter || len(pods) > 0 && !s.ForeignWriter { // two writers must never meet
		s.waits(action.name, "the pod of the last run to be gone")
		s.wakeIn(time.Second)
		return nil
	}
	job, err := action.job(r, ctx, s, wish)
	if err != nil {
		return s.waitsFor(action.name, err)
	}
	near, err := r.nearConsumers(ctx, s)
	if err != nil {
		return err
	}
	podspec.Near(&job.Spec.Template.Spec, near)
	if _, err := r.applier().Apply(ctx, apply.ControlledBy(s.cache), job); err != nil {
		return err
	}
	s.done.began, s.done.beganFor = action.name, wish.Cause
	return nil
}

// waitsFor notes what only a person can mend: it keeps no other action from its
// turn. Any other error is returned.
func (s *scope) waitsFor(action writer.Action, err error) error {
	stalled := conditions.Stalled(err)
	if stalled == nil {
		return err
	}
	s.waits(action, stalled.Message)
	s.wakeIn(pass.Interval)
	return nil
}

// nextAction is the action to start now, and why; nil for none. One that waits
// for something does not keep the others from their turn.
func (r *Reconciler) nextAction(s *scope) (*writerAction, writer.DueAction) {
	var wishes []writer.DueAction
	actions := writerActions()
	for _, a := range actions {
		wish, due := a.decide(r, s)
		if !due || s.done.waits[a.name] != "" || s.mustWait(&a) {
			continue
		}
		wish.Action = a.name
		wishes = append(wishes, wish)
	}
	next, ok := writer.Decide(wishes)
	for i := range actions {
		if ok && actions[i].name == next.Action {
			return &actions[i], next
		}
	}
	return nil, writer.DueAction{}
}

// mustWait notes what keeps a due action from starting, and says whether
// anything does.
func (s *scope) mustWait(a *writerAction) bool {
	why := s.claimWaitsFor()
	if why == "" {
		why = a.waitsFor(s)
	}
	if why != "" {
		s.waits(a.name, why)
		s.wakeIn(pass.Interval)
	}
	return why != ""
}

// claimWaitsFor says what keeps any work on the live claim from starting.
func (s *scope) claimWaitsFor() string {
	switch {
	case s.PVC == nil:
		return "the claim to be made"
	case !s.PVC.DeletionTimestamp.IsZero():
		return "the old claim to be gone"
	case s.Replacing(s.cache):
		return "the volume to be replaced"
	default:
		return ""
	}
}

// begunMeanwhile looks past the cache, which may not show yet that a writer or
// a snapshot was begun a moment ago: two of them must never meet. It says
// whether a writer was.
func (r *Reconciler) begunMeanwhile(ctx context.Context, s *scope) (bool, error) {
	job, err := read.Object[batchv1.Job](ctx, r.Live, s.cache.Namespace, naming.Child(s.cache.Name, naming.Writer))
	if err != nil {
		return false, err
	}
	if apply.Ours(s.cache, pass.Labels(s.cache), job) != nil {
		s.wakeIn(time.Second)
		return true, nil
	}
	s.Snapshots, err = csisnapshot.Of(ctx, r.Live, false, s.cache.Namespace, v1alpha1.GoCacheKind, s.cache.Name)
	return false, err
}

// writerJob is what the Jobs of all actions have in common.
func (s *scope) writerJob(action writerAction, wish writer.DueAction) jobrun.Spec {
	cache := s.cache
	labels := pass.Labels(s.cache)
	labels[v1alpha1.ActionLabel] = string(action.name)
	annotations := map[string]string{
		v1alpha1.CauseAnnotation:  wish.Cause,
		v1alpha1.PVCUIDAnnotation: string(s.PVC.UID),
		v1alpha1.VolumeAnnotation: s.PVC.Spec.VolumeName,
	}
	for _, verb := range action.requests {
		if req, ok := s.Standing(s.cache, verb); ok {
			annotations[v1alpha1.RequestAnnotation] = req.Text
		}
	}
	return jobrun.Spec{
		Namespace: cache.Namespace, Name: naming.Child(cache.Name, naming.Writer), Labels: labels, Annotations: annotations,
		Template: cache.Spec.PodTemplate, Ownership: cache.Spec.Storage.Ownership, Platform: cache.Spec.Platform,
		Deadline: defaultDeadline,
	}
}

// working says whether a writer does this now.
func (s *scope) working(action writer.Action) bool {
	if s.done.began != "" {
		return s.done.began == action
	}
	return s.Run.Phase == jobrun.Running && s.Writer.Labels[v1alpha1.ActionLabel] == string(action)
}

// waits notes what a due action waits for.
func (s *scope) waits(action writer.Action, what string) {
	if s.done.waits == nil {
		s.done.waits = map[writer.Action]string{}
	}
	s.done.waits[action] = what
}
