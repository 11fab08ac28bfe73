package writer

import (
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"

	"gocache.dev/operator/api/v1alpha1"
	plan "gocache.dev/operator/internal/plan/writer"
)

// action is one kind of work on the cache PVC. All of them are done by the one
// Job of the writer's name, which is the lock.
type action interface {
	// name is the value of the Job's action label.
	name() plan.Action
	// title of a run, with its article.
	title() string
	// requests that a run answers.
	requests() []v1alpha1.RequestAction
	// due reports whether it is due, and asks for a pass when it may be.
	due(*turn) (plan.DueAction, bool)
	// waitsFor is what keeps it from starting though it is due; empty: nothing.
	waitsFor(*turn) string
	// job is the Job to start.
	job(context.Context, *turn, plan.DueAction) (*batchv1.Job, error)
	// record writes the outcome of the run that has ended into the status.
	record(*turn)
	// recorded is the run that was recorded last.
	recorded(*v1alpha1.GoCache) string
}

// actions are all that the writer does.
func actions() []action {
	return []action{warmUp{}, cleanUp{}, integrityCheck{}}
}

// actionOf is what a writer Job does; false for a Job of another release, whose
// outcome this one cannot read.
func actionOf(job *batchv1.Job) (action, bool) {
	for _, a := range actions() {
		if job != nil && string(a.name()) == job.Labels[v1alpha1.ActionLabel] {
			return a, true
		}
	}
	return nil, false
}

// RequestWaitsFor is what the action waits for that would answer a request;
// empty: nothing.
func (r Result) RequestWaitsFor(request v1alpha1.RequestAction) string {
	for _, a := range actions() {
		if why := r.Waits[a.name()]; why != "" && slices.Contains(a.requests(), request) {
			return why
		}
	}
	return ""
}
