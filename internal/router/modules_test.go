package router

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
)

// instance gives answers as one that HAProxy chooses for an attempt.
type instance struct {
	name  string
	asked atomic.Int64
	serve http.HandlerFunc
}

func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	w.Header().Set(InstanceHeader, i.name)
	i.serve(w, r)
}

// way is the sidecar between a client and three attempts.
type way struct {
	url      string
	metrics  *metrics
	spool    *archives
	known    *learned
	refusals *refusals
}

func newWay(t *testing.T, attempts ...*instance) *way {
	t.Helper()
	var urls []string
	for i, a := range attempts {
		server := quiet(t, a)
		if i > 0 {
			server += fmt.Sprintf("/~%d", i+1)
		}
		urls = append(urls, server)
	}
	m := newMetrics()
	a, err := newAnswers(AnswersOptions{Now: time.Now, Attempts: urls, Spool: t.TempDir()}, m, testr.NewWithOptions(t, testr.Options{Verbosity: -1}))
	if err != nil {
		t.Fatal(err)
	}
	return &way{url: quiet(t, a.handler()), metrics: m, spool: a.archives, known: a.known, refusals: a.refusals}
}

// quiet serves, and does not report when it breaks off.
func quiet(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// get returns what a client has got: an answer that breaks off is an error.
func (w *way) get(t *testing.T, path string, header ...string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Header.Get(InstanceHeader) != "" {
		t.Errorf("%s: the client sees who answered", path)
	}
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (w *way) expect(t *testing.T, path, want string) {
	t.Helper()
	status, body, err := w.get(t, path)
	if err != nil || status != http.StatusOK || body != want {
		t.Errorf("%s: status %d, %d bytes, error %v; want another answer, of %d bytes", path, status, len(body), err, len(want))
	}
}

func (w *way) spoiled(t *testing.T, instance, reason string, want float64) {
	t.Helper()
	var m dto.Metric
	if err := w.metrics.spoiled.WithLabelValues(instance, reason).Write(&m); err != nil {
		t.Fatal(err)
	}
	if got := m.GetCounter().GetValue(); got != want {
		t.Errorf("%v answers of %s are counted with reason %s, want %v", got, instance, reason, want)
	}
}

// spoolIsFree waits until nothing is spooled any more.
func (w *way) spoolIsFree(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.spool.room.Acquire(ctx, SpoolSize); err != nil {
		t.Fatalf("something stays in the spool: %v", err)
	}
	w.spool.room.Release(SpoolSize)
}

// Files of one module that clients ask for.
const (
	lookupPath = "/sumdb/sum.example.com/lookup/example.com/!m@v1.0.0"
	modPath    = "/example.com/!m/@v/v1.0.0.mod"
	zipPath    = "/example.com/!m/@v/v1.0.0.zip"
	goodMod    = "module example.com/M\n"
	otherMod   = goodMod + "// altered\n"
)

var version = module.Version{Path: "example.com/M", Version: "v1.0.0"}

// makeArchive makes one of at least a size whose h1 depends on the seed.
func makeArchive(t *testing.T, size int, seed uint64) (archive, sum string) {
	t.Helper()
	content := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(version.String() + "/data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum, err = goproxy.SumZip(bytes.NewReader(b.Bytes()), int64(b.Len()), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), sum
}

// answer is what a lookup brings.
func answer(t *testing.T, zipSum string) string {
	t.Helper()
	modSum, err := goproxy.SumMod([]byte(goodMod))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("17\n%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n\ngo.sum database tree\n18\nx\n\n— sig\n", version.Path, version.Version, zipSum, modSum)
}

// files serves them, and the lookup too.
func files(lookup, mod, archive string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, ok := map[string]string{lookupPath: lookup, modPath: mod, zipPath: archive}[strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/~2"), "/~3")]
		if !ok {
			http.Error(w, "there is no "+r.URL.Path, http.StatusNotFound)
			return
		}
		if r.Header.Get("Accept-Encoding") != "" {
			http.Error(w, "asked to compress", http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = io.WriteString(w, text)
	}
}

// half serves half of each module's file, and then does something.
func half(of http.HandlerFunc, then func(*http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		of(rec, r)
		body := rec.Body.Bytes()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		then(r)
	}
}

func hang(r *http.Request)   { <-r.Context().Done() }
func breakOff(*http.Request) { panic(http.ErrAbortHandler) }

const large = 1 << 20

func TestAlteredModuleFiles(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10_000, large} {
		goodZip, goodSum := makeArchive(t, size, 1)
		otherZip, _ := makeArchive(t, size, 2)
		good := files(answer(t, goodSum), goodMod, goodZip)
		liar := files(answer(t, goodSum), otherMod, otherZip)
		t.Run(fmt.Sprintf("nobody has looked it up, %d", size), func(t *testing.T) {
			t.Parallel()
			bad := &instance{name: "blue", serve: liar}
			w := newWay(t, bad, &instance{name: "green", serve: good})
			w.expect(t, modPath, otherMod)
			w.expect(t, zipPath, otherZip)
		})
		t.Run(fmt.Sprintf("one of two, %d", size), func(t *testing.T) {
			t.Parallel()
			bad, other := &instance{name: "blue", serve: liar}, &instance{name: "green", serve: good}
			w := newWay(t, bad, other, bad)
			w.expect(t, lookupPath, answer(t, goodSum))
			for range 3 {
				w.expect(t, modPath, goodMod)
			}
			w.spoiled(t, "blue", reasonMismatch, 3)
			w.expect(t, "/~2"+zipPath, goodZip)
			w.spoiled(t, "blue", reasonMismatch, 3)
			if size < archiveHeld {
				w.expect(t, zipPath, goodZip)
				w.expect(t, "/~3"+zipPath, goodZip)
				w.spoiled(t, "blue", reasonMismatch, 6)
				return
			}
			// Of what is under way the client never gets the end, but for its last attempt.
			status, body, err := w.get(t, zipPath)
			if err == nil || status != http.StatusOK || len(body) > len(otherZip)-archiveHeld {
				t.Errorf("the client got %d of %d wrong bytes, status %d, error %v", len(body), len(otherZip), status, err)
			}
			w.expect(t, "/~3"+zipPath, otherZip)
			w.spoolIsFree(t)
			w.spoiled(t, "blue", reasonMismatch, 5)
			w.expect(t, zipPath, otherZip) // the line is forgotten
			w.expect(t, modPath, goodMod)  // the other is not
		})
		t.Run(fmt.Sprintf("what is remembered is wrong, %d", size), func(t *testing.T) {
			t.Parallel()
			blue := &instance{name: "blue", serve: files(answer(t, "h1:AAAA"), otherMod, goodZip)}
			green := &instance{name: "green", serve: files("", otherMod, goodZip)}
			w := newWay(t, blue, blue, green)
			w.expect(t, lookupPath, answer(t, "h1:AAAA"))
			w.expect(t, modPath, otherMod) // two agree on it
			w.expect(t, modPath, otherMod)
			w.spoiled(t, "blue", reasonMismatch, 2)
			w.spoiled(t, "green", reasonMismatch, 1)
			if size < archiveHeld {
				w.expect(t, zipPath, goodZip)
				return
			}
			if _, _, err := w.get(t, zipPath); err == nil {
				t.Error("it was passed on to a client that has further attempts")
			}
			w.expect(t, "/~3"+zipPath, goodZip)
			w.expect(t, zipPath, goodZip)
		})
	}
}

// TestRefusedByTheOther holds that what is not as remembered is better than
// nothing.
func TestRefusedByTheOther(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusServiceUnavailable} {
		blue := &instance{name: "blue", serve: files(answer(t, "h1:AAAA"), otherMod, "")}
		green := &instance{name: "green", serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }}
		w := newWay(t, blue, green, green)
		w.expect(t, lookupPath, answer(t, "h1:AAAA"))
		w.expect(t, modPath, otherMod)
		w.expect(t, modPath, otherMod)
		w.spoiled(t, "blue", reasonMismatch, 1)
	}
}

func TestSpoiledOnTheWay(t *testing.T) {
	t.Parallel()
	smallZip, _ := makeArchive(t, 10_000, 1)
	largeZip, largeSum := makeArchive(t, large, 1)
	for name, then := range map[string]func(*http.Request){reasonSilence: hang, reasonBroken: breakOff} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := files(answer(t, largeSum), goodMod, smallZip)
			bad := &instance{name: "blue", serve: half(good, then)}
			w := newWay(t, bad, &instance{name: "green", serve: good}, bad)
			w.expect(t, modPath, goodMod)
			w.expect(t, zipPath, smallZip)
			w.spoiled(t, "blue", name, 2)
		})
		t.Run(name+" of a large one", func(t *testing.T) {
			t.Parallel()
			good := files(answer(t, largeSum), goodMod, largeZip)
			bad := &instance{name: "blue", serve: half(good, then)}
			w := newWay(t, bad, &instance{name: "green", serve: good}, bad)
			w.expect(t, lookupPath, answer(t, largeSum)) // from the second attempt
			status, body, err := w.get(t, zipPath)
			if err == nil || status != http.StatusOK || len(body) == 0 {
				t.Errorf("the client got %d bytes, status %d, error %v", len(body), status, err)
			}
			w.expect(t, "/~2"+zipPath, largeZip)
			w.spoolIsFree(t)
		})
	}
}

// TestPassed holds what goes through as it comes.
func TestPassed(t *testing.T) {
	t.Parallel()
	goodZip, goodSum := makeArchive(t, large, 1)
	otherZip, _ := makeArchive(t, large, 2)
	lookup := answer(t, goodSum)
	t.Run("a go.mod file that is too large to hold", func(t *testing.T) {
		t.Parallel()
		mod := otherMod + strings.Repeat("// more\n", maxHeld/8)
		blue := &instance{name: "blue", serve: files(lookup, mod, goodZip)}
		w := newWay(t, blue, blue)
		w.expect(t, lookupPath, lookup)
		w.expect(t, modPath, mod)
	})
	t.Run("an archive for which there is no room", func(t *testing.T) {
		t.Parallel()
		blue := &instance{name: "blue", serve: files(lookup, goodMod, otherZip)}
		w := newWay(t, blue, blue)
		w.expect(t, lookupPath, lookup)
		if err := w.spool.room.Acquire(t.Context(), SpoolSize-large/2); err != nil {
			t.Fatal(err)
		}
		w.expect(t, zipPath, otherZip)
		w.spool.room.Release(SpoolSize - large/2)
		if _, _, err := w.get(t, zipPath); err == nil {
			t.Error("with room it is not checked")
		}
	})
	t.Run("an archive when nothing can be spooled", func(t *testing.T) {
		t.Parallel()
		blue := &instance{name: "blue", serve: files(lookup, goodMod, otherZip)}
		w := newWay(t, blue, blue)
		w.spool.dir = "/nowhere/at/all"
		w.expect(t, lookupPath, lookup)
		w.expect(t, zipPath, otherZip)
		w.spoolIsFree(t)
	})
	t.Run("an archive without a length that grows too large", func(t *testing.T) {
		t.Parallel()
		blue := &instance{name: "blue", serve: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == zipPath {
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, otherZip)
				return
			}
			files(lookup, goodMod, "")(w, r)
		}}
		w := newWay(t, blue)
		w.spool.limit = large / 2
		w.expect(t, lookupPath, lookup)
		w.expect(t, zipPath, otherZip)
		w.spoolIsFree(t)
	})
	t.Run("a part", func(t *testing.T) {
		t.Parallel()
		blue := &instance{name: "blue", serve: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == lookupPath {
				_, _ = io.WriteString(w, lookup)
				return
			}
			http.ServeContent(w, r, "x", time.Time{}, strings.NewReader(otherMod))
		}}
		w := newWay(t, blue, blue)
		w.expect(t, lookupPath, lookup)
		status, body, err := w.get(t, modPath, "Range", "bytes=0-5")
		if err != nil || status != http.StatusPartialContent || body != otherMod[:6] {
			t.Errorf("%d %q %v", status, body, err)
		}
	})
	t.Run("what is refused, and what fails", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{http.StatusNotFound, http.StatusGone, http.StatusInternalServerError, http.StatusServiceUnavailable} {
			blue := &instance{name: "blue", serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }}
			green := &instance{name: "green", serve: files(lookup, goodMod, goodZip)}
			w := newWay(t, blue, green)
			if got, body, err := w.get(t, modPath); err != nil || got != status || body != "no\n" || green.asked.Load() > 0 {
				t.Errorf("%d %q %v, the other was asked %d times; want %d", got, body, err, green.asked.Load(), status)
			}
		}
	})
}

// TestClientDisconnects holds that nothing stays of a download whose client has
// left in the middle.
func TestClientDisconnects(t *testing.T) {
	t.Parallel()
	archive, sum := makeArchive(t, large, 1)
	left := make(chan struct{})
	blue := &instance{name: "blue", serve: func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == lookupPath {
			_, _ = io.WriteString(w, answer(t, sum))
			return
		}
		half(files("", "", archive), hang)(w, r)
		close(left)
	}}
	w := newWay(t, blue)
	w.expect(t, lookupPath, answer(t, sum))
	resp, err := http.Get(w.url + zipPath)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 1000); err != nil {
		t.Fatal(err)
	}
	if w.spool.room.TryAcquire(SpoolSize) {
		t.Error("nothing is spooled: the test shows nothing")
	}
	_ = resp.Body.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the instance still sends")
	}
	w.spoolIsFree(t)
	w.spoiled(t, "blue", reasonSilence, 0)
	w.spoiled(t, "blue", reasonBroken, 0)
}

// TestArchiveIsUnpackedOnce holds that bytes which were seen before are not
// unpacked again.
func TestArchiveIsUnpackedOnce(t *testing.T) {
	t.Parallel()
	archive, want := makeArchive(t, 10_000, 1)
	a := newArchives("", testr.New(t))
	if got := a.inMemory([]byte(archive)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	raw := [32]byte{}
	if got := a.sum(raw, strings.NewReader("no archive"), 10); !strings.Contains(got, "zip") {
		t.Errorf("what is no archive has the sum %q", got)
	}
	if a.sum(raw, nil, 0) == "" { // it would panic
		t.Error("nothing is remembered")
	}
}

func TestReadPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]asked{
		lookupPath:                  {line: version, database: true, lookup: true},
		"/sumdb/x/tile/8/0/000":     {database: true},
		"/sumdb/x/lookup/Bad@v1":    {database: true, lookup: true},
		modPath:                     {line: module.Version{Path: version.Path, Version: "v1.0.0/go.mod"}},
		zipPath:                     {line: version, archive: true},
		"/Bad/@v/v1.0.0.mod":        {},
		"/Bad/@v/v1.0.0.zip":        {archive: true},
		"/example.com/m/@v/list":    {},
		"/example.com/m/@latest":    {},
		"/example.com/m/@v/v1.info": {},
	} {
		if got := readPath(path); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestLearnsOnlyWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	l := newLearned()
	for _, text := range []string{
		"", "no record", "1\nexample.com/other v1.0.0 h1:x\n\n", "1\nexample.com/M v1.0.1 h1:x\n\n", "1\nexample.com/M v1.0.0 h2:x\n\n", "1\nexample.com/M v1.0.0\n\n",
	} {
		l.learn(version, []byte(text))
	}
	l.learn(module.Version{}, []byte(answer(t, "h1:x")))
	if l.sums.Len() > 0 {
		t.Errorf("learned %d lines", l.sums.Len())
	}
	l.learn(version, []byte(answer(t, "h1:x")))
	if !l.has(version) || !l.has(goMod(version)) {
		t.Error("learned nothing of what was asked for")
	}
}

// TestRefusalIsFinal holds that what one instance refuses is not given by
// another one in a further attempt, as long as that instance serves.
func TestRefusalIsFinal(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusUnavailableForLegalReasons} {
		strict := &instance{name: "strict", serve: func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/example.com/bad/") {
				http.Error(w, "refused by policy 7", status)
				return
			}
			http.NotFound(w, r)
		}}
		lax := &instance{name: "lax", serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") }}
		w := newWay(t, strict, lax, lax)
		const bad = "/example.com/bad/@v/v1.0.0.zip"
		for _, path := range []string{bad, "/~2" + bad, "/~3" + bad} {
			if code, body, err := w.get(t, path); err != nil || code != status || !strings.Contains(body, "refused by policy 7") {
				t.Errorf("%s: %d %q, %v", path, code, body, err)
			}
		}
		if n := lax.asked.Load(); n > 0 {
			t.Errorf("the other instance was asked %d times for what one refuses", n)
		}
		// Not another file, nor what is merely not found.
		for path, expected := range map[string]int{"/example.com/m/@v/list": http.StatusNotFound, "/~2/example.com/m/@v/list": http.StatusOK} {
			if code, _, err := w.get(t, path); err != nil || code != expected {
				t.Errorf("%s: %d, %v; want %d", path, code, err, expected)
			}
		}
		// One that no longer serves may refuse because it is broken.
		w.refusals.serves = func(string) bool { return false }
		w.expect(t, "/~2"+bad, "content")
		w.refusals.serves = nil
		w.expect(t, "/~2"+bad, "content")
		// It stands for a while only.
		clock := time.Now()
		w.refusals.now = func() time.Time { return clock }
		if code, _, _ := w.get(t, bad); code != status {
			t.Fatalf("%d", code)
		}
		clock = clock.Add(refusalStands)
		w.expect(t, "/~3"+bad, "content")
	}
}
