package goproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/untrusted"
)

// The kinds of failure. An error of this package matches exactly one of them
// with errors.Is, save one made from wrong arguments, which matches
// ErrMalformed as well because it never reached a server.
var (
	// ErrNotFound means that the server answered 404 or 410: it has no such
	// module, version or database.
	ErrNotFound = errors.New("not found")
	// ErrRedirected means that the server answered with a redirect, and the HTTP
	// client does not follow any.
	ErrRedirected = errors.New("redirected")
	// ErrServer means that the server answered with any other status than 200.
	ErrServer = errors.New("server error")
	// ErrTimeout means that the caller's deadline passed, or a limit of the
	// transport, before the answer was complete.
	ErrTimeout = errors.New("timeout")
	// ErrUnreachable means that the connection could not be made or broke
	// before the answer was complete.
	ErrUnreachable = errors.New("unreachable")
	// ErrMalformed means that the answer was 200 and complete, but is not
	// what the protocol asks for, or exceeds a limit.
	ErrMalformed = errors.New("malformed answer")
)

// Error is a failed request.
type Error struct {
	// Kind is one of the Err… values above.
	Kind error
	// URL was asked, as package redact has it.
	URL string
	// Status is the HTTP status, 0 when none was received.
	Status int
	// Detail is for people: what was wrong with the answer, in words of our own.
	Detail string
	// Err is the cause, if there is one.
	Err error
}

// Error is what failed, where and why. It holds nothing that the server sent:
// errors end up in a status, and an address may be one that its reader cannot
// reach (see package untrusted).
func (e *Error) Error() string {
	text := fmt.Sprintf("GET %s: %v", e.URL, e.Kind)
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + untrusted.Cause(e.Err)
	}
	return text
}

// Is reports whether target is the error's kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// transportError classifies a failure of the connection.
func transportError(u *url.URL, status int, err error) *Error {
	// http.Client wraps everything in a url.Error whose text repeats the URL.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	kind := ErrUnreachable
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		(errors.As(err, &timeout) && timeout.Timeout()) {
		kind = ErrTimeout
	}
	return &Error{Kind: kind, URL: redact.Of(u), Status: status, Err: err}
}

func malformed(u *url.URL, format string, args ...any) *Error {
	return &Error{Kind: ErrMalformed, URL: redact.Of(u), Status: 200, Detail: fmt.Sprintf(format, args...)}
}
