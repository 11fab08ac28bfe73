package gocache

import (
	"context"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/writer"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/request"
)

const (
	// requestPatience is how long an accepted request may wait until it is
	// begun. The next one is not looked at before it is answered.
	requestPatience = time.Hour
)

// verb is one request that a GoCache accepts. What it asks for is done by the
// step that always does it, which also gives the answer.
type verb struct {
	// action of the request.
	action string
	// refuses is why it cannot be taken up; empty: it can. May be nil.
	refuses func(*progress, request.Request) string
	// within this time it is answered, whatever becomes of it; nil: it is
	// answered when it was begun within requestPatience and has ended.
	within func(*progress) time.Duration
	// begun reports whether it is being done: then its answer is waited for.
	// Nil: it is done at once or not at all.
	begun func(*progress) bool
}

// verbs are all requests that a GoCache accepts.
func verbs() []verb {
	return []verb{
		{action: request.WarmUp, begun: (*progress).writerAnswers},
		{action: request.Snapshot},
		{action: request.Cleanup, refuses: refusesCleanup, begun: (*progress).writerAnswers},
		{action: request.ApproveCleanup, refuses: refusesApproval, begun: (*progress).writerAnswers},
		{action: request.Integrity, within: checkDeadline},
		{action: request.FailureReport, within: checkDeadline},
		{action: request.Rollback, begun: func(p *progress) bool { return p.Replacing(p.cache) }},
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

// takeRequest takes up the request annotation. Of what it asks for only the first
// and the last answer are given here: that it is refused, or waited too long.
func (r *Reconciler) takeRequest(_ context.Context, p *progress) error {
	text, present := p.cache.Annotations[v1alpha1.RequestAnnotation]
	answer := known().Take(bounded.Text(text, pass.MaxRequest), present, p.cache.Status.LastHandledRequest, func(req request.Request) string {
		if v := verbOf(req); v.refuses != nil {
			return v.refuses(p, req)
		}
		return ""
	})
	if answer == nil {
		return nil
	}
	if i := p.cache.Status.Integrity; answer.Outcome == v1alpha1.RequestAccepted && i != nil && i.Cause == text {
		i.Cause = "" // of a check for an earlier request of this very text
	}
	pass.Answer(p.cache, p.Now, answer.Text, answer.Outcome, answer.Message)
	return nil
}

// known is what a GoCache does with requests: the next one waits until the one
// before it is answered.
func known() request.Kind {
	k := request.Kind{Name: v1alpha1.GoCacheKind}
	for _, v := range verbs() {
		k.Supports = append(k.Supports, request.Form{Action: v.action})
	}
	return k
}

// answerOverdue answers an accepted request that was not begun in time, so that it
// does not hold back later ones for ever.
func (r *Reconciler) answerOverdue(_ context.Context, p *progress) error {
	answer, wake := known().Overdue(p.cache.Status.LastHandledRequest, p.Now, func(req request.Request) request.Timeout {
		v := verbOf(req)
		patience := request.Timeout{Within: requestPatience, Begun: v.begun != nil && v.begun(p), WaitsFor: p.requestWaitsFor(req)}
		if v.within != nil {
			patience.Within, patience.Answer = v.within(p), true
		}
		return patience
	})
	p.result.WakeAt(p.Now, wake)
	if answer != nil {
		pass.Answer(p.cache, p.Now, answer.Text, answer.Outcome, answer.Message)
	}
	return nil
}

// requestWaitsFor is what the action waits for that would answer a request.
func (p *progress) requestWaitsFor(req request.Request) string {
	if why := p.writer.RequestWaitsFor(req.Action); why != "" {
		return ": it waited for " + why
	}
	if u := p.replacement.Unfulfilled; u != nil && req.Action == request.Rollback {
		return ": it waited for " + u.WaitsFor
	}
	return ""
}

// writerAnswers reports whether a writer answers the accepted request: one that
// exists, or one that was started in this pass.
func (p *progress) writerAnswers() bool { return p.writer.Answers(p.cache, p.Observed) }

func refusesCleanup(p *progress, _ request.Request) string { return writer.RefusesCleanup(p.cache) }

func refusesApproval(p *progress, req request.Request) string {
	return writer.RefusesApproval(p.cache, p.Observed, req)
}

func checkDeadline(p *progress) time.Duration { return writer.CheckDeadline(p.cache) }
