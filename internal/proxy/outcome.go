package proxy

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync"
)

// outcome collects what happened below the library while a request was
// served: the library folds most causes into a 404 or a bare 500.
type outcome struct {
	requestID string
	fetch     bool // it is of a fetch, which bounds its requests by itself

	mu       sync.Mutex
	status   int            // of the last upstream answer
	err      error          // of the last upstream request that got no answer
	failure  error          // what a fetch ended with
	attempts map[string]int // per upstream URL
	opened   []io.Closer
}

type outcomeKey struct{}

func withOutcome(ctx context.Context, o *outcome) context.Context {
	return context.WithValue(ctx, outcomeKey{}, o)
}

// outcomeOf returns the outcome of the request that ctx belongs to, or nil:
// the library also sends requests of its own.
func outcomeOf(ctx context.Context) *outcome {
	o, _ := ctx.Value(outcomeKey{}).(*outcome)
	return o
}

// id of the client's request; empty: it has none.
func (o *outcome) id() string {
	if o == nil {
		return ""
	}
	return o.requestID
}

func (o *outcome) isFetch() bool { return o != nil && o.fetch }

// attempt counts requests for a URL on behalf of one client request.
func (o *outcome) attempt(url string) int {
	if o == nil || o.fetch {
		return 1
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.attempts == nil {
		o.attempts = map[string]int{}
	}
	o.attempts[url]++
	return o.attempts[url]
}

func (o *outcome) upstream(status int, err error) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status, o.err = status, err
}

// upstreamFailed reports whether the upstream gave nothing that can be passed
// on: it did not answer, is in trouble, has no such file, or its answer cannot be
// right.
func (o *outcome) upstreamFailed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure != nil || o.err != nil || o.status >= http.StatusInternalServerError || o.status == http.StatusTooManyRequests
}

func (o *outcome) fetched(err error) {
	if o == nil || err == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failure = err
}

// own closes a file at the end of the request if it is still open.
func (o *outcome) own(c io.Closer) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = append(o.opened, c)
}

func (o *outcome) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.opened {
		_ = c.Close() // read only, and perhaps closed already
	}
}

// trouble explains a failed request to its client: a status and a sentence,
// or status 0 when the answer at hand is the right one.
func (o *outcome) trouble() (status int, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failure != nil {
		return explain(o.failure)
	}
	switch {
	case o.err != nil:
		return explain(o.err)
	case o.status == http.StatusNotFound, o.status == http.StatusGone:
		return 0, ""
	case o.status >= http.StatusBadRequest:
		return explain(&statusError{code: o.status})
	}
	return 0, ""
}

// explain is what an error means to a client.
func explain(err error) (status int, text string) {
	if refused, ok := errors.AsType[*statusError](err); ok {
		return refused.explain()
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		return http.StatusForbidden, refused.Error()
	}
	if bad, ok := errors.AsType[*badAnswer](err); ok {
		return http.StatusBadGateway, bad.Error()
	}
	if queue, ok := errors.AsType[*busy](err); ok {
		return http.StatusServiceUnavailable, queue.Error()
	}
	if down, ok := errors.AsType[*unreachable](err); ok {
		return http.StatusBadGateway, down.Error()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !isLocal(err):
		return http.StatusNotFound, err.Error()
	case isLocal(err):
		return http.StatusInternalServerError, "this instance cannot keep temporary files: " + lastCause(err)
	case isTimeout(err):
		return http.StatusGatewayTimeout, "the upstream proxy did not answer in time"
	}
	if silent, ok := errors.AsType[*unanswered](err); ok && silent.cause() != "" {
		return http.StatusBadGateway, silent.cause().Sentence(silent.host)
	}
	return http.StatusBadGateway, "the upstream proxy could not be reached, or its answer broke off"
}

// report writes why the upstream gave no answer into the header of the answer.
func (o *outcome) report(header http.Header) {
	if silent, ok := errors.AsType[*unanswered](o.cause()); ok {
		silent.cause().Report(header, silent.host)
	}
}

// lastCause is the innermost error: the path of a file is of no use to a client.
func lastCause(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// isTerminated reports whether the answer ended early.
func (o *outcome) isTerminated() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := errors.AsType[*terminated](o.failure)
	return ok
}

// cause is what goes to the log.
func (o *outcome) cause() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.failure, o.err)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}
