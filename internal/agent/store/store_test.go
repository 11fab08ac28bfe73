package store_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/loopback"
	"gocache.dev/operator/internal/testing/tmpfs"
)

func TestWatch(t *testing.T) {
	tree := cachetree.New(t)
	w, err := store.New(store.Options{
		Flags: caches.Flags{Store: tree.Proxy, Layout: "goproxy", Workers: 1},
		State: filepath.Join(t.TempDir(), "seen.zst"), Clock: time.Now, Stderr: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec.Body.String()
	}
	if v := w.Check(context.Background()); v.Verdict != integrity.Intact || v.Counts.Raw != 0 {
		t.Fatalf("%+v", v)
	}
	if v := w.Check(context.Background()); v.Verdict != integrity.Intact || v.Counts.Raw != 3 {
		t.Fatalf("the second check is incremental: %+v", v)
	}
	other, err := cachetree.Zip(cachetree.Lib, map[string]string{"x.go": "package lib\n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a corrupt file is not remembered as intact
		if v := w.Check(context.Background()); v.Findings[integrity.ChecksumMismatch] != 1 {
			t.Fatalf("%+v", v)
		}
	}
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	r, err := probe.Target{Agent: server.URL}.Store(t.Context())
	if err != nil || r.Verdict == nil || r.Verdict.Verdict != integrity.OutcomeCorrupt || r.Running != nil || r.Began < r.Ended || len(r.Sample) == 0 {
		t.Errorf("report %+v, %v", r, err)
	}
	metrics := get("/metrics")
	for _, want := range []string{`gocache_store_verdict{verdict="Corrupt"} 1`, `gocache_store_verdict{verdict="Intact"} 0`, `gocache_store_findings{class="ChecksumMismatch"} 1`, "gocache_store_used_bytes "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
}

// TestRun holds that a store is checked at the start and when asked, and that
// the answers on the way report what is under way.
func TestRun(t *testing.T) {
	tree := cachetree.New(t)
	w, err := store.New(store.Options{
		Flags: caches.Flags{Store: tree.Proxy, Layout: "goproxy", Workers: 1}, Prepare: true,
		Listen: loopback.Address(t), TokenFile: token(t), BytesPerSecond: 1 << 30, Clock: time.Now, Stderr: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	agent := probe.Target{Agent: "http://" + w.Listen, Token: secret}
	checked := func(after time.Time) bool {
		r, err := agent.Store(t.Context())
		return err == nil && r.Verdict != nil && r.Verdict.Verdict == integrity.Intact && time.Now().Add(-r.Began).After(after)
	}
	eventually(t, "a check at the start", func() bool { return checked(time.Time{}) })
	asked := time.Now()
	if err := agent.CheckStore(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a check when asked", func() bool { return checked(asked) })
	eventually(t, "to be ready", func() bool { return agent.Ready(t.Context(), probe.AgentPage).Outcome == probe.Passed })
	if _, disk := agent.Disk(t.Context(), 101); disk.Outcome != probe.Passed {
		t.Errorf("disk %+v", disk)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// secret is what a request for a check must bring.
const secret = "BQ7J"

func token(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(name, []byte(secret+"\n"), 0o600))
	return name
}

// TestStrangersStartNoChecks holds that a check is begun only by a request with the token,
// and not as often as one likes.
func TestStrangersStartNoChecks(t *testing.T) {
	tree := cachetree.New(t)
	post := func(file, authorization string) int {
		w, err := store.New(store.Options{
			Flags: caches.Flags{Store: tree.Proxy, Layout: "goproxy", Workers: 1}, TokenFile: file, Clock: time.Now, Stderr: io.Discard,
		})
		must(t, err)
		code := 0
		for range 100 {
			req := httptest.NewRequest(http.MethodPost, probe.CheckPath, http.NoBody)
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			rec := httptest.NewRecorder()
			w.Handler().ServeHTTP(rec, req)
			if code = rec.Code; code != http.StatusAccepted {
				break
			}
		}
		return code
	}
	empty := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, tt := range []struct {
		file, authorization string
		want                int
	}{
		{token(t), "", http.StatusUnauthorized},
		{token(t), "Bearer", http.StatusUnauthorized},
		{token(t), "Bearer ", http.StatusUnauthorized},
		{token(t), "Bearer BQ7", http.StatusUnauthorized},
		{token(t), secret, http.StatusUnauthorized},
		{"", "Bearer ", http.StatusUnauthorized},
		{"", "Bearer " + secret, http.StatusUnauthorized},
		{empty, "Bearer ", http.StatusUnauthorized},
		{empty + "-absent", "Bearer " + secret, http.StatusUnauthorized},
		{token(t), "Bearer " + secret, http.StatusTooManyRequests}, // after some
	} {
		if got := post(tt.file, tt.authorization); got != tt.want {
			t.Errorf("file %q, Authorization %q: %d, want %d", filepath.Base(tt.file), tt.authorization, got, tt.want)
		}
	}
}

// TestInterruptedPreparation holds that a volume gets its marker although a process died
// between the creation of the file and its content, and that a marker stays.
func TestInterruptedPreparation(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, store.Marker)
	must(t, os.WriteFile(marker, nil, 0o600))
	prepared := func() string {
		t.Helper()
		_, err := store.New(store.Options{Flags: caches.Flags{Store: filepath.Join(dir, "modules")}, Prepare: true, Clock: time.Now, Stderr: io.Discard})
		must(t, err)
		text, err := os.ReadFile(marker)
		must(t, err)
		return strings.TrimSpace(string(text))
	}
	first := prepared()
	if len(first) < 16 {
		t.Errorf("the marker holds %q", first)
	}
	if again := prepared(); again != first {
		t.Errorf("the marker is %q, and was %q", again, first)
	}
}

// TestGuard holds what makes a store unusable although its server reports that it
// is ready.
func TestGuard(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil   func(t *testing.T, dir string, o *store.Options, server *http.HandlerFunc)
		problem string
	}{
		"nothing": {func(*testing.T, string, *store.Options, *http.HandlerFunc) {}, ""},
		"the root is gone": {func(t *testing.T, dir string, _ *store.Options, _ *http.HandlerFunc) {
			must(t, os.RemoveAll(filepath.Join(dir, "modules")))
		}, "is gone"},
		"the volume is not mounted": {func(t *testing.T, dir string, _ *store.Options, _ *http.HandlerFunc) {
			must(t, os.Remove(filepath.Join(dir, store.Marker)))
		}, "not mounted"},
		"another volume": {func(t *testing.T, dir string, _ *store.Options, _ *http.HandlerFunc) {
			must(t, os.WriteFile(filepath.Join(dir, store.Marker), []byte("another"), 0o600))
		}, "was replaced"},
		"no room": {func(_ *testing.T, _ string, o *store.Options, _ *http.HandlerFunc) { o.MinFree = 1 << 62 }, "bytes left"},
		"the server hangs": {func(_ *testing.T, _ string, _ *store.Options, h *http.HandlerFunc) {
			*h = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, "does not answer"},
		"the server fails": {func(_ *testing.T, _ string, _ *store.Options, h *http.HandlerFunc) {
			*h = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", http.StatusInternalServerError) }
		}, "answers 500"},
		"the server knows no such page": {func(_ *testing.T, _ string, _ *store.Options, h *http.HandlerFunc) { *h = http.NotFound }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r) }))
			t.Cleanup(server.Close)
			dir := t.TempDir()
			o := store.Options{
				Flags: caches.Flags{Store: filepath.Join(dir, "modules")}, Prepare: true, Server: server.URL,
				Listen: loopback.Address(t), Clock: time.Now, Stderr: io.Discard,
			}
			if name == "no room" || strings.HasPrefix(name, "the server") {
				tt.spoil(t, dir, &o, &handler)
			}
			w, err := store.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if name != "no room" && !strings.HasPrefix(name, "the server") {
				tt.spoil(t, dir, &o, &handler)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- w.Run(ctx) }()
			agent := probe.Target{Agent: "http://" + o.Listen}
			eventually(t, "an answer that says "+tt.problem, func() bool {
				r := agent.Ready(t.Context(), probe.AgentPage)
				if tt.problem == "" {
					return r.Outcome == probe.Passed
				}
				// The probe repeats nothing that a server sent; the page is for people.
				return r.Outcome == probe.Failed && strings.Contains(readyPage(t, agent.Agent), tt.problem)
			})
			cancel()
			must(t, <-ended)
		})
	}
}

// TestGuardOfInodes holds that a store whose volume has bytes left, and no inodes, is
// not ready.
func TestGuardOfInodes(t *testing.T) {
	dir := tmpfs.Mount(t, "size=64m,nr_inodes=100")
	o := store.Options{Flags: caches.Flags{Store: filepath.Join(dir, "modules")}, Prepare: true, Listen: loopback.Address(t), Clock: time.Now, Stderr: io.Discard}
	w, err := store.New(o)
	must(t, err)
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o600))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	eventually(t, "an answer that names the inodes", func() bool {
		return strings.Contains(readyPage(t, "http://"+o.Listen), "of 100 inodes left")
	})
	cancel()
	must(t, <-ended)
}

// TestGuardAsksTheServerSeldom holds that a server which answers is not asked at each
// look: some log every request. One that fails is, until it answers again.
func TestGuardAsksTheServerSeldom(t *testing.T) {
	var asked atomic.Int64
	var failing atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if failing.Load() {
			http.Error(w, "oh", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	var clock atomic.Int64 // in milliseconds
	o := store.Options{
		Flags: caches.Flags{Store: filepath.Join(t.TempDir(), "modules")}, Prepare: true, Server: server.URL,
		Listen: loopback.Address(t), Clock: func() time.Time { return time.UnixMilli(1e12 + clock.Load()) }, Stderr: io.Discard,
	}
	w, err := store.New(o)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	ready := func() bool {
		return (probe.Target{Agent: "http://" + o.Listen}).Ready(t.Context(), probe.AgentPage).Outcome == probe.Passed
	}
	eventually(t, "ready", ready)
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests, and no time has passed", n)
	}
	failing.Store(true)
	clock.Store(2500)
	eventually(t, "not ready", func() bool { return !ready() })
	before := asked.Load()
	eventually(t, "that it is asked at each look", func() bool { return asked.Load() >= before+2 })
	failing.Store(false)
	eventually(t, "ready again", ready)
	cancel()
	must(t, <-ended)
}

// readyPage is the agent's answer to the question whether the store can be used.
func readyPage(t *testing.T, agent string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, agent+"/readyz", nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("there is no %s", what)
}
