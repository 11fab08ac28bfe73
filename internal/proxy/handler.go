package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
)

// stallTimeout ends a connection whose client takes nothing for so long.
const stallTimeout = time.Minute

// routes puts the instance's own pages beside the proxy. None of their paths
// can be a module's: those hold "/@" or begin with "sumdb/".
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("/readyz", s.readyz)
	mux.Handle("/metrics", s.metrics.handler())
	modules := s.limited(http.HandlerFunc(s.modules))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The deadline of this connection's previous answer may have passed.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		switch r.URL.Path {
		case "/healthz", "/readyz", "/metrics":
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
		if cause := o.cause(); cause != nil && answer.status >= http.StatusInternalServerError {
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

// modules leads to the library.
func (s *Server) modules(w http.ResponseWriter, r *http.Request) {
	if s.refusedLookup(w, r) || s.immutableSumDBPage(w, r) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.fetchTimeout)
	defer cancel()
	s.library.ServeHTTP(w, r.WithContext(ctx))
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
// checksum database: records and whole tiles. The library would ask the
// upstream each time.
func (s *Server) immutableSumDBPage(w http.ResponseWriter, r *http.Request) bool {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if !strings.HasPrefix(name, "sumdb/") || path.Clean(r.URL.Path) != r.URL.Path ||
		(r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return false
	}
	if !strings.Contains(name, "/lookup/") && (!strings.Contains(name, "/tile/") || strings.Contains(name, ".p/")) {
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
	http.ServeContent(w, r, "", e.modified, e)
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
		a.Header().Set("Cache-Control", "no-store")
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
