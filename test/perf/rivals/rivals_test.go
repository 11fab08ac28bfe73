package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gocache.dev/operator/internal/testing/imagepool"
)

// TestMain is the GOCACHEPROG child of a go command, if it is run as that.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		if err := child(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestFirstResult(t *testing.T) {
	for name, c := range map[string]struct {
		out   string
		calls int
		err   string
	}{
		"the first of two": {`{"Action":"start"}{"Action":"run","Test":"TestA"}{"Action":"pass","Test":"TestA"}{"Action":"pass","Test":"TestB"}{"Action":"pass"}`, 1, ""},
		"a failure":        {`{"Action":"pass","Test":"TestA"}{"Action":"fail","Test":"TestB"}`, 1, "failed TestB"},
		"a build failure":  {`{"Action":"build-output","Output":"x.go:1: no"}{"Action":"build-fail"}`, 0, "failed"},
		"from the cache":   {`{"Action":"pass","Test":"TestA"}{"Action":"output","Output":"ok  \tp\t(cached)\n"}{"Action":"pass"}`, 1, "from the cache"},
		"no test":          {`{"Action":"pass"}`, 0, "no test has passed"},
		"cut off":          {`{"Action":"pass","Test":"TestA"}`, 1, "no test has passed"},
		"no JSON":          {`ok p`, 0, "output of go test"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := firstResult(strings.NewReader(c.out), func() { calls++ })
			if calls != c.calls || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%d calls and %v, want %d and %q", calls, err, c.calls, c.err)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[int][]int{0: nil, 7: {7}, 2: {3, 1, 2}, 3: {4, 1, 3, 2}} {
		before := fmt.Sprint(values)
		if got := median(values); got != want || fmt.Sprint(values) != before {
			t.Errorf("median of %s is %d, want %d; it left %v", before, got, want, values)
		}
	}
}

func TestTable(t *testing.T) {
	var all []result
	for i := range 3 {
		all = append(all,
			result{Round: i, Way: wayClone, First: time.Duration(i+1) * time.Second, Read: 3 << 20, Load: float64(i), Left: int64(i) << 20},
			result{Round: i, Way: wayNothing, First: 40 * time.Second, Received: 1 << 20},
			result{Round: i, Way: wayLazyPool, First: 4 * time.Second},
			result{Round: i, Way: wayArchive, First: 8 * time.Second},
			result{Round: i, Way: wayLazy, First: 16 * time.Second},
		)
	}
	text := table(all)
	lines := strings.Split(text, "\n")
	for i, want := range []string{
		"| nothing | 3 | 0.00 s | 40.00 s (40.00 to 40.00) | 0.00 s | 0.00 s | 1.0 MiB | 0 | 0 | 1.0 × | 0.2 × |",
		"| archive from an object store | 3 | 0.00 s | 8.00 s (8.00 to 8.00) | 0.00 s | 0.00 s | 0 | 0 | 0 | 5.0 × | 1.0 × |",
		"| clone of the snapshot | 3 | 0.00 s | 2.00 s (1.00 to 3.00) | 0.00 s | 0.00 s | 0 | 0 | 3.0 MiB | 20.0 × | 4.0 × |",
		"| clone, loaded when it is first read | 3 | 0.00 s | 16.00 s (16.00 to 16.00) | 0.00 s | 0.00 s | 0 | 0 | 0 | 2.5 × | 0.5 × |",
		"| clone from a pool, read before | 3 | 0.00 s | 4.00 s (4.00 to 4.00) | 0.00 s | 0.00 s | 0 | 0 | 0 | 10.0 × | 2.0 × |",
	} {
		if len(lines) < i+3 || lines[i+2] != want {
			t.Errorf("row %d of\n%s\nwant %s", i, text, want)
		}
	}
	if !strings.Contains(text, "load average when a run began: 0.0 to 2.0; of the image in memory after it was dropped: at most 2.0 MiB\n") {
		t.Error(text)
	}
	if without := table(all[:1]); strings.Contains(without, "nothing |") || !strings.Contains(without, "| – | – |") {
		t.Errorf("a table of one way compares it with others:\n%s", without)
	}
}

// TestOrder holds that the table has a row for each way.
func TestOrder(t *testing.T) {
	b := &bench{Pool: &imagepool.Pool{}}
	for _, w := range b.ways() {
		for _, name := range []string{w.name, w.again} {
			if name != "" && !slices.Contains(order, name) {
				t.Errorf("%q has no row", name)
			}
		}
	}
}

// TestChosen holds that ways are picked by names, which have commas, and that a name of none
// measures nothing silently.
func TestChosen(t *testing.T) {
	for only, want := range map[string]string{
		"": "[nothing clone, loaded when it is first read]", wayLazy: "[clone, loaded when it is first read]",
		wayLazy + ";" + wayNothing: "[nothing clone, loaded when it is first read]", "clone": "no way",
	} {
		ways, err := chosen([]way{{name: wayNothing}, {name: wayLazy, lazy: true}}, only)
		var names []string
		for _, w := range ways {
			names = append(names, w.name)
		}
		if got := fmt.Sprint(names); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v", only, got, err)
		}
	}
}

func TestLatency(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 20 * time.Millisecond, "0": 0, "5ms": 5 * time.Millisecond, "5": -1, "-1ms": -1} {
		if got, err := latencyOf(text); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// readRanges records what is read of a file.
type readRanges struct {
	*os.File
	mu   sync.Mutex
	seen map[int64]bool
}

func (r *readRanges) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.File.ReadAt(p, off)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range int64(n) {
		if (off+i)%chunkBytes == 0 {
			r.seen[(off+i)/chunkBytes] = true
		}
	}
	return n, err
}

// What an image has blocks for is read, and no hole.
func TestReadAll(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(8 * chunkBytes); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{chunkBytes, 3*chunkBytes - 1, 6*chunkBytes + chunkBytes/2} {
		if _, err := f.WriteAt([]byte{1}, off); err != nil {
			t.Fatal(err)
		}
	}
	through := &readRanges{File: f, seen: map[int64]bool{}}
	if err := readAll(t.Context(), image, through); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(through.seen)); fmt.Sprint(got) != "[1 2 6]" {
		t.Errorf("read the chunks %v", got)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := readAll(cancelled, image, through); err == nil {
		t.Error("it goes on when it was cancelled")
	}
}

// What a run has kept, the next one has.
func TestResultsAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	want := []result{{Round: 1, Way: wayClone, First: time.Second, Load: 1.5}, {Round: 2, Way: wayProg, Sent: 7}}
	for _, r := range want {
		if err := appendResults(file, []result{r}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readResults(file); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := readResults(file + "none"); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// served is an object store in a new directory.
func served(t *testing.T) (*objects, string) {
	t.Helper()
	o := &objects{dir: t.TempDir()}
	url, stop, err := listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return o, url
}

// An archive of both caches is restored as it was, and its bytes are counted in
// both directions.
func TestArchive(t *testing.T) {
	o, url := served(t)
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"mod/a@v1/x.go", "build/00/00-d"} {
		file := filepath.Join(from, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if err := save(t.Context(), url, from); err != nil {
		t.Fatal(err)
	}
	if err := restore(t.Context(), url, to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mod/a@v1/x.go", "build/00/00-d"} {
		if data, err := os.ReadFile(filepath.Join(to, filepath.FromSlash(name))); err != nil || string(data) != name {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	info, err := os.Stat(filepath.Join(o.dir, archiveName))
	if err != nil || o.traffic.sent.Load() != info.Size() || o.traffic.received.Load() != info.Size() {
		t.Errorf("%v: sent %d, received %d of %d", err, o.traffic.sent.Load(), o.traffic.received.Load(), info.Size())
	}
	if err := save(t.Context(), url, filepath.Join(from, "none")); err == nil {
		t.Error("a directory that is not there was saved")
	}
	if err := restore(t.Context(), url+"/none", to); err == nil {
		t.Error("an archive that is not there was restored")
	}
}

// program is a package that needs no other, and builds it in an environment; the
// output names the commands that were run.
func program(t *testing.T) func(env ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/m\n\ngo 1.26\n", "m.go": "package m\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(env ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", "build", "-x", ".")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), append(env, "GOFLAGS=")...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
}

// A go command compiles with the child what another one has compiled only if the
// object store does not have it, and waits for its latency.
func TestRemoteCache(t *testing.T) {
	o, url := served(t)
	program := program(t)
	build := func() (compiled bool, took time.Duration) {
		began := time.Now()
		out := program("GOCACHE="+t.TempDir(), fmt.Sprintf("GOCACHEPROG=%s %s -url %s -dir %s", os.Args[0], childCommand, url, t.TempDir()))
		return strings.Contains(out, "/compile "), time.Since(began)
	}
	if compiled, _ := build(); !compiled || o.traffic.sent.Load() == 0 {
		t.Fatalf("an empty store: compiled %v, sent %d", compiled, o.traffic.sent.Load())
	}
	if compiled, _ := build(); compiled || o.traffic.received.Load() == 0 {
		t.Errorf("the same again: compiled %v, received %d", compiled, o.traffic.received.Load())
	}
	const latency = 200 * time.Millisecond
	o.latency.Store(int64(latency))
	if compiled, took := build(); compiled || took < 2*latency { // a lookup, and what it names
		t.Errorf("with a latency: compiled %v in %s", compiled, took)
	}
}

// The entries of a build cache are hits of a go command with the child.
func TestFill(t *testing.T) {
	o, url := served(t)
	build, cache := program(t), t.TempDir()
	if out := build("GOCACHE="+cache, "GOCACHEPROG="); !strings.Contains(out, "/compile ") {
		t.Fatalf("nothing was compiled: %s", out)
	}
	entries, _, err := fill(o.dir, cache)
	if err != nil || entries == 0 {
		t.Fatalf("%d entries, %v", entries, err)
	}
	if out := build("GOCACHE="+t.TempDir(), fmt.Sprintf("GOCACHEPROG=%s %s -url %s -dir %s", os.Args[0], childCommand, url, t.TempDir())); strings.Contains(out, "/compile ") {
		t.Errorf("compiled again: %s", out)
	}
}

// What is missing is a miss, and names that leave the directory are refused.
func TestObjectNames(t *testing.T) {
	o := &objects{dir: t.TempDir()}
	if _, err := store(filepath.Join(o.dir, "x"), strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"/x": http.StatusOK, "/y": http.StatusNotFound, "/../x": http.StatusBadRequest, "/a/../../x": http.StatusBadRequest, "/": http.StatusBadRequest} {
		w := httptest.NewRecorder()
		o.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: name}})
		if w.Code != want {
			t.Errorf("%s: %d, want %d", name, w.Code, want)
		}
	}
}
