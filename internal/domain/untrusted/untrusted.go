package untrusted

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// MaxText bounds the text of an error, in bytes.
const MaxText = 4 << 10

// noAnswer stands for all errors whose own text may quote the server.
const noAnswer = "the request failed, or the answer is not valid HTTP"

// Cause returns why an HTTP request failed or its answer could not be read, in
// at most MaxText bytes and without anything that the server sent.
func Cause(err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the caller has the URL, and may have to redact it
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded,
		io.ErrUnexpectedEOF, io.EOF, http.ErrSchemeMismatch,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if text, ok := own(err); ok {
		return Bound(text)
	}
	return noAnswer
}

// own returns the text of an error that was made on this side of a connection.
func own(err error) (string, bool) {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error(), true
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error(), true
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate(e.Err), true
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return e.Msg, true
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout", true
	}
	return "", false
}

// certificate is why a server's certificate is refused. The names in it are
// the server's.
func certificate(err error) string {
	switch {
	case is[x509.UnknownAuthorityError](err):
		return "its certificate is signed by an unknown authority"
	case is[x509.HostnameError](err):
		return "its certificate is valid for other names"
	default:
		return "its certificate cannot be verified"
	}
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// Bound shortens a text to MaxText bytes of valid UTF-8.
func Bound(text string) string {
	const end = "…"
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= MaxText {
		return text
	}
	// A copy: the long text must not be kept because a part of it is.
	return strings.Clone(strings.ToValidUTF8(text[:MaxText-len(end)], "")) + end
}
