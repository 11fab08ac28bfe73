package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/redact"
)

// InstanceHeader of an answer names the instance that gave it. HAProxy sets it
// for this program, and clients do not see it.
const InstanceHeader = "X-Gocache-Instance"

const (
	// databaseBegin is how long an instance may take to begin an answer of a
	// checksum database. HAProxy bounds the time for a module, which the
	// instance may have to fetch first.
	databaseBegin = 10 * time.Second
	// silence and archiveSilence are how long an answer that has begun may stop in
	// the middle. An archive may be written while it is sent.
	silence        = 2 * time.Second
	archiveSilence = 5 * time.Second
	// maxHeld and archiveHeld bound what is held in memory of an answer, in
	// bytes. What has no more goes to the client whole, or comes from the next
	// attempt. A tile of a checksum database has 8 KiB, most go.mod files less.
	maxHeld     = 1 << 20
	archiveHeld = 256 << 10
)

// AnswersOptions configure how answers reach clients complete and unaltered.
type AnswersOptions struct {
	// Listen is the address where HAProxy passes requests on, on loopback; empty:
	// it does not.
	Listen string
	// Attempts are the URLs under which HAProxy gives the answers of instances,
	// to be asked one after the other. A client that comes with the path of one
	// begins there.
	Attempts []string
	// DatabaseUpstreams are URLs of GOPROXY servers that are asked for what is of
	// a checksum database, before the instances are.
	DatabaseUpstreams []string
	// Private are modules in the syntax of GOPRIVATE whose names
	// DatabaseUpstreams do not get.
	Private string
	// Now is the clock.
	Now func() time.Time
	// Spool is a directory for archives while they are checked; empty: only those
	// that fit into memory are.
	Spool string
}

// answers requests an answer, one attempt after the other, until one has
// arrived complete and does not contradict a recorded checksum. While no instance
// is there at all, it waits for one that comes back (outage.go).
//
// The last attempt is passed as it comes: a recorded checksum may be wrong, and
// a client must not fail for it. So are refusals, and for modules errors of an
// instance: HAProxy has asked other instances then, and the go command asks the
// next entry of GOPROXY. For the checksum database the go command chooses one
// entry, and fails when one answer of that entry fails.
type answers struct {
	bases     []*url.URL
	upstreams []*url.URL
	private   string
	next      http.RoundTripper
	known     *learned
	archives  *archives
	outage    *outage
	refusals  *refusals
	metrics   *metrics
	log       logr.Logger
}

func newAnswers(o AnswersOptions, m *metrics, log logr.Logger) (*answers, error) {
	a := &answers{
		next:  &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second},
		known: newLearned(), archives: newArchives(o.Spool, log), outage: &outage{now: o.Now}, refusals: newRefusals(o.Now),
		metrics: m, log: log, private: o.Private,
	}
	var err error
	if a.bases, err = parseURLs(o.Attempts); err != nil {
		return nil, err
	}
	if len(a.bases) == 0 {
		return nil, errors.New("no attempts are given")
	}
	if a.upstreams, err = parseURLs(o.DatabaseUpstreams); err != nil {
		return nil, err
	}
	return a, nil
}

func parseURLs(texts []string) ([]*url.URL, error) {
	var urls []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("%q is no URL", redact.URL(text))
		}
		if u.Path == "" {
			u.Path = "/" // what is joined to nothing would be relative
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// handler serves HAProxy.
func (a *answers) handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // each attempt has its own URL
			if client := r.In.Header["X-Forwarded-For"]; client != nil { // HAProxy's, which it removes from the copy
				r.Out.Header["X-Forwarded-For"] = client
			}
		},
		Transport: a,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the client has left
			}
			a.log.Error(err, "No attempt brought a whole answer", "path", r.URL.Path, "requestID", r.Header.Get("X-Request-ID"))
			http.Error(w, fmt.Sprintf("no instance gave a whole answer: %v (request %s)", err, r.Header.Get("X-Request-ID")), http.StatusBadGateway)
		},
		// What breaks off on its way to a client is logged where it happens.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" { // HAProxy's check
			_, _ = io.WriteString(w, "ok\n")
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// errOther means that an answer is complete and contradicts a recorded checksum.
var errOther = errors.New("the answer does not match the checksum database")

// RoundTrip implements http.RoundTripper.
func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	began, waited := a.outage.now(), false
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		resp, err := a.ask(r)
		switch absent := err == nil && resp.Header.Get(absentHeader) != ""; {
		case err == nil && !absent:
			a.outage.end()
		case absent && a.outage.wait(began):
			if !waited {
				a.log.Info("No instance accepts the request; it waits for one that comes back", "path", r.URL.Path, "requestID", r.Header.Get("X-Request-ID"))
			}
			waited = true
			_ = resp.Body.Close() // an error text
			if !sleep(r.Context(), pause) {
				return nil, r.Context().Err()
			}
			continue
		}
		if waited {
			a.metrics.waited(resp, err)
		}
		if resp != nil {
			resp.Header.Del(absentHeader)
		}
		return resp, err
	}
}

// ask makes the attempts once. An answer that no instance gave has absentHeader.
func (a *answers) ask(r *http.Request) (*http.Response, error) {
	attempts := a.attempts(r)
	ask := attempts[0].asked
	if entry, path := a.entry(r.URL); entry > 0 && !ask.database {
		if resp, ok := a.refusals.of(path, r); ok {
			return resp, nil
		}
	}
	var spare *http.Response // whole, and not what is remembered
	var errs []error
	for n, one := range attempts {
		resp, err := one.send(r.Context())
		if err == nil && (spare != nil && resp.StatusCode != http.StatusOK || ask.database && resp.StatusCode >= one.refusal() && !one.last) {
			err = errors.Join(errors.New(resp.Status), resp.Body.Close())
		}
		switch {
		case errors.Is(err, errOther):
			spare = resp
		case err == nil:
			return resp, nil
		case r.Context().Err() != nil:
			return nil, err
		}
		errs = append(errs, fmt.Errorf("attempt %d: %w", n+1, err))
	}
	if spare != nil {
		a.known.forget(ask.line)
		return spare, nil
	}
	return nil, errors.Join(errs...)
}

// attempts are the requests to make, in this order.
func (a *answers) attempts(r *http.Request) (all []*attempt) {
	entry, path := a.entry(r.URL)
	ask := readPath(path)
	if ask.database && !module.MatchPrefixPatterns(a.private, ask.line.Path) {
		for _, base := range a.upstreams {
			all = append(all, &attempt{answers: a, request: r, asked: ask, base: base, path: path, instance: upstream})
		}
	}
	last := len(a.bases) - 1
	for n := range a.bases {
		all = append(all, &attempt{answers: a, request: r, asked: ask, base: a.bases[(entry+n)%len(a.bases)], path: path, final: entry == last, last: n == last})
	}
	return all
}

// entry is where a client begins, and what it asks for.
func (a *answers) entry(u *url.URL) (int, string) {
	path := u.EscapedPath()
	for i, base := range a.bases {
		if rest, ok := strings.CutPrefix(path, base.Path+"/"); ok && strings.Trim(base.Path, "/") != "" {
			return i, "/" + rest
		}
	}
	return 0, path
}

// attempt asks once.
type attempt struct {
	*answers
	asked
	request  *http.Request
	base     *url.URL
	path     string
	instance string // that answered; upstream: none is asked
	// final: the client will not come again; last: this will not be tried again.
	final, last bool
}

// upstream stands in logs and metrics where others have the name of an instance.
const upstream = "(upstream)"

// refusal is the lowest status after which another attempt for something of a
// checksum database is made. What an upstream redirects is not followed.
func (a *attempt) refusal() int {
	if a.instance == upstream {
		return http.StatusMultipleChoices
	}
	return http.StatusInternalServerError
}

// out is the request to send.
func (a *attempt) out(ctx context.Context) *http.Request {
	out := a.request.Clone(ctx)
	out.URL = a.base.JoinPath(a.path)
	out.URL.RawQuery, out.Host = a.request.URL.RawQuery, a.base.Host
	out.Header.Del("Accept-Encoding") // what is compressed cannot be compared
	if a.instance == upstream {       // what identifies a client is not for others
		out.Header = http.Header{"User-Agent": a.request.Header["User-Agent"]}
	}
	return out
}

// send returns an answer that is complete, or of which so much has arrived that
// it has to be passed on. With errOther the answer is complete as well.
func (a *attempt) send(ctx context.Context) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	out := a.out(ctx)
	part := out.Header.Get("Range") != ""
	begin := time.AfterFunc(databaseBegin, func() {
		if a.database {
			cancel(fmt.Errorf("no answer began within %s", databaseBegin))
		}
	})
	resp, err := a.next.RoundTrip(out)
	begin.Stop()
	if err != nil {
		err = because(ctx, err)
		cancel(nil)
		return nil, err
	}
	if a.instance != upstream {
		a.instance = resp.Header.Get(InstanceHeader)
	}
	resp.Header.Del(InstanceHeader)
	resp.Header.Del(absentHeader)
	if a.instance == "" && (resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable) {
		resp.Header.Set(absentHeader, "1") // HAProxy reached no instance
	}
	b := newBody(ctx, cancel, resp)
	resp.Body = b
	if !a.database {
		resp = a.refusals.record(a.path, a.instance, resp)
	}
	if !a.database && (resp.StatusCode != http.StatusOK || part || resp.Header.Get("Content-Encoding") != "") {
		return resp, nil
	}
	err = a.judge(resp, b)
	if err != nil && !errors.Is(err, errOther) {
		a.report(b.reason(), err)
		_ = b.Close()
		return nil, err
	}
	return resp, err
}

// judge reads as much of an answer as is held, and checks it if that is all.
func (a *attempt) judge(resp *http.Response, b *body) error {
	b.held.limit, b.timeout = maxHeld, silence
	if a.archive {
		b.held.limit, b.timeout = archiveHeld, archiveSilence
	}
	timeout := b.timeout
	if a.last && !a.database {
		b.timeout = 0
	}
	if err := b.fill(); err != nil {
		return err
	}
	if b.ended {
		_ = b.Close() // what is held stays
		return a.complete(resp, b)
	}
	if a.database {
		return fmt.Errorf("the answer has more than %d bytes", maxHeld)
	}
	if b.timeout = timeout; a.final {
		b.timeout = 0
	}
	b.fail = func(err error) { a.report(b.reason(), err) }
	if a.archive && a.known.has(a.line) {
		return a.onTheWay(resp, b)
	}
	return nil
}

// complete compares an answer that is all in memory with the recorded lines, or
// records its lines.
func (a *attempt) complete(resp *http.Response, b *body) error {
	content := b.held.Bytes()
	resp.ContentLength = int64(len(content))
	switch {
	case resp.StatusCode != http.StatusOK:
	case a.lookup:
		a.known.learn(a.line, content)
	case a.archive && a.known.has(a.line):
		return a.compare(a.archives.inMemory(content))
	case a.known.has(a.line):
		return a.compare(sumMod(content))
	}
	return nil
}

// onTheWay lets an archive be compared when its end arrives, which is held
// back until then.
func (a *attempt) onTheWay(resp *http.Response, b *body) error {
	p := a.archives.collect(resp.ContentLength)
	if p == nil {
		return nil
	}
	_, _ = p.Write(b.held.Bytes())
	b.copy = p
	b.end = func() error {
		found, ok := p.sum()
		if !ok {
			return nil
		}
		err := a.compare(found)
		if err != nil && a.final {
			a.known.forget(a.line)
			return nil
		}
		return err
	}
	return nil
}

// compare fails when an answer contradicts the recorded lines. An answer on
// which two instances agree is used instead: no further attempt would have
// another result.
func (a *attempt) compare(found string) error {
	expected, refused := a.known.refuse(a.line, found, a.instance)
	if expected == "" {
		return nil
	}
	a.report(reasonMismatch, errOther, "expected", expected, "found", found)
	if !refused {
		return nil
	}
	return errOther
}

// report logs and counts a bad answer of an instance.
func (a *attempt) report(reason string, err error, more ...any) {
	if a.request.Context().Err() != nil {
		return // the client has left
	}
	a.metrics.spoiled.WithLabelValues(a.instance, reason).Inc()
	a.log.Info("An instance spoiled an answer", append([]any{"instance", a.instance, "reason", reason, "error", err.Error(),
		"path", a.path, "requestID", a.request.Header.Get("X-Request-ID")}, more...)...)
}

// because is why a request was given up, or else what went wrong.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		return cause
	}
	return err
}
