package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/untrusted"
)

// requestIDHeader carries one id from the router to the upstream.
const requestIDHeader = "X-Request-ID"

// sumdbScheme marks requests to a checksum database. The library requires one
// fixed address for it; where it really is, is decided per request.
const sumdbScheme = "sumdb"

// maxAttempts limits how often one client request asks the same upstream URL.
// The library alone would ask ten times: with three tries of a router and
// three of the go command that makes ninety.
const maxAttempts = 3

func sumdbURL(name string) string { return sumdbScheme + "://" + name }

// upstream sends requests to the proxies of GOPROXY: it bounds each in time and
// number, passes the request id on, finds the way to the checksum database, and
// records what became of it.
type upstream struct {
	base    http.RoundTripper
	proxies []*url.URL
	list    []upstreamEntry
	asker   asker
	routes  sync.Map // checksum database name → route
	timeout time.Duration
	metrics *metrics
	now     func() time.Time
}

func newUpstream(env Environment, secrets, secretHosts string, timeout time.Duration, m *metrics, now func() time.Time) (*upstream, error) {
	u := &upstream{timeout: timeout, metrics: m, now: now, list: env.list()}
	u.asker = asker{client: &http.Client{Transport: u}, stall: min(stallAfter, timeout), received: m.received}
	for i, entry := range u.list {
		if entry.url == "off" {
			continue
		}
		parsed, err := parseUpstream(entry.url)
		if err != nil {
			return nil, fmt.Errorf("GOPROXY=%q: %q %w", redact.List(env.GOPROXY), redact.URL(entry.url), err)
		}
		u.list[i].base = parsed.JoinPath("/") // an absolute path even if it had none
		u.proxies = append(u.proxies, u.list[i].base)
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	transport.RegisterProtocol("file", http.NewFileTransport(http.Dir("/"))) //nolint:gosec // a file:// upstream is any directory that the administrator names
	known, err := newCredentials(secrets, secretHosts, u.proxies)
	if err != nil {
		return nil, err
	}
	u.base = authorized{transport, known}
	return u, nil
}

// parseUpstream reads one entry of GOPROXY. The errors complete a sentence about
// it, and do not quote it: it may hold credentials.
func parseUpstream(entry string) (*url.URL, error) {
	u, err := url.Parse(entry)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return nil, fmt.Errorf("is not the URL of a proxy: it names no host, such as %s://proxy.example.com", u.Scheme)
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path) {
			return nil, errors.New("is not the URL of a directory: it needs an absolute path and no host, such as file:///modules")
		}
	case "":
		return nil, errors.New("is not the URL of a proxy: it has no scheme, such as https://")
	default:
		return nil, fmt.Errorf("is not the URL of a proxy: scheme %q is none of https, http and file", u.Scheme)
	}
	return u, nil
}

// errGiveUp ends the library's retries, which stop at a deadline only.
type errGiveUp struct{ url string }

func (e errGiveUp) Error() string {
	return fmt.Sprintf("gave up on %s after %d attempts", e.url, maxAttempts)
}
func (errGiveUp) Is(target error) bool { return target == context.DeadlineExceeded }

// RoundTrip implements http.RoundTripper.
func (u *upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	o := outcomeOf(req.Context())
	if clean := redact.Of(req.URL); o.attempt(clean) > maxAttempts {
		return nil, errGiveUp{clean} // the library's own
	}
	start := u.now()
	resp, err := u.bounded(req, o)
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	o.upstream(status, err)
	u.metrics.upstream(status, err, u.now().Sub(start))
	return resp, err
}

// bounded sends a copy of the request that carries the id and ends with the
// timeout even if the caller set none.
func (u *upstream) bounded(req *http.Request, o *outcome) (*http.Response, error) {
	ctx, cancel := req.Context(), context.CancelFunc(func() {})
	if !o.isFetch() {
		ctx, cancel = context.WithTimeout(ctx, u.timeout)
	}
	out := req.Clone(ctx)
	if o != nil && o.requestID != "" {
		out.Header.Set(requestIDHeader, o.requestID)
	}
	send := u.send
	if out.URL.Scheme == sumdbScheme {
		send = u.sumdb
	}
	resp, err := send(out)
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: cancel}
	return resp, nil
}

// sumdb asks for a page of a checksum database.
func (u *upstream) sumdb(req *http.Request) (*http.Response, error) {
	base, refusal, err := u.route(req)
	if err != nil || refusal != nil {
		return refusal, err
	}
	resp, err := u.get(req, base.JoinPath(req.URL.Path))
	if err != nil || resp.StatusCode != http.StatusOK || req.Method != http.MethodGet {
		return resp, err
	}
	return checkedPage(req.URL.Path, resp)
}

// checkedPage reads a page of a checksum database that is stored for ever, if it can be right.
func checkedPage(path string, resp *http.Response) (*http.Response, error) {
	if !strings.HasPrefix(path, "/lookup/") && !strings.HasPrefix(path, "/tile/") {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // read only
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	if err != nil {
		return nil, broken(err)
	}
	if err := checkPage(path, page); err != nil {
		return nil, &badAnswer{fmt.Errorf("%s: %w", strings.TrimPrefix(path, "/"), err)}
	}
	resp.Body = io.NopCloser(bytes.NewReader(page))
	return resp, nil
}

// retryRoute is how long a database is asked for at its own address before the upstream
// proxies are asked again whether they proxy it: that may have been switched on since.
const retryRoute = time.Minute

// route is where the pages of a checksum database are.
type route struct {
	base  *url.URL
	until time.Time // zero: for good
}

// route is where the pages of a checksum database are, or the answer of an upstream that
// refuses to report it. While that is not known again, it is where it was.
func (u *upstream) route(req *http.Request) (*url.URL, *http.Response, error) {
	name := req.URL.Host
	before, known := u.routes.Load(name)
	if known {
		if r := before.(route); r.until.IsZero() || u.now().Before(r.until) {
			return r.base, nil, nil
		}
	}
	found, refusal, err := u.find(req)
	if found.base == nil {
		if !known {
			return nil, refusal, err
		}
		if refusal != nil {
			drain(refusal)
		}
		found = route{before.(route).base, u.now().Add(retryRoute)}
	}
	u.routes.Store(name, found)
	return found.base, nil, nil
}

// find finds the address of a checksum database, as the go command does: the
// first upstream proxy that reports that it proxies it, or its own address if
// all of them report that they do not. An answer that is neither is returned as
// the refusal.
func (u *upstream) find(req *http.Request) (found route, refusal *http.Response, err error) {
	for _, proxy := range u.proxies {
		candidate := proxy.JoinPath("sumdb", req.URL.Host)
		supported, err := u.get(req, candidate.JoinPath("supported"))
		if err != nil {
			return route{}, nil, err
		}
		switch supported.StatusCode {
		case http.StatusOK:
			drain(supported)
			return route{base: candidate}, nil, nil
		case http.StatusNotFound, http.StatusGone:
			drain(supported)
		default:
			return route{}, supported, nil
		}
	}
	return route{&url.URL{Scheme: "https", Host: req.URL.Host, Path: "/"}, u.now().Add(retryRoute)}, nil, nil
}

func (u *upstream) get(req *http.Request, target *url.URL) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL, out.Host = target, ""
	resp, err := u.send(out)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", strings.TrimSuffix(redact.Of(target), "/"), err)
	}
	return resp, nil
}

// send sends a request. Its error names the server that gave no answer.
func (u *upstream) send(req *http.Request) (*http.Response, error) {
	resp, err := u.base.RoundTrip(req)
	if err != nil {
		return nil, &unanswered{host: req.URL.Host, err: err}
	}
	return resp, nil
}

// unanswered is the error of a request that no upstream answered.
type unanswered struct {
	host string
	err  error
}

func (e *unanswered) Error() string { return e.err.Error() }
func (e *unanswered) Unwrap() error { return e.err }

// Timeout is asked for by the URL errors that wrap it.
func (e *unanswered) Timeout() bool { return isTimeout(e.err) }

// Temporary makes it an error of the network.
func (e *unanswered) Temporary() bool { return false }

// cause is why there was no answer, as operators and clients get it: one of the
// sentences of package goproxy, or empty.
func (e *unanswered) cause() goproxy.Cause {
	switch {
	case is[*tls.CertificateVerificationError](e.err):
		return goproxy.CertificateCause(untrusted.Cause(e.err))
	case is[*net.DNSError](e.err):
		return goproxy.UnknownHost
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return goproxy.Refused
	case e.Timeout():
		return goproxy.TimedOut
	}
	return ""
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // only to reuse the connection
	_ = resp.Body.Close()
}

type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
