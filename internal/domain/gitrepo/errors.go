package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"gocache.dev/operator/internal/domain/untrusted"
)

// MaxError bounds the text of an error of this package, in bytes.
const MaxError = untrusted.MaxText

// remoteError is a request that failed. It holds its text alone, and not the
// library's error, which keeps the whole answer.
type remoteError struct {
	text string
	kind error // what errors.Is finds; nil: nothing
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return e.kind }

// explain words a failed request: what can be done about the common refusals,
// and nothing that the server sent.
func explain(doing string, err error) error {
	e := &remoteError{text: untrusted.Bound(doing + ": " + cause(err))}
	for _, kind := range []error{
		context.DeadlineExceeded, context.Canceled, transport.ErrAuthenticationRequired,
		transport.ErrAuthorizationFailed, transport.ErrRepositoryNotFound, transport.ErrEmptyRemoteRepository,
	} {
		if errors.Is(err, kind) {
			e.kind = kind
		}
	}
	return e
}

// sshText are the errors of the SSH client that are its own words: one that
// begins otherwise, or quotes the server, does not match.
var sshText = regexp.MustCompile(`^(ssh: (handshake failed: )?)?(ssh: (unable to authenticate|no common algorithm|must specify)|knownhosts: )[^"]*$`)

func cause(err error) string {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return transport.ErrAuthenticationRequired.Error() + ": see whether the Secret's credentials may read this repository"
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return transport.ErrAuthorizationFailed.Error() + ": see whether the Secret's credentials may read this repository"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return transport.ErrRepositoryNotFound.Error() + ": see the URL; servers also answer this way without permission to read it"
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return transport.ErrEmptyRemoteRepository.Error()
	case errors.Is(err, errTooManyRefs):
		return errTooManyRefs.Error()
	case errors.Is(err, errNotRefs), errors.Is(err, pktline.ErrInvalidPktLen), errors.Is(err, packp.ErrEmptyInput):
		return errNotRefs.Error()
	}
	// These two wrap an error and do not unwrap.
	if e, ok := errors.AsType[*plumbing.UnexpectedError](err); ok {
		return cause(e.Err)
	}
	if e, ok := errors.AsType[*plumbing.PermanentError](err); ok {
		return cause(e.Err)
	}
	if e, ok := errors.AsType[*proxyError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*untrusted.RefusedError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*githttp.Err](err); ok {
		return fmt.Sprintf("the server answered with status %d", e.StatusCode())
	}
	if _, ok := errors.AsType[*packp.ErrUnexpectedData](err); ok {
		return errNotRefs.Error()
	}
	if _, ok := errors.AsType[*pktline.ErrorLine](err); ok {
		return "the server refused the request"
	}
	if text := err.Error(); sshText.MatchString(text) {
		return text
	}
	return untrusted.Cause(err)
}
