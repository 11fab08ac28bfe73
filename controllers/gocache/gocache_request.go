package gocache

import (
	"context"
	"slices"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/request"
)

const (
	// requestPatience is how long an accepted request may wait until it is
	// begun. The next one is not looked at before it is answered.
	requestPatience = time.Hour
)

// verb is one request that a GoCache knows. What it asks for is done by the
// step that always does it, which also gives the answer.
type verb struct {
	// action of the request.
	action string
	// refuses says why it cannot be taken up; empty: it can. May be nil.
	refuses func(*scope, request.Request) string
	// within this time it is answered, whatever becomes of it; nil: it is
	// answered when it was begun within requestPatience and has ended.
	within func(*scope) time.Duration
	// begun says whether it is being done: then its answer is waited for.
	// Nil: it is done at once or not at all.
	begun func(*scope) bool
}

// verbs are all requests that a GoCache knows.
func verbs() []verb {
	return []verb{
		{action: request.WarmUp, begun: (*scope).writerAnswers},
		{action: request.Snapshot},
		{action: request.Cleanup, refuses: (*scope).refusesCleanup, begun: (*scope).writerAnswers},
		{action: request.ApproveCleanup, refuses: (*scope).refusesApproval, begun: (*scope).writerAnswers},
		{action: request.Integrity, within: (*scope).checkDeadline},
		{action: request.FailureReport, within: (*scope).checkDeadline},
		{action: request.Rollback, begun: func(s *scope) bool { return s.Replacing(s.cache) }},
	}
}

func verbOf(req request.Request) verb {
	for _, v := range verbs() {
		if v.action == req.Action {
			return v
		}
	}
	return verb{}
}

// handleRequest takes up the request annotation. Of what it asks for only the first
// and the last answer are given here: that it is refused, or waited too long.
func (r *Reconciler) handleRequest(_ context.Context, s *scope) error {
	text, present := s.cache.Annotations[v1alpha1.RequestAnnotation]
	answer := known().Take(bounded.Text(text, pass.MaxRequest), present, s.cache.Status.LastHandledRequest, func(req request.Request) string {
		if v := verbOf(req); v.refuses != nil {
			return v.refuses(s, req)
		}
		return ""
	})
	if answer == nil {
		return nil
	}
	if i := s.cache.Status.Integrity; answer.Outcome == v1alpha1.RequestAccepted && i != nil && i.Cause == text {
		i.Cause = "" // of a check for an earlier request of this very text
	}
	pass.Answer(s.cache, s.Now, answer.Text, answer.Outcome, answer.Message)
	return nil
}

// known is what a GoCache does with requests: the next one waits until the one
// before it is answered.
func known() request.Kind {
	k := request.Kind{Name: v1alpha1.GoCacheKind}
	for _, v := range verbs() {
		k.Knows = append(k.Knows, request.Form{Action: v.action})
	}
	return k
}

// boundRequest answers an accepted request that was not begun in time, so that it
// does not hold back later ones for ever.
func (r *Reconciler) boundRequest(_ context.Context, s *scope) error {
	answer, wake := known().Overdue(s.cache.Status.LastHandledRequest, s.Now, func(req request.Request) request.Patience {
		v := verbOf(req)
		p := request.Patience{Within: requestPatience, Begun: v.begun != nil && v.begun(s), WaitsFor: s.requestWaitsFor(req)}
		if v.within != nil {
			p.Within, p.Answer = v.within(s), true
		}
		return p
	})
	s.wakeAt(wake)
	if answer != nil {
		pass.Answer(s.cache, s.Now, answer.Text, answer.Outcome, answer.Message)
	}
	return nil
}

// requestWaitsFor says what the action waits for that would answer a request.
func (s *scope) requestWaitsFor(req request.Request) string {
	for _, action := range writerActions() {
		if why := s.done.waits[action.name]; why != "" && slices.Contains(action.requests, req.Action) {
			return ": it waited for " + why
		}
	}
	if u := s.done.replacement.Unfulfilled; u != nil && req.Action == request.Rollback {
		return ": it waited for " + u.WaitsFor
	}
	return ""
}

// writerAnswers says whether the writer that exists answers the accepted
// request, or one was begun in this pass that may. A run that began before the
// request is no answer to it.
func (s *scope) writerAnswers() bool {
	last := s.cache.Status.LastHandledRequest
	if last == nil || last.Outcome != v1alpha1.RequestAccepted {
		return false
	}
	return s.done.began != "" || s.Run.Run != "" && s.Run.Annotations[v1alpha1.RequestAnnotation] == last.Request
}

// answerRun answers the request that the booked run was started for.
func (s *scope) answerRun(outcome v1alpha1.RequestOutcome, message string) {
	if s.writerAnswers() {
		pass.Answer(s.cache, s.Now, s.cache.Status.LastHandledRequest.Request, outcome, message)
	}
}
