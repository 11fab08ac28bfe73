package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/tmpfs"
)

var clock = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// watching is a watch of a store that has been prepared.
func watching(t *testing.T, change func(*Options)) *Watch {
	t.Helper()
	o := Options{Flags: caches.Flags{Store: filepath.Join(t.TempDir(), "modules"), Workers: 1}, Prepare: true, Clock: time.Now, Stderr: io.Discard}
	change(&o)
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestReady holds what the page of readiness answers, and for how long a look counts.
func TestReady(t *testing.T) {
	for name, tt := range map[string]struct {
		last *look
		code int
		text string
	}{
		"not looked at yet": {nil, 503, "not ready: not looked at yet\n"},
		"just now":          {&look{at: clock}, 200, "ok\n"},
		"a while ago":       {&look{at: clock.Add(-3 * time.Second)}, 200, "ok\n"},
		"too long ago":      {&look{at: clock.Add(-3*time.Second - 1)}, 503, "not ready: the store has not answered for 3s\n"},
		"a problem":         {&look{clock, "it is full"}, 503, "not ready: it is full\n"},
	} {
		g := &guard{clock: func() time.Time { return clock }}
		g.last.Store(tt.last)
		w := httptest.NewRecorder()
		g.ready(w, nil)
		if w.Code != tt.code || w.Body.String() != tt.text {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
}

// TestLooks holds what of a store and its volume is a problem.
func TestLooks(t *testing.T) {
	file := func(name string) error { return os.WriteFile(name, nil, 0o600) }
	for name, tt := range map[string]struct {
		id    string // that was read at the start; empty: there was no marker
		spoil func(dir, marker string) error
		want  string // empty: it can be used
	}{
		"all is well":            {"a", func(_, marker string) error { return os.WriteFile(marker, []byte("a\n"), 0o600) }, ""},
		"without a marker":       {"", func(string, string) error { return nil }, ""},
		"the marker is gone":     {"a", func(string, string) error { return nil }, "is gone: the volume is not mounted, or was emptied"},
		"it cannot be read":      {"a", func(_, marker string) error { return os.Mkdir(marker, 0o700) }, "read the volume's marker: "},
		"another one":            {"a", func(_, marker string) error { return os.WriteFile(marker, []byte("b\n"), 0o600) }, "is another one"},
		"one that was not there": {"", func(_, marker string) error { return os.WriteFile(marker, []byte("b\n"), 0o600) }, "is another one"},
		"the store is gone":      {"", func(dir, _ string) error { return os.Remove(dir) }, "is gone: "},
		"the store is a file":    {"", func(dir, _ string) error { return errors.Join(os.Remove(dir), file(dir)) }, "is gone: "},
	} {
		dir := filepath.Join(t.TempDir(), "modules")
		if err := errors.Join(os.Mkdir(dir, 0o700), tt.spoil(dir, markerOf(dir))); err != nil {
			t.Fatal(err)
		}
		g := &guard{store: dir, id: tt.id, clock: time.Now, usage: &usage{store: dir}}
		if err := g.look(t.Context()); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The bounds of space, on a file system that others share.
	dir := t.TempDir()
	u := &usage{store: dir, size: 1 << 20}
	u.tree.Store(1<<20 - 100)
	for least, works := range map[int64]bool{100: true, 101: false} {
		g := &guard{store: dir, minFree: least, clock: time.Now, usage: u}
		if err := g.look(t.Context()); (err == nil) != works || err != nil && !strings.Contains(err.Error(), "has 100 bytes left, fewer than 101") {
			t.Errorf("at least %d: %v", least, err)
		}
	}
}

// TestFreeInodes holds how many inodes a volume must have left.
func TestFreeInodes(t *testing.T) {
	dir := tmpfs.Mount(t, "size=16m,nr_inodes=80")
	g := &guard{store: dir, clock: time.Now, usage: &usage{store: dir}}
	for i := range 30 {
		space, err := volume.Usage(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.look(t.Context()); (err == nil) != (space.Inodes-space.InodesUsed >= 64) {
			t.Errorf("%d inodes are used: %v", space.InodesUsed, err)
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAlive holds when the server is asked, and which answers are those of one that lives.
func TestAlive(t *testing.T) {
	var asked atomic.Int64
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if code == 0 { // it ends in the middle
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "x")
			return
		}
		w.WriteHeader(code)
	}))
	defer server.Close()
	g := &guard{server: server.URL, clock: func() time.Time { return clock }, http: http.DefaultClient}
	for name, tt := range map[string]struct {
		answered time.Time
		asks     int64
	}{
		"never before":      {time.Time{}, 1},
		"just now":          {clock, 0},
		"a moment ago":      {clock.Add(-2*time.Second + 1), 0},
		"two seconds ago":   {clock.Add(-2 * time.Second), 1},
		"after a step back": {clock.Add(time.Second), 1},
	} {
		asked.Store(0)
		g.answered = tt.answered
		if err := g.alive(t.Context()); err != nil || asked.Load() != tt.asks || tt.asks > 0 && !g.answered.Equal(clock) {
			t.Errorf("%s: asked %d times, %v", name, asked.Load(), err)
		}
	}
	for _, tt := range []struct {
		code int
		want string
	}{{404, ""}, {499, ""}, {500, "the server answers 500 "}, {503, "the server answers 503 "}, {0, "the server does not answer: "}} {
		code, g.answered = tt.code, time.Time{}
		err := g.alive(t.Context())
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || g.answered.IsZero() == (err == nil) {
			t.Errorf("%d: %v, answered %s", tt.code, err, g.answered)
		}
	}
	if err := (&guard{clock: time.Now}).alive(t.Context()); err != nil {
		t.Errorf("without a server: %v", err)
	}
	if err := (&guard{clock: time.Now, server: "http://[", http: http.DefaultClient}).alive(t.Context()); err == nil {
		t.Error("an address that is none")
	}
}

// TestPrepareErrors holds that a store without a place, and a marker that is none, are
// errors.
func TestPrepareErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Flags: caches.Flags{Store: filepath.Join(file, "modules")}, Prepare: true}); err == nil || !strings.HasPrefix(err.Error(), "make the store: ") {
		t.Errorf("below a file: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, Marker), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, prepare := range []bool{true, false} {
		if _, err := New(Options{Flags: caches.Flags{Store: filepath.Join(dir, "modules")}, Prepare: prepare}); err == nil || !prepare && !strings.HasPrefix(err.Error(), "read the volume's marker: ") {
			t.Errorf("a marker that is a directory, prepare %t: %v", prepare, err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "modules")
	if _, err := New(Options{Flags: caches.Flags{Store: elsewhere}}); err != nil {
		t.Errorf("a store that is not there: %v", err)
	}
	if _, err := os.Stat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}

// TestHistory holds what is reported of checks: the last one, the one that runs, and that a
// request for a quick one lasts until it begins.
func TestHistory(t *testing.T) {
	at := func(seconds int) time.Time { return clock.Add(time.Duration(seconds) * time.Second) }
	h := &history{}
	if r := h.report(at(0)); r.Verdict != nil || r.Running != nil {
		t.Errorf("at first: %+v", r)
	}
	if began, unhurried := h.begin(at(1)); !began.Equal(at(1)) || !unhurried {
		t.Errorf("%s, %t", began, unhurried)
	}
	if r := h.report(at(3)); r.Verdict != nil || r.Running == nil || *r.Running != 2*time.Second {
		t.Errorf("while it runs: %+v", r)
	}
	h.end(integrity.Verdict{Verdict: integrity.Intact}, at(5))
	if r := h.report(at(10)); r.Verdict == nil || r.Began != 9*time.Second || r.Ended != 5*time.Second || r.Running != nil {
		t.Errorf("afterwards: %+v", r)
	}
	h.ask(true)
	if _, unhurried := h.begin(at(11)); !unhurried {
		t.Error("a check that may be slow is quick")
	}
	h.ask(false)
	h.ask(true)
	for _, want := range []bool{false, true} {
		if _, unhurried := h.begin(at(12)); unhurried != want {
			t.Errorf("unhurried %t", unhurried)
		}
	}
}

// TestPaceOfReading holds how fast a check reads: a first part at once, and then so many
// bytes in a second.
func TestPaceOfReading(t *testing.T) {
	if pace(-1) != nil || pace(0) != nil {
		t.Error("no bound waits")
	}
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			bytes []int64
			want  time.Duration
		}{{[]int64{0}, 0}, {[]int64{4 << 20}, 0}, {[]int64{4 << 20, 1 << 20}, time.Second}, {[]int64{8 << 20}, 4 * time.Second}, {[]int64{1, 4 << 20, 4<<20 - 1}, 4 * time.Second}} {
			began, wait := time.Now(), pace(1<<20)
			for _, n := range tt.bytes {
				wait(t.Context(), n)
			}
			if took := time.Since(began).Round(time.Millisecond); took != tt.want {
				t.Errorf("%v took %s, want %s", tt.bytes, took, tt.want)
			}
		}
	})
}

// TestIntervals holds when a store is checked, its volume looked at and measured, and its
// sample taken.
func TestIntervals(t *testing.T) {
	for name, tt := range map[string]struct {
		interval time.Duration
		once     bool
		asks     bool
		want     int // checks within two and a half hours
	}{"each hour": {time.Hour, false, false, 3}, "at the start alone": {0, false, false, 1}, "when asked": {0, false, true, 2}, "once": {time.Hour, true, false, 1}} {
		var log bytes.Buffer
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w, err := New(Options{Flags: caches.Flags{Store: dir, Layout: "goproxy", Workers: 1}, Interval: tt.interval, Once: tt.once, Clock: time.Now, Stderr: &log})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
			defer cancel()
			if tt.asks {
				w.asked <- struct{}{}
			}
			began := time.Now()
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); (took == 150*time.Minute) == tt.once {
				t.Errorf("%s: it ended after %s", name, took)
			}
		})
		if n := strings.Count(log.String(), "store "+dir+": Intact"); n != tt.want {
			t.Errorf("%s: %d checks, want %d: %s", name, n, tt.want, &log)
		}
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var looks int
		g := &guard{store: dir, usage: &usage{store: dir}, clock: func() time.Time { looks++; return time.Now() }}
		ctx, cancel := context.WithTimeout(t.Context(), 1750*time.Millisecond)
		defer cancel()
		g.run(ctx)
		if l := g.last.Load(); l == nil || l.problem != "" || looks != 8 { // two for each: when it is asked whether the server is due
			t.Errorf("looked at %d times, %+v", looks, l)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		store := filepath.Join(dir, "modules")
		if err := os.Mkdir(store, 0o700); err != nil {
			t.Fatal(err)
		}
		u := &usage{store: store, size: 1 << 20, clock: time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		go u.keepMeasuring(ctx)
		synctest.Wait()
		before := u.tree.Load()
		if err := os.WriteFile(filepath.Join(store, "file"), make([]byte, 64<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if got := u.tree.Load(); got != before {
			t.Errorf("measured after 59 seconds: %d, before %d", got, before)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := u.tree.Load(); got < before+64<<10 {
			t.Errorf("not measured after a minute: %d, before %d", got, before)
		}
		cancel()
	})
	var log bytes.Buffer
	gone := filepath.Join(t.TempDir(), "gone")
	synctest.Test(t, func(t *testing.T) {
		w, err := New(Options{Flags: caches.Flags{Store: gone, Layout: "goproxy"}, Clock: time.Now, Stderr: &log})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		if err := w.keepSampling(ctx); err != nil {
			t.Error(err)
		}
	})
	if n := strings.Count(log.String(), "store "+gone+": no sample: "); n != 3 {
		t.Errorf("sampled %d times within 25 seconds: %s", n, &log)
	}
}

// TestPreparedAlone holds that a store which is not to be checked is prepared, and no more.
func TestPreparedAlone(t *testing.T) {
	w := watching(t, func(o *Options) { o.Once, o.Listen = true, "no address" })
	if err := w.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(markerOf(w.Store)); err != nil || len(strings.TrimSpace(string(text))) < 16 {
		t.Errorf("the marker: %q, %v", text, err)
	}
	w = watching(t, func(o *Options) { o.Listen = "no address" })
	if err := w.Run(t.Context()); err == nil {
		t.Error("an address that is none")
	}
}

// TestRemovals holds what is removed from a store, and that nothing outside of it is.
func TestRemovals(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, name := range []string{filepath.Join(dir, "v", "a", "file"), filepath.Join(dir, "single"), filepath.Join(dir, trash+"1", "x"), filepath.Join(outside, "kept")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v/a", "single", "none", "link"} {
		if err := remove(root, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := remove(root, "../x"); err == nil {
		t.Error("outside of the store: no error")
	}
	if err := errors.Join(empty(dir), empty(dir), empty(filepath.Join(dir, "none"))); err != nil {
		t.Errorf("what was moved aside: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "v" {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Error(err)
	}
}

// TestChecksThatCannotBeMade holds that a check without a result is inconclusive, is shown
// with its cause, and that one that was ended is not recorded.
func TestChecksThatCannotBeMade(t *testing.T) {
	w := watching(t, func(o *Options) { o.Layout, o.State = "goproxy", filepath.Join(o.Store, "none", "\x00") })
	if v := w.Check(t.Context()); v.Verdict != integrity.Inconclusive || v.Message == "" {
		t.Errorf("a state that cannot be read: %+v", v)
	}
	if r := w.history.report(time.Now()); r.Verdict == nil || r.Verdict.Verdict != integrity.Inconclusive {
		t.Errorf("%+v", r)
	}
	w = watching(t, func(o *Options) { o.Layout = "goproxy" })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Check(ctx)
	if r := w.history.report(time.Now()); r.Verdict != nil {
		t.Errorf("a check that was ended is recorded: %+v", r)
	}
	now := clock
	w = watching(t, func(o *Options) {
		o.Layout, o.Clock = "goproxy", func() time.Time { now = now.Add(1250 * time.Millisecond); return now }
	})
	if v := w.Check(t.Context()); v.Verdict != integrity.Intact || v.DurationSeconds != 1.25 {
		t.Errorf("%s in %f seconds", v.Verdict, v.DurationSeconds)
	}
}
