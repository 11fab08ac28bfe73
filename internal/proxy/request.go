package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"gocache.dev/operator/internal/domain/redact"
)

// statusError is an answer of an upstream other than a file.
type statusError struct {
	code int
	text string
	// versionControl: it is of the server for version control, whose text is for the
	// client.
	versionControl bool
}

func (e *statusError) Error() string {
	if e.versionControl {
		return fmt.Sprintf("%d %s", e.code, e.text)
	}
	return strings.TrimSpace(fmt.Sprintf("the upstream proxy answered %d %s\n%s", e.code, http.StatusText(e.code), e.text))
}

// Is makes "there is no such file" one of fs.ErrNotExist.
func (e *statusError) Is(target error) bool {
	return target == fs.ErrNotExist && (e.code == http.StatusNotFound || e.code == http.StatusGone)
}

// explain passes on an answer about the module: that it is not there, or is
// forbidden. An answer about the upstream itself, or about this instance, gets
// another status.
func (e *statusError) explain() (status int, text string) {
	switch {
	case e.versionControl:
		if e.code == http.StatusInternalServerError {
			return http.StatusBadGateway, e.text
		}
		return e.code, e.text
	case e.code == http.StatusNotFound, e.code == http.StatusGone:
		if e.text == "" {
			return e.code, "not found"
		}
		return e.code, e.text
	case e.code == http.StatusUnauthorized, e.code == http.StatusProxyAuthRequired:
		return http.StatusForbidden, fmt.Sprintf("the upstream proxy refused this with %d %s", e.code, http.StatusText(e.code))
	case e.code == http.StatusTooManyRequests, e.code >= http.StatusInternalServerError, e.code < http.StatusBadRequest:
		return http.StatusBadGateway, fmt.Sprintf("the upstream proxy answered %d %s", e.code, http.StatusText(e.code))
	}
	return e.code, strings.TrimSpace(fmt.Sprintf("the upstream proxy refused this with %d %s\n%s", e.code, http.StatusText(e.code), e.text))
}

// final reports whether an upstream forbids a module.
func (e *statusError) final() bool {
	return e.code == http.StatusForbidden || e.code == http.StatusUnavailableForLegalReasons
}

// off is the end of a list of proxies.
type off struct{}

func (off) Error() string        { return "module lookup disabled by GOPROXY=off" }
func (off) Is(target error) bool { return target == fs.ErrNotExist }

// walk asks the proxies of GOPROXY in their order for a file, as the go command
// does, until take accepts an answer.
func (u *upstream) walk(ctx context.Context, name string, take func(*http.Response) error) error {
	var last error = off{}
	for _, entry := range u.list {
		if entry.base == nil {
			if len(u.list) == 1 {
				return off{}
			}
			return last
		}
		last = u.attempts(ctx, fileURL(entry.base, name), take)
		if last == nil || ctx.Err() != nil || isFinal(last) {
			return last
		}
		if !entry.fallThrough && !errors.Is(last, fs.ErrNotExist) {
			return last
		}
	}
	return last
}

// isFinal reports whether no other answer can help.
func isFinal(err error) bool {
	_, begun := errors.AsType[*brokenOff](err)
	_, waits := errors.AsType[*tooMuch](err)
	return begun || waits || isLocal(err)
}

// fileURL is the address of a file below that of a proxy.
func fileURL(base *url.URL, name string) *url.URL {
	return base.JoinPath((&url.URL{Path: "/" + name}).EscapedPath())
}

// attempts asks for one URL until take accepts an answer, unless there is no
// use in asking again.
func (u *upstream) attempts(ctx context.Context, target *url.URL, take func(*http.Response) error) error {
	for n, pause := 1, 100*time.Millisecond; ; n, pause = n+1, 3*pause {
		err := u.asker.ask(ctx, target, nil, u.timeout, take)
		if err == nil || n == maxAttempts || ctx.Err() != nil || !passes(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// passes reports whether the same request may succeed a moment later.
func passes(err error) bool {
	if answer, ok := errors.AsType[*statusError](err); ok {
		return answer.code == http.StatusTooManyRequests || answer.code >= http.StatusInternalServerError
	}
	if _, bad := errors.AsType[*badAnswer](err); bad || isFinal(err) {
		return false
	}
	return !isTimeout(err)
}

// errSilent is an upstream that hangs.
var errSilent = fmt.Errorf("no answer came: %w", os.ErrDeadlineExceeded)

// asker sends requests for files.
type asker struct {
	client   *http.Client
	stall    time.Duration // how long a body may be silent
	received func(bytes int)
}

// ask sends one request and gives a good answer to take. The answer has to begin
// within the timeout, and to go on without pauses that are longer than a.stall.
func (a asker) ask(ctx context.Context, target *url.URL, header http.Header, timeout time.Duration, take func(*http.Response) error) error {
	ctx, cancel := context.WithCancelCause(withOutcome(ctx, &outcome{requestID: outcomeOf(ctx).id(), fetch: true}))
	defer cancel(nil)
	timer := time.AfterFunc(timeout, func() { cancel(errSilent) })
	defer timer.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("GET %s: the address cannot be requested", redact.Of(target)) // the error quotes it
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := a.client.Do(req)
	if quoting, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("GET %s: %w", redact.Of(target), quoting.Err)
	}
	if err != nil {
		return silence(ctx, err)
	}
	timer.Stop()
	body := &timedBody{ReadCloser: resp.Body, ctx: ctx, timer: timer, timeout: a.stall, received: a.received}
	resp.Body = body
	defer func() { _ = resp.Body.Close() }() // read as far as it is of use
	if resp.StatusCode != http.StatusOK {
		body.received = func(int) {}                                   // no file
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText)) // what there is
		return &statusError{code: resp.StatusCode, text: strings.TrimSpace(string(text))}
	}
	return take(resp)
}

// silence distinguishes a deadline of our own from other errors.
func silence(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}

// timedBody ends a body that is silent for too long.
type timedBody struct {
	io.ReadCloser
	ctx      context.Context //nolint:containedctx // that of the request, whose end ends the body
	timer    *time.Timer
	timeout  time.Duration
	received func(bytes int)
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.received(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = silence(b.ctx, err)
	}
	return n, err
}
