package proxy

import (
	"context"
	"errors"
	"fmt"
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

	mu       sync.Mutex
	status   int            // of the last upstream answer
	err      error          // of the last upstream request that got no answer
	fetch    error          // what a fetch ended with
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

// attempt counts requests for a URL on behalf of one client request.
func (o *outcome) attempt(url string) int {
	if o == nil {
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
	return o.fetch != nil || o.err != nil || o.status >= http.StatusInternalServerError || o.status == http.StatusTooManyRequests
}

func (o *outcome) fetched(err error) {
	if o == nil || err == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetch = err
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

// explain adds the upstream's last answer to a fetch's error, in place of "gave
// up".
func (o *outcome) explain(err error) error {
	if o == nil || err == nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, gaveUp := errors.AsType[errGiveUp](err); gaveUp && o.err != nil {
		err = o.err
	}
	return &fetchError{status: o.status, err: err}
}

// fetchError is a failed fetch with the upstream's answer, so that every
// request that waited for the same fetch can report it to its client.
type fetchError struct {
	status int
	err    error
}

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// trouble explains a failed request to its client: a status and a sentence,
// or status 0 when the library's own answer is the right one.
func (o *outcome) trouble() (status int, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	err, upstream := o.fetch, o.status
	if failed, ok := errors.AsType[*fetchError](err); ok {
		upstream = failed.status
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "" // the upstream refused, or a check of its answer failed
	}
	if err == nil {
		err = o.err
	}
	if bad, ok := errors.AsType[*badAnswer](err); ok {
		return http.StatusBadGateway, bad.Error()
	}
	_, gaveUp := errors.AsType[errGiveUp](err)
	switch local, _ := errors.AsType[*fs.PathError](err); {
	case local != nil:
		return http.StatusInternalServerError, "this instance cannot keep temporary files: " + local.Err.Error()
	case isTimeout(err) && !gaveUp:
		return http.StatusGatewayTimeout, "the upstream proxy did not answer in time"
	case upstream == http.StatusUnauthorized, upstream == http.StatusForbidden, upstream == http.StatusUnavailableForLegalReasons:
		return http.StatusForbidden, fmt.Sprintf("the upstream proxy refused this with %d %s", upstream, http.StatusText(upstream))
	case upstream >= http.StatusInternalServerError, upstream == http.StatusTooManyRequests:
		return http.StatusBadGateway, fmt.Sprintf("the upstream proxy answered %d %s", upstream, http.StatusText(upstream))
	case err != nil:
		return http.StatusBadGateway, "the upstream proxy could not be reached, or its answer broke off"
	}
	return 0, ""
}

// cause is what goes to the log.
func (o *outcome) cause() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.fetch, o.err)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}
