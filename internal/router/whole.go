package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/go-logr/logr"
)

const (
	// beginTime is how long an instance may take to begin an answer: it may have
	// to ask its upstream first.
	beginTime = 10 * time.Second
	// endTime is how long it may then take to send the rest.
	endTime = 2 * time.Second
	// maxWhole bounds an answer, in bytes: it is held in memory. A tile of a
	// checksum database has 8 KiB, the records of one some 60.
	maxWhole = 1 << 20
)

// WholeOptions say which answers a client gets whole or not at all.
type WholeOptions struct {
	// Listen is the address where HAProxy passes such requests on, on loopback;
	// empty: it does not.
	Listen string
	// Attempts are the URLs under which HAProxy gives the answers of instances,
	// to be asked one after the other.
	Attempts []string
}

// newWhole returns what answers a request once all of the answer has arrived,
// by another attempt if need be.
//
// The go command goes on to the next entry of GOPROXY after any error when it
// wants a module. Of the checksum database it chooses one entry, and when one
// answer of that breaks off or hangs in the middle, the command fails.
func newWhole(o WholeOptions, log logr.Logger) (http.Handler, error) {
	a := attempts{next: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}}
	for _, text := range o.Attempts {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("attempt %q is no URL", text)
		}
		if u.Path == "" {
			u.Path = "/" // what is joined to nothing would be relative
		}
		a.bases = append(a.bases, u)
	}
	if len(a.bases) == 0 {
		return nil, errors.New("no attempts are given")
	}
	return &httputil.ReverseProxy{
		Rewrite:   func(*httputil.ProxyRequest) {}, // each attempt has its own
		Transport: a,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the client has left
			}
			log.Error(err, "No attempt brought a whole answer", "path", r.URL.Path, "requestID", r.Header.Get("X-Request-ID"))
			http.Error(w, fmt.Sprintf("no instance gave a whole answer: %v (request %s)", err, r.Header.Get("X-Request-ID")), http.StatusBadGateway)
		},
	}, nil
}

// attempts asks one after the other for a whole answer. What an instance
// refuses is an answer; what it fails at is not.
type attempts struct {
	bases []*url.URL
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a attempts) RoundTrip(r *http.Request) (*http.Response, error) {
	var errs []error
	for i, base := range a.bases {
		resp, err := a.once(r, base)
		if err == nil && resp.StatusCode >= http.StatusInternalServerError && i < len(a.bases)-1 {
			err = errors.New(resp.Status)
		}
		if err == nil || r.Context().Err() != nil {
			return resp, err
		}
		errs = append(errs, fmt.Errorf("attempt %d: %w", i+1, err))
	}
	return nil, errors.Join(errs...)
}

func (a attempts) once(r *http.Request, base *url.URL) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	timer := time.AfterFunc(beginTime, func() { cancel(fmt.Errorf("no answer began within %s", beginTime)) })
	defer timer.Stop()
	out := r.Clone(ctx)
	out.URL = base.JoinPath(r.URL.EscapedPath())
	out.URL.RawQuery, out.Host = r.URL.RawQuery, base.Host
	resp, err := a.next.RoundTrip(out)
	if err != nil {
		return nil, because(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	timer.Stop()
	end := time.AfterFunc(endTime, func() { cancel(fmt.Errorf("the answer stopped in the middle for %s", endTime)) })
	defer end.Stop()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxWhole+1))
	if err != nil {
		return nil, because(ctx, err)
	}
	if len(body) > maxWhole {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxWhole)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// because is why a request was given up, or else what went wrong.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		return cause
	}
	return err
}
