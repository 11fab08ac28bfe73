package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
)

// stallTimeout ends a connection whose client takes nothing for so long.
const stallTimeout = time.Minute

// routes puts what a router and the kubelet ask beside the proxy. None of these paths
// can be a module's: those hold "/@" or begin with "sumdb/". All else that the instance
// reports of itself is for the operator and scrapers: see [Server.Pages].
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("/readyz", s.readyz)
	modules := s.limited(http.HandlerFunc(s.modules))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The deadline of this connection's previous answer may have passed.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		switch r.URL.Path {
		case "/healthz", "/readyz":
			mux.ServeHTTP(w, r)
		default: // the mux would redirect "//", and module paths are not to be cleaned
			s.observed(w, r, modules)
		}
	})
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if report := s.ready.report(r.Context()); report.Problem != "" {
		plain(w, http.StatusServiceUnavailable, "not ready: "+report.Problem)
		return
	}
	plain(w, http.StatusOK, "ok")
}

// observed gives a request its id, and writes down how it went.
func (s *Server) observed(w http.ResponseWriter, r *http.Request, next http.Handler) {
	start := s.now()
	o := &outcome{requestID: requestID(r)}
	w.Header().Set(requestIDHeader, o.requestID)
	defer o.close()
	answer := &answerWriter{ResponseWriter: w, controller: http.NewResponseController(w), now: s.now, outcome: o}
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		took := s.now().Sub(start)
		s.metrics.request(kindOf(r.URL.Path), answer.status, took)
		log := s.log.WithValues("requestID", o.requestID, "method", r.Method, "path", r.URL.Path, "status", answer.status,
			"bytes", answer.written, "seconds", took.Seconds(), "client", r.RemoteAddr)
		if cause := o.cause(); cause != nil && r.Context().Err() == nil && (answer.status >= http.StatusInternalServerError || o.isTerminated()) {
			log.Error(cause, "Served")
			return
		}
		log.Info("Served")
	}()
	next.ServeHTTP(answer, r.WithContext(withOutcome(r.Context(), o)))
	answer.finish(s.name)
}

// limited refuses what exceeds the number of requests served at once.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.slots.TryAcquire(1) {
			w.Header().Set("Retry-After", "1")
			plain(w, http.StatusServiceUnavailable, "this instance serves as many requests as it may; try again")
			return
		}
		defer s.slots.Release(1)
		next.ServeHTTP(w, r)
	})
}

// modules serves the GOPROXY protocol.
func (s *Server) modules(w http.ResponseWriter, r *http.Request) {
	if s.refusedLookup(w, r) || s.immutableSumDBPage(w, r) {
		return
	}
	storeOnly, _ := strconv.ParseBool(r.Header.Get(storeOnlyHeader))
	if strings.HasPrefix(r.URL.Path, "/sumdb/") || r.Method != http.MethodGet && r.Method != http.MethodHead {
		ctx, cancel := context.WithTimeout(r.Context(), s.fetchTimeout)
		defer cancel()
		s.library.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	t, err := parseTarget(r.URL.Path)
	if err != nil {
		notFound(w, 24*60*60, "not found: "+strings.TrimPrefix(err.Error(), "not found: "))
		return
	}
	w.Header().Set("Content-Type", t.contentType())
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", t.maxAge()))
	if p := s.rules.current(); p != nil {
		s.guarded(w, r, t, p, storeOnly)
		return
	}
	s.serve(w, r, t, storeOnly)
}

// serve answers with a file.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, t target, storeOnly bool) {
	s.moved.consider(r.Context(), t)
	switch {
	case storeOnly:
		if !s.fromStore(w, r, t) {
			notFound(w, t.maxAge(), "not found: temporarily unavailable")
		}
	case t.mutable:
		s.current(w, r, t)
	case !s.fromStore(w, r, t):
		s.fetched(w, r, t)
	}
}

// storeOnlyHeader of a request has a server answer from its store alone.
const storeOnlyHeader = "Disable-Module-Fetch"

// fromStore answers from the store, if it has the file.
func (s *Server) fromStore(w http.ResponseWriter, r *http.Request, t target) bool {
	e, err := s.store.open(t.name)
	if err != nil {
		return false
	}
	defer func() { _ = e.Close() }() // read only
	w.Header().Set("ETag", e.ETag())
	http.ServeContent(w, r, "", time.Time{}, e)
	return true
}

// fetched answers with what the upstream has.
func (s *Server) fetched(w http.ResponseWriter, r *http.Request, t target) {
	if s.leftToClients(w, r, t) {
		return
	}
	fl := s.fetcher.join(r.Context(), t, clientOf(r))
	defer fl.release()
	if err := fl.serve(w, r); err != nil {
		s.fail(w, r, err)
	}
}

// current answers with the upstream's present answer to what may change. What the
// store has is served in its place if the upstream fails, or takes long.
func (s *Server) current(w http.ResponseWriter, r *http.Request, t target) {
	if s.leftToClients(w, r, t) {
		return
	}
	fl := s.fetcher.join(r.Context(), t, clientOf(r))
	defer fl.release()
	err := s.fetcher.waitFor(r.Context(), fl)
	if err == nil {
		err = fl.serve(w, r)
		if err == nil {
			return
		}
	}
	if refused, ok := errors.AsType[*statusError](err); ok && refused.final() {
		s.fail(w, r, err)
		return
	}
	outcomeOf(r.Context()).fetched(err) // marks the answer as a stale one
	s.fetcher.newest(r.Context(), t)
	if !s.fromStore(w, r, t) {
		s.fail(w, r, err)
	}
}

// leftToClients answers for modules that the settings send around every proxy.
func (s *Server) leftToClients(w http.ResponseWriter, r *http.Request, t target) bool {
	if !module.MatchPrefixPatterns(s.direct, t.module.Path) {
		return false
	}
	if t.mutable && s.fromStore(w, r, t) {
		return true
	}
	s.fail(w, r, &notServed{t.module.Path})
	return true
}

// notServed is a 404: the client may fetch the module by itself.
type notServed struct{ path string }

func (e *notServed) Error() string {
	return fmt.Sprintf("%s matches GONOPROXY or GOPRIVATE of this proxy, which does not fetch directly: "+
		"name an upstream proxy that serves it, or let clients fetch it themselves", e.path)
}
func (*notServed) Is(target error) bool { return target == fs.ErrNotExist }

// fail answers with an error, or ends an answer that is under way.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	outcomeOf(r.Context()).fetched(err)
	if ended, ok := errors.AsType[*terminated](err); ok {
		if !ended.noticed {
			panic(http.ErrAbortHandler)
		}
		return
	}
	status, text := explain(err)
	for _, name := range []string{"Etag", "Content-Length"} {
		w.Header().Del(name)
	}
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	plain(w, status, text)
}

func notFound(w http.ResponseWriter, maxAge int, text string) {
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", maxAge))
	plain(w, http.StatusNotFound, text)
}

// clientOf is the address that shares belong to: that of the connection, or of the
// router's client if the router names it.
func clientOf(r *http.Request) string {
	if forwarded := r.Header.Get("X-Forwarded-For"); forwarded != "" {
		return strings.TrimSpace(forwarded[strings.LastIndex(forwarded, ",")+1:])
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// refusedLookup refuses to look up a private module in a checksum database: the
// database would learn its name. The go command makes no other request after such a
// refusal. A lookup whose module cannot be read is refused too.
func (s *Server) refusedLookup(w http.ResponseWriter, r *http.Request) bool {
	name, isSumDB := strings.CutPrefix(path.Clean("/"+r.URL.Path), "/sumdb/")
	_, asked, isLookup := strings.Cut(name, "/lookup/")
	if !isSumDB || !isLookup {
		return false
	}
	at := strings.LastIndex(asked, "@")
	modulePath, err := module.UnescapePath(asked[:max(at, 0)])
	switch {
	case err != nil || at < 0:
		plain(w, http.StatusNotFound, "not found: a lookup names MODULE@VERSION, escaped as in the GOPROXY protocol")
	case s.private(modulePath):
		plain(w, http.StatusForbidden, fmt.Sprintf("%s is private to this proxy (spec.privateModules.patterns) and is not looked up in a checksum database: set GONOSUMDB to these patterns", modulePath))
	default:
		return false
	}
	return true
}

// immutableSumDBPage answers from the store what can never change in a
// checksum database: records and tiles, also those of which a part is filled, since
// their name has how much. The library would ask the upstream each time.
func (s *Server) immutableSumDBPage(w http.ResponseWriter, r *http.Request) bool {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if !strings.HasPrefix(name, "sumdb/") || path.Clean(r.URL.Path) != r.URL.Path ||
		(r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return false
	}
	if !strings.Contains(name, "/lookup/") && !strings.Contains(name, "/tile/") {
		return false
	}
	e, err := s.store.open(name)
	if err != nil {
		return false
	}
	defer func() { _ = e.Close() }() // read only
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if strings.Contains(name, "/tile/") {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	w.Header().Set("ETag", e.ETag())
	http.ServeContent(w, r, "", time.Time{}, e)
	return true
}

// answerWriter holds an error answer back so that finish can explain it, and
// keeps a client that reads nothing from holding a connection for ever.
type answerWriter struct {
	http.ResponseWriter
	controller *http.ResponseController
	now        func() time.Time
	outcome    *outcome
	status     int
	written    int64
	text       bytes.Buffer // of an error
}

const maxErrorText = 4 << 10

// WriteHeader implements http.ResponseWriter.
func (a *answerWriter) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if status < http.StatusBadRequest {
		if a.outcome.upstreamFailed() { // what is stored is better than nothing
			a.Header().Set(probe.StaleHeader, probe.StaleValue)
			a.outcome.report(a.Header())
		}
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (a *answerWriter) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.status >= http.StatusBadRequest {
		a.text.Write(p[:min(len(p), maxErrorText-min(a.text.Len(), maxErrorText))])
		return len(p), nil
	}
	// Not every ResponseWriter has deadlines; those in tests do without.
	_ = a.controller.SetWriteDeadline(a.now().Add(stallTimeout))
	n, err := a.ResponseWriter.Write(p)
	a.written += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (a *answerWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// finish sends the error that was held back. The go command shows a text of
// up to 8 lines and 648 bytes, up to the first blank line.
func (a *answerWriter) finish(instance string) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.status < http.StatusBadRequest {
		return
	}
	text := strings.TrimSpace(a.text.String())
	if status, sentence := a.outcome.trouble(); status != 0 {
		a.status, text = status, sentence
		a.outcome.report(a.Header())
		if status != http.StatusNotFound && status != http.StatusGone {
			a.Header().Set("Cache-Control", "no-store")
		}
	}
	if text == "" {
		text = http.StatusText(a.status)
	}
	body := fmt.Sprintf("%s\n(instance %s, request %s)\n", fit(text), instance, a.outcome.requestID)
	a.Header().Del("Content-Length")
	_ = a.controller.SetWriteDeadline(a.now().Add(stallTimeout))
	a.written = int64(len(body))
	plain(a.ResponseWriter, a.status, body)
}

// fit truncates a text to what the go command will show.
func fit(text string) string {
	const maxLines, maxBytes = 6, 480
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && len(lines) < maxLines {
			lines = append(lines, line)
		}
	}
	text = strings.ToValidUTF8(strings.Join(lines, "\n"), "?")
	if len(text) > maxBytes {
		text = strings.ToValidUTF8(text[:maxBytes], "") + "…"
	}
	return text
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.TrimRight(text, "\n")+"\n") //nolint:gosec // plain text, which no browser renders; the client may be gone
}

var acceptableID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// requestID takes the id that the router gave, or makes one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(requestIDHeader); acceptableID.MatchString(id) {
		return id
	}
	return rand.Text()
}

// kindOf names what was asked for, for metrics.
func kindOf(urlPath string) string {
	switch {
	case strings.HasPrefix(urlPath, "/sumdb/"):
		return "sumdb"
	case strings.HasSuffix(urlPath, "/@v/list"):
		return "list"
	case strings.HasSuffix(urlPath, "/@latest"):
		return "latest"
	}
	switch ext := path.Ext(urlPath); ext {
	case ".info", ".mod", ".zip":
		return ext[1:]
	}
	return "other"
}
