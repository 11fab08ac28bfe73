package gocache

import (
	"context"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/writer"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/plan/buildreport"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/request"
)

const (
	// requestTimeout is how long an accepted request may wait until it is
	// begun. The next one is not accepted before it is answered.
	requestTimeout = time.Hour
)

// verb is one request that a GoCache accepts. What it asks for is done by the
// step that always does it, which also gives the answer.
type verb struct {
	// action of the request.
	action v1alpha1.RequestAction
	// refuses is why it cannot be taken up; empty: it can. May be nil.
	refuses func(*progress, request.Request) string
	// within this time it is answered, whatever becomes of it; nil: it is
	// answered when it was begun within requestTimeout and has ended.
	within func(*progress) time.Duration
	// begun reports whether it is being done: then its answer is waited for.
	// Nil: it is done at once or not at all.
	begun func(*progress) bool
}

// verbs are all requests that a GoCache accepts.
func verbs() []verb {
	return []verb{
		{action: v1alpha1.RequestWarmUp, begun: (*progress).writerAnswers},
		{action: v1alpha1.RequestSnapshot},
		{action: v1alpha1.RequestCleanup, refuses: refusesCleanup, begun: (*progress).writerAnswers},
		{action: v1alpha1.RequestApproveCleanup, refuses: refusesApproval, begun: (*progress).writerAnswers},
		{action: v1alpha1.RequestCheckIntegrity, within: checkDeadline},
		{action: v1alpha1.RequestReportFailure, within: checkDeadline},
		{action: v1alpha1.RequestRollback, begun: func(p *progress) bool { return p.Replacing(p.cache) }},
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

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cacherequests,verbs=get;list;watch

// takeRequest takes up the next CacheRequest. Of what it asks for only the first
// and the last answer are given here: that it is refused, or waited too long.
func (r *Reconciler) takeRequest(ctx context.Context, p *progress) error {
	queue := requests.Queue{Client: r.Client, Live: r.Live, Kind: known(), Target: p.cache, Answered: func(q *v1alpha1.CacheRequest) bool {
		// Reports of builds are answered by the spec alone, and wait for nothing.
		return buildreport.Is(q) || livecheck.Answer(q, p.cache.Status.Integrity, p.cache.Status.Storage.VolumeName) != nil
	}}
	next, err := queue.Take(ctx, p.cache.Status.Request, p.Now, func(req request.Request) string {
		if s := p.cache.Spec.Source; s != nil {
			return "GoCache " + p.cache.Name + " has no content of its own: request it of its source, GoCache " + s.Namespace + "/" + s.Name
		}
		if v := verbOf(req); v.refuses != nil {
			return v.refuses(p, req)
		}
		return ""
	}, func() bool {
		req, ok := request.Accepted(p.cache.Status.Request)
		v := verbOf(req)
		return ok && v.begun != nil && v.begun(p)
	})
	p.cache.Status.Request = next
	return err
}

// known is what a GoCache does with requests: the next one waits until the one
// before it is answered.
func known() request.Kind {
	k := request.Kind{Name: v1alpha1.GoCacheKind}
	for _, v := range verbs() {
		k.Supports = append(k.Supports, v.action)
	}
	return k
}

// answerOverdue answers an accepted request that was not begun in time, so that it
// does not hold back later ones for ever.
func (r *Reconciler) answerOverdue(_ context.Context, p *progress) error {
	answer, wake := known().Overdue(p.cache.Status.Request, p.Now, func(req request.Request) request.Timeout {
		v := verbOf(req)
		timeout := request.Timeout{Within: requestTimeout, Begun: v.begun != nil && v.begun(p), WaitsFor: p.requestWaitsFor(req)}
		if v.within != nil {
			timeout.Within, timeout.Answer = v.within(p), true
		}
		return timeout
	})
	p.result.WakeAt(p.Now, wake)
	if answer != nil {
		pass.Answer(p.cache, p.Now, answer.Outcome, answer.Message)
	}
	return nil
}

// requestWaitsFor is what the action waits for that would answer a request.
func (p *progress) requestWaitsFor(req request.Request) string {
	if why := p.writer.RequestWaitsFor(req.Action); why != "" {
		return ": it waited for " + why
	}
	if u := p.replacement.Unfulfilled; u != nil && req.Action == v1alpha1.RequestRollback {
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
