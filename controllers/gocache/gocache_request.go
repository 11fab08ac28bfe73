package gocache

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/request"
)

const (
	// maxRequest is how much of a request a status echoes.
	maxRequest = 512
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
		{action: request.Rollback, begun: func(s *scope) bool { return s.swapping() }},
	}
}

func verbOf(req request.Request) (verb, bool) {
	for _, v := range verbs() {
		if v.action == req.Action {
			return v, true
		}
	}
	return verb{}, false
}

// handleRequest takes up the request annotation. Of what it asks for only the
// first and the last word are said here: that it is refused, or waited too long.
func (r *Reconciler) handleRequest(_ context.Context, s *scope) error {
	text, ok := s.cache.Annotations[v1alpha1.RequestAnnotation]
	last := s.cache.Status.LastHandledRequest
	if last != nil && last.Outcome == v1alpha1.RequestAccepted {
		return nil // it gets its answer first, and that wakes us
	}
	if !ok || last != nil && last.Request == bounded.Text(text, maxRequest) {
		return nil
	}
	req, err := request.Parse(text)
	if err != nil {
		s.answer(text, v1alpha1.RequestRefused, err.Error())
		return nil
	}
	v, known := verbOf(req)
	switch {
	case !known:
		s.answer(text, v1alpha1.RequestRefused, fmt.Sprintf("this release does not know the action %s for a GoCache: it knows %s", req.Action, knownVerbs()))
	case v.refuses != nil && v.refuses(s, req) != "":
		s.answer(text, v1alpha1.RequestRefused, v.refuses(s, req))
	default:
		if i := s.cache.Status.Integrity; i != nil && i.Cause == text {
			i.Cause = "" // of a check for an earlier request of this very text
		}
		s.answer(text, v1alpha1.RequestAccepted, "")
	}
	return nil
}

func knownVerbs() string {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.action)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// boundRequest answers an accepted request that nobody began in time, so that
// it does not hold back later ones for ever.
func (r *Reconciler) boundRequest(_ context.Context, s *scope) error {
	last := s.cache.Status.LastHandledRequest
	if last == nil || last.Outcome != v1alpha1.RequestAccepted {
		return nil
	}
	req, err := request.Parse(last.Request)
	v, known := verbOf(req)
	patience := requestPatience
	if v.within != nil {
		patience = v.within(s)
	}
	switch end := last.Time.Add(patience); {
	case err != nil || !known: // accepted by another release
		s.answer(last.Request, v1alpha1.RequestRefused, "this release does not know the request: it knows "+knownVerbs())
	case v.begun != nil && v.begun(s):
	case end.After(s.now):
		s.wakeAt(end)
	case v.within != nil:
		s.answer(last.Request, v1alpha1.RequestFailed, s.tooLate(patience, last.Message, s.requestWaitsFor(req)))
	default:
		s.answer(last.Request, v1alpha1.RequestFailed, fmt.Sprintf("it could not be begun within %s%s; ask again when the cause is gone", patience, s.requestWaitsFor(req)))
	}
	return nil
}

// tooLate is the answer to a request that had an answer due: what is known so
// far, or that nothing is.
func (s *scope) tooLate(patience time.Duration, known, waits string) string {
	if known == "" {
		return fmt.Sprintf("could not tell within %s%s", patience, waits)
	}
	return fmt.Sprintf("%s; no more came of it within %s%s", known, patience, waits)
}

// requestWaitsFor says what the action waits for that would answer a request.
func (s *scope) requestWaitsFor(req request.Request) string {
	for _, action := range writerActions() {
		if why := s.done.waits[action.name]; why != "" && slices.Contains(action.requests, req.Action) {
			return ": it waited for " + why
		}
	}
	if u := s.done.unfulfilled; u != nil && req.Action == request.Rollback {
		return ": it waited for " + u.waits
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
	return s.done.began != "" || s.facts.run.Run != "" && s.facts.run.Annotations[v1alpha1.RequestAnnotation] == last.Request
}

// answerRun answers the request that the booked run was started for.
func (s *scope) answerRun(outcome v1alpha1.RequestOutcome, message string) {
	if s.writerAnswers() {
		s.answer(s.cache.Status.LastHandledRequest.Request, outcome, message)
	}
}

func (s *scope) answer(text string, outcome v1alpha1.RequestOutcome, message string) {
	s.cache.Status.LastHandledRequest = &v1alpha1.RequestStatus{
		Request: bounded.Text(text, maxRequest), Outcome: outcome, Message: bounded.Text(message, 1024), Time: metav1.NewTime(s.now),
	}
}

// requested is the accepted request for an action, if that is what waits.
func (s *scope) requested(action string) (request.Request, bool) {
	last := s.cache.Status.LastHandledRequest
	if last == nil || last.Outcome != v1alpha1.RequestAccepted {
		return request.Request{}, false
	}
	req, err := request.Parse(last.Request)
	return req, err == nil && req.Action == action
}

// standing is the accepted request for an action once it stands in the status,
// which wakes the next pass: acted on before, a crash in between would make two
// runs of it.
func (s *scope) standing(action string) (request.Request, bool) {
	req, ok := s.requested(action)
	before := s.before.Status.LastHandledRequest
	return req, ok && before != nil && before.Request == s.cache.Status.LastHandledRequest.Request
}
