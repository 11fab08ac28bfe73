package router_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/router"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestComplete holds that a client gets an answer that arrived completely, from
// whichever attempt, and an error that reports why when none did.
func TestComplete(t *testing.T) {
	complete := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	begun := func(then func(*http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half of it")
			_ = http.NewResponseController(w).Flush()
			then(r)
		}
	}
	status := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, code) }
	}
	truncated := begun(func(*http.Request) { panic(http.ErrAbortHandler) })
	hang := begun(func(r *http.Request) { <-r.Context().Done() })
	large := complete(strings.Repeat("x", 1<<20+64<<10))
	for name, c := range map[string]struct {
		attempts []http.HandlerFunc
		status   int
		content  string
	}{
		"at once":            {[]http.HandlerFunc{complete("tile"), truncated}, 200, "tile"},
		"cut":                {[]http.HandlerFunc{truncated, complete("tile")}, 200, "tile"},
		"hangs":              {[]http.HandlerFunc{hang, complete("tile")}, 200, "tile"},
		"fails":              {[]http.HandlerFunc{status(500, "oh"), status(503, "no"), complete("tile")}, 200, "tile"},
		"refuses":            {[]http.HandlerFunc{status(404, "no such tile"), complete("tile")}, 404, "no such tile"},
		"too large":          {[]http.HandlerFunc{large, complete("tile")}, 200, "tile"},
		"all fail":           {[]http.HandlerFunc{truncated, status(503, "no instance can serve now")}, 503, "no instance can serve now"},
		"all break off":      {[]http.HandlerFunc{status(500, "oh"), truncated}, 502, "attempt 1: 500 Internal Server Error\nattempt 2: unexpected EOF (request 7)"},
		"all hang":           {[]http.HandlerFunc{hang}, 502, "the answer stopped in the middle"},
		"nothing is running": {nil, 502, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var attempts []string
			for _, handler := range c.attempts {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/~2/sumdb/sum.example.com/tile/8/0/000" || r.URL.RawQuery != "a=b" || r.Header.Get("X-Request-ID") != "7" {
						t.Errorf("asked for %s with id %q", r.URL, r.Header.Get("X-Request-ID"))
					}
					w.Header().Set(router.InstanceHeader, "blue")
					handler(w, r)
				}))
				t.Cleanup(func() {
					server.CloseClientConnections()
					server.Close()
				})
				attempts = append(attempts, server.URL+"/~2")
			}
			if attempts == nil {
				attempts = []string{"http://" + loopback.Address(t)} // and no path
			}
			listen := loopback.Address(t)
			start(t, func(o *router.Options) {
				o.Answers = router.AnswersOptions{Now: time.Now, Listen: listen, Attempts: attempts}
			})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listen+"/sumdb/sum.example.com/tile/8/0/000?a=b", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Request-ID", "7")
			resp, err := http.DefaultClient.Do(req)
			for range 500 { // until it listens
				if err == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
				resp, err = http.DefaultClient.Do(req)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.content) {
				t.Errorf("%s, %q, %v; want %d, %q", resp.Status, body, err, c.status, c.content)
			}
		})
	}
}
