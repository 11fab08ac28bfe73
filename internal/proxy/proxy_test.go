package proxy_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/proxy"
)

// upstream is a GOPROXY server whose faults can be switched on.
type upstream struct {
	*httptest.Server
	requests atomic.Int64
	mu       sync.Mutex
	fault    http.HandlerFunc
	ids      []string
	gate     chan struct{}
}

var theModule = module.Version{Path: "example.com/m", Version: "v1.0.0"}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	archive := moduleZip(t, theModule)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.requests.Add(1)
		u.mu.Lock()
		fault, gate := u.fault, u.gate
		u.ids = append(u.ids, r.Header.Get("X-Request-ID"))
		u.mu.Unlock()
		if gate != nil {
			<-gate
		}
		if fault != nil {
			fault(w, r)
			return
		}
		switch r.URL.Path {
		case "/example.com/m/@v/list":
			fmt.Fprintln(w, "v1.0.0")
		case "/example.com/m/@latest", "/example.com/m/@v/v1.0.0.info":
			fmt.Fprint(w, `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`)
		case "/example.com/m/@v/v1.0.0.mod":
			fmt.Fprint(w, "module example.com/m\n")
		case "/example.com/m/@v/v1.0.0.zip":
			_, _ = w.Write(archive)
		case "/sumdb/db.test/supported":
		case "/sumdb/db.test/latest":
			fmt.Fprint(w, "the tree")
		case "/sumdb/db.test/lookup/example.com/m@v1.0.0":
			fmt.Fprint(w, record)
		case "/sumdb/db.test/tile/8/0/000.p/2":
			fmt.Fprint(w, strings.Repeat("x", 64))
		default:
			http.Error(w, "not found: no such module", http.StatusNotFound)
		}
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) fail(handler http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault = handler
}

func moduleZip(t *testing.T, m module.Version) []byte {
	t.Helper()
	return moduleZipOf(t, m, "module "+m.Path+"\n")
}

func moduleZipOf(t *testing.T, m module.Version, mod string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, file := range [][2]string{{"go.mod", mod}, {"m.go", "package m\n"}} { // the same each time
		f, err := w.Create(m.String() + "/" + file[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, file[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// instance is a proxy under test; its checksum database is off unless change
// enables it.
func instance(t *testing.T, u *upstream, change func(*proxy.Options)) (*proxy.Server, string) {
	t.Helper()
	store := filepath.Join(t.TempDir(), "store")
	options := proxy.Options{
		Store: store, Name: "blue", Now: time.Now, MinFree: 1, FetchTimeout: 20 * time.Second,
		Log:         testr.NewWithOptions(t, testr.Options{Verbosity: -1}),
		Environment: proxy.Environment{GOPROXY: u.URL, GOSUMDB: "off"},
	}
	if change != nil {
		change(&options)
	}
	server, err := proxy.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return server, store
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w
}

func mustServe(t *testing.T, h http.Handler, path, want string) {
	t.Helper()
	if w := get(t, h, path); w.Code != http.StatusOK || w.Body.String() != want {
		t.Fatalf("GET %s: %d %q, want 200 %q", path, w.Code, w.Body, want)
	}
}

const (
	infoPath = "/example.com/m/@v/v1.0.0.info"
	modPath  = "/example.com/m/@v/v1.0.0.mod"
	zipPath  = "/example.com/m/@v/v1.0.0.zip"
	modText  = "module example.com/m\n"
)

func TestServesFromTheStoreWhenTheUpstreamIsGone(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, nil)
	mustServe(t, server, modPath, modText)
	zipped := get(t, server, zipPath).Body.String()
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\n")
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mustServe(t, server, modPath, modText)
	mustServe(t, server, zipPath, zipped)
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\n")
	if w := get(t, server, "/readyz"); w.Code != http.StatusOK {
		t.Errorf("upstream trouble makes the instance unready: %d %s", w.Code, w.Body)
	}
}

func TestCorruptFilesAreFetchedAgain(t *testing.T) {
	damage := map[string]func(t *testing.T, file string){
		"flipped byte": func(t *testing.T, file string) {
			overwrite(t, file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"truncated": func(t *testing.T, file string) {
			overwrite(t, file, func(b []byte) []byte { return b[:len(b)/2] })
		},
		"emptied": func(t *testing.T, file string) { overwrite(t, file, func([]byte) []byte { return nil }) },
		"replaced by a directory": func(t *testing.T, file string) {
			must(t, os.Remove(file))
			must(t, os.MkdirAll(filepath.Join(file, "x"), 0o755))
		},
		"removed": func(t *testing.T, file string) { must(t, os.Remove(file)) },
		"replaced by half an archive without a sum": func(t *testing.T, file string) {
			content, err := os.ReadFile(file)
			must(t, err)
			must(t, os.Remove(file))
			must(t, os.WriteFile(file, content[:len(content)/2], 0o600))
		},
	}
	for name, do := range damage {
		t.Run(name, func(t *testing.T) {
			u := startUpstream(t)
			server, store := instance(t, u, nil)
			want := get(t, server, zipPath).Body.String()
			do(t, filepath.Join(store, zipPath))
			mustServe(t, server, zipPath, want)
			before := u.requests.Load()
			mustServe(t, server, zipPath, want)
			if u.requests.Load() != before {
				t.Error("the file was not stored anew")
			}
		})
	}
}

// TestDamageWhileSending: the file is right when it is opened, and spoiled
// after its first bytes have gone.
func TestDamageWhileSending(t *testing.T) {
	u := startUpstream(t)
	server, store := instance(t, u, nil)
	complete := get(t, server, zipPath).Body.Len()
	w := &spoiler{ResponseRecorder: httptest.NewRecorder(), spoil: func() {
		overwrite(t, filepath.Join(store, zipPath), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	}}
	server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, zipPath, http.NoBody))
	if n := w.Body.Len(); n >= complete {
		t.Errorf("the client got all %d bytes, and they are wrong", n)
	}
	if w := get(t, server, zipPath); w.Body.Len() != complete || w.Code != http.StatusOK {
		t.Errorf("the next client got %d and %d bytes", w.Code, w.Body.Len())
	}
}

// spoiler does something before the answer's head is written.
type spoiler struct {
	*httptest.ResponseRecorder
	spoil func()
}

func (s *spoiler) WriteHeader(status int) {
	s.spoil()
	s.ResponseRecorder.WriteHeader(status)
}

func TestDamageIsKeptAsEvidenceAndCounted(t *testing.T) {
	u := startUpstream(t)
	server, store := instance(t, u, nil)
	get(t, server, modPath)
	overwrite(t, filepath.Join(store, modPath), func([]byte) []byte { return []byte("module example.com/evil\n") })
	// With the upstream gone there is nothing right to serve, and nothing
	// wrong is.
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	if w := get(t, server, modPath); w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "evil") {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
	evidence, err := filepath.Glob(filepath.Join(store, proxy.QuarantineDir, "*"))
	must(t, err)
	if len(evidence) != 1 {
		t.Fatalf("evidence: %v", evidence)
	}
	content, err := os.ReadFile(evidence[0])
	must(t, err)
	if !strings.Contains(string(content), "evil") {
		t.Errorf("the evidence holds %q", content)
	}
	if metrics := get(t, server.Pages(), "/metrics").Body.String(); !strings.Contains(metrics, `gocache_proxy_store_reads_total{result="damaged"} 1`) {
		t.Errorf("the damage is not counted:\n%s", grep(metrics, "store_reads"))
	}
}

func TestUpstreamTroubleIsNotA404(t *testing.T) {
	tests := map[string]struct {
		fault http.HandlerFunc
		code  int
		text  string
	}{
		"not found":    {http.NotFound, http.StatusNotFound, "not found"},
		"gone":         {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) }, http.StatusGone, "gone"},
		"server error": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, http.StatusBadGateway, "500"},
		"overloaded":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, http.StatusBadGateway, "429"},
		"unauthorized": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, http.StatusForbidden, "refused"},
		"forbidden":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, http.StatusForbidden, "refused"},
		"a policy":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "malware", http.StatusForbidden) }, http.StatusForbidden, "malware"},
		"a law": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "by order", http.StatusUnavailableForLegalReasons)
		}, http.StatusUnavailableForLegalReasons, "by order"},
		"hangs":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, http.StatusGatewayTimeout, "in time"},
		"breaks off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, http.StatusBadGateway, "broke off"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			u.fail(test.fault)
			server, _ := instance(t, u, func(o *proxy.Options) { o.FetchTimeout = 1500 * time.Millisecond })
			for _, path := range []string{infoPath, "/example.com/m/@v/list", "/example.com/m/@latest"} {
				w := get(t, server, path)
				if w.Code != test.code || !strings.Contains(w.Body.String(), test.text) {
					t.Errorf("GET %s: %d %q, want %d and %q", path, w.Code, w.Body, test.code, test.text)
				}
				checkShownByGo(t, w)
			}
		})
	}
}

// checkShownByGo: the go command shows text/plain of at most 8 lines and 648
// bytes up to a blank line.
func checkShownByGo(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	text := w.Body.String()
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || len(text) > 648 ||
		strings.Count(text, "\n") > 8 || strings.Contains(text, "\n\n") {
		t.Errorf("the go command would not show %q (%s) whole", text, w.Header().Get("Content-Type"))
	}
	if id := w.Header().Get("X-Request-ID"); id == "" || !strings.Contains(text, id) || !strings.Contains(text, "blue") {
		t.Errorf("%q does not name the request %q and the instance", text, id)
	}
}

func TestUpstreamIsNotAskedManyTimes(t *testing.T) {
	u := startUpstream(t)
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	server, _ := instance(t, u, nil)
	get(t, server, infoPath)
	if n := u.requests.Load(); n > 3 {
		t.Errorf("one request became %d upstream", n)
	}
}

// TestRequestsInFlight holds that the metric is the number of requests that are being
// answered, and not of all that ever were.
func TestRequestsInFlight(t *testing.T) {
	u := startUpstream(t)
	u.gate = make(chan struct{})
	server, _ := instance(t, u, nil)
	inFlight := func(n int) bool {
		return strings.Contains(get(t, server.Pages(), "/metrics").Body.String(), fmt.Sprintf("gocache_proxy_requests_in_flight %d\n", n))
	}
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() { mustServe(t, server, modPath, modText) })
	}
	eventually(t, "three requests are being answered", func() bool { return inFlight(3) })
	close(u.gate)
	clients.Wait()
	if !inFlight(0) {
		t.Errorf("after the answers: %s", grep(get(t, server.Pages(), "/metrics").Body.String(), "in_flight"))
	}
}

func TestManyClientsAreOneFetch(t *testing.T) {
	u := startUpstream(t)
	u.gate = make(chan struct{})
	server, _ := instance(t, u, nil)
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() { mustServe(t, server, modPath, modText) })
	}
	time.Sleep(50 * time.Millisecond) // they may all have arrived; the outcome must not depend on it
	close(u.gate)
	clients.Wait()
	if n := u.requests.Load(); n != 1 {
		t.Errorf("20 clients caused %d upstream requests, want one for the file that they asked for", n)
	}
}

func TestAFetchOutlivesItsClient(t *testing.T) {
	u := startUpstream(t)
	u.gate = make(chan struct{})
	server, store := instance(t, u, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, modPath, http.NoBody).WithContext(ctx))
	}()
	for u.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	close(u.gate)
	for range 500 {
		if _, err := os.Stat(filepath.Join(store, modPath)); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the fetch ended with its client")
}

func TestAnUnwritableStoreStillServes(t *testing.T) {
	u := startUpstream(t)
	server, store := instance(t, u, nil)
	// The store's volume vanishes: reads find nothing, writes fail.
	must(t, os.RemoveAll(store))
	mustServe(t, server, modPath, modText)
	if w := get(t, server, "/readyz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "gone") {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	if _, err := os.Stat(store); err == nil {
		t.Error("the store was created anew where a volume should be mounted")
	}
}

func TestReadinessChecksTheVolume(t *testing.T) {
	u := startUpstream(t)
	server, store := instance(t, u, nil)
	problem := func() string {
		w := get(t, server, "/readyz")
		if w.Code == http.StatusOK {
			return ""
		}
		return w.Body.String()
	}
	if p := problem(); p != "" {
		t.Fatal(p)
	}
	marker := filepath.Join(store, proxy.MarkerFile)
	id, err := os.ReadFile(marker)
	must(t, err)
	must(t, os.Remove(marker))
	if p := problem(); !strings.Contains(p, "not mounted") {
		t.Errorf("without its marker: %q", p)
	}
	must(t, os.WriteFile(marker, []byte("another\n"), 0o600))
	if p := problem(); !strings.Contains(p, "another store") {
		t.Errorf("with another marker: %q", p)
	}
	// The same store, mounted again.
	must(t, os.WriteFile(marker, id, 0o600))
	must(t, os.Rename(store, store+".old"))
	must(t, os.Mkdir(store, 0o755))
	if p := problem(); p == "" {
		t.Error("an empty directory passes for the store")
	}
	must(t, os.WriteFile(marker, id, 0o600))
	if p := problem(); p != "" {
		t.Errorf("the store is back: %q", p)
	}
	mustServe(t, server, modPath, modText)
	if _, err := os.Stat(filepath.Join(store, modPath)); err != nil {
		t.Errorf("the new mount is not used: %v", err)
	}
}

func TestReadinessReportsAFullVolume(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, func(o *proxy.Options) { o.MinFree = 1 << 60 })
	if w := get(t, server, "/readyz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "full") {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	mustServe(t, server, modPath, modText)
}

func TestStoreSurvivesARestart(t *testing.T) {
	u := startUpstream(t)
	var options proxy.Options
	server, _ := instance(t, u, func(o *proxy.Options) { options = *o })
	mustServe(t, server, modPath, modText)
	options.Environment.GOPROXY = "off"
	again, err := proxy.New(options)
	must(t, err)
	mustServe(t, again, modPath, modText)
	if w := get(t, again, "/example.com/other/@v/list"); w.Code != http.StatusNotFound {
		t.Errorf("an unknown module without an upstream: %d %s", w.Code, w.Body)
	}
}

func TestRequestIDGoesUpstream(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, nil)
	for _, test := range []struct{ given, want string }{{"6f1c-77", "6f1c-77"}, {"bad id\"", ""}} {
		r := httptest.NewRequest(http.MethodGet, "/example.com/m/@latest", http.NoBody)
		r.Header.Set("X-Request-ID", test.given)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		id := w.Header().Get("X-Request-ID")
		if test.want != "" && id != test.want || id == "" || id == "bad id\"" {
			t.Errorf("given %q, answered with %q", test.given, id)
		}
		u.mu.Lock()
		if got := u.ids[len(u.ids)-1]; got != id {
			t.Errorf("the upstream got %q, the client %q", got, id)
		}
		u.mu.Unlock()
	}
}

func TestChecksumDatabaseIsProxied(t *testing.T) {
	u := startUpstream(t)
	_, key, err := note.GenerateKey(rand.Reader, "db.test")
	must(t, err)
	server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOSUMDB = key })
	if w := get(t, server, "/sumdb/db.test/supported"); w.Code != http.StatusOK {
		t.Fatalf("supported: %d %s", w.Code, w.Body)
	}
	if w := get(t, server, "/sumdb/other.test/supported"); w.Code != http.StatusNotFound {
		t.Errorf("another database: %d", w.Code)
	}
	const lookup = "/sumdb/db.test/lookup/example.com/m@v1.0.0"
	mustServe(t, server, lookup, record)
	before := u.requests.Load()
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mustServe(t, server, lookup, record)
	if u.requests.Load() != before {
		t.Error("a record, which never changes, was asked for again")
	}
	if w := get(t, server, "/sumdb/db.test/supported"); w.Code != http.StatusOK {
		t.Errorf("what is supported depends on the upstream's health: %d", w.Code)
	}
	if w := get(t, server, "/sumdb/db.test/latest"); w.Code != http.StatusBadGateway {
		t.Errorf("latest: %d %s, want 502", w.Code, w.Body)
	}
	if page := get(t, server.Pages(), "/metrics").Body.String(); !strings.Contains(page, `gocache_proxy_checksum_database{name="db.test"} 1`) {
		t.Error("the metrics do not name the database")
	}
}

// record of a checksum database, without a tree that a client could verify it in.
const record = "7\nexample.com/m v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\na tree\n"

// TestChecksumDatabaseBehindAnErrorPage holds that what cannot be a page of a checksum
// database is not stored: the record comes once the upstream has it.
func TestChecksumDatabaseBehindAnErrorPage(t *testing.T) {
	_, key, err := note.GenerateKey(rand.Reader, "db.test")
	must(t, err)
	for path, want := range map[string]string{
		"/sumdb/db.test/lookup/example.com/m@v1.0.0": record,
		"/sumdb/db.test/tile/8/0/000.p/2":            strings.Repeat("x", 64),
	} {
		u := startUpstream(t)
		server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOSUMDB = key })
		mustServe(t, server, "/sumdb/db.test/supported", "")
		u.fail(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/supported") {
				fmt.Fprint(w, "<html>Please log in</html>")
			}
		})
		if w := get(t, server, path); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "cannot be right") {
			t.Errorf("%s behind an error page: %d %s", path, w.Code, w.Body)
		}
		u.fail(nil)
		mustServe(t, server, path, want)
	}
}

// TestChecksumDatabaseIsProxiedLater holds that an upstream which does not proxy the database
// at first is asked again.
func TestChecksumDatabaseIsProxiedLater(t *testing.T) {
	_, key, err := note.GenerateKey(rand.Reader, "127.0.0.1:1") // where nothing answers
	must(t, err)
	u := startUpstream(t)
	now := time.Now()
	server, _ := instance(t, u, func(o *proxy.Options) {
		o.Environment.GOSUMDB = key
		o.Now = func() time.Time { return now }
	})
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	const lookup = "/sumdb/127.0.0.1:1/lookup/example.com/m@v1.0.0"
	if w := get(t, server, lookup); w.Code == http.StatusOK {
		t.Fatalf("lookup: %d %s", w.Code, w.Body)
	}
	// While the upstream is away the database is where it was.
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	now = now.Add(2 * time.Minute)
	if w := get(t, server, lookup); !strings.Contains(w.Body.String(), "127.0.0.1:1") || strings.Contains(w.Body.String(), "503") {
		t.Errorf("lookup while the upstream is away: %d %s", w.Code, w.Body)
	}
	u.fail(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == lookup {
			fmt.Fprint(w, record)
		}
	})
	now = now.Add(2 * time.Minute)
	mustServe(t, server, lookup, record)
}

// TestPrivateNamesStayInside plays a client without the setting of which modules are
// private: the checksum database is never asked for one, however the path is
// written, and the client learns what to set.
func TestPrivateNamesStayInside(t *testing.T) {
	_, key, err := note.GenerateKey(rand.Reader, "db.test")
	must(t, err)
	for name, change := range map[string]func(*proxy.Environment){
		"GONOSUMDB": func(e *proxy.Environment) { e.GONOSUMDB = "corp.example.com,*.Example.org/team" },
		"GOPRIVATE": func(e *proxy.Environment) { e.GOPRIVATE = "corp.example.com,*.Example.org/team" },
	} {
		t.Run(name, func(t *testing.T) {
			u := startUpstream(t)
			server, _ := instance(t, u, func(o *proxy.Options) {
				o.Environment.GOSUMDB = key
				change(&o.Environment)
			})
			before := u.requests.Load()
			for _, path := range []string{
				"/sumdb/db.test/lookup/corp.example.com@v1.0.0", "/sumdb/db.test/lookup/corp.example.com/secret/deal@v1.0.0",
				"/sumdb/db.test/lookup/git.!example.org/team/x@v0.0.0-20240102030405-abcdefabcdef",
				"/sumdb/db.test/lookup/corp.example.com%2fsecret@v1.0.0", "/sumdb/db.test/%6cookup/corp.example.com/secret@v1.0.0",
				"/sumdb/db.test/lookup/corp.example.com/secret@v1.0.0@v1.0.0", "/sumdb/db.test/lookup/corp.example.com/secret",
				"/sumdb/db.test/lookup/corp.example.com%252fsecret@v1.0.0", "/sumdb//db.test/lookup/corp.example.com/secret@v1.0.0",
				"/sumdb/db.test/lookup/./corp.example.com/secret@v1.0.0", "/sumdb/db.test/lookup/!corp.example.com/secret@v1.0.0",
			} {
				if w := get(t, server, path); w.Code != http.StatusForbidden && w.Code != http.StatusNotFound {
					t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
				}
			}
			if w := get(t, server, "/sumdb/db.test/lookup/corp.example.com/x@v1.0.0"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "GONOSUMDB") {
				t.Errorf("the client is not told what to set: %d %s", w.Code, w.Body)
			}
			if asked := u.requests.Load() - before; asked != 0 {
				t.Errorf("the upstream got %d requests", asked)
			}
			mustServe(t, server, "/sumdb/db.test/lookup/example.com/m@v1.0.0", record)
		})
	}
}

// TestStaleAnswersAreMarked holds that an answer from the store which would have
// been the upstream's can be distinguished from one that is.
func TestStaleAnswersAreMarked(t *testing.T) {
	u := startUpstream(t)
	_, key, err := note.GenerateKey(rand.Reader, "db.test")
	must(t, err)
	server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOSUMDB = key })
	pages := []string{"/sumdb/db.test/latest", "/example.com/m/@v/list"}
	ask := func(when, want string) {
		t.Helper()
		for _, page := range pages {
			if w := get(t, server, page); w.Code != http.StatusOK || w.Header().Get("Cache-Status") != want {
				t.Errorf("%s: %s: %d, Cache-Status %q, want %q", when, page, w.Code, w.Header().Get("Cache-Status"), want)
			}
		}
	}
	ask("at first", "")
	u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	ask("when the upstream fails", "gocache-proxy; hit; detail=upstream-failed")
	mustServe(t, server, "/sumdb/db.test/supported", "")
	u.fail(nil)
	ask("when it is back", "")
}

func TestPrivateModulesAreLeftToTheClient(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOPRIVATE = "example.com/*" })
	w := get(t, server, infoPath)
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "GOPRIVATE") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if u.requests.Load() != 0 {
		t.Error("the upstream was asked")
	}
}

func TestEnvironment(t *testing.T) {
	tests := []struct {
		goproxy, want string
		fails         bool
	}{
		{"https://a.test,direct", "https://a.test", false},
		{"https://a.test|https://b.test,direct", "https://a.test|https://b.test", false},
		{"https://a.test,direct,https://b.test", "https://a.test", false},
		{"https://a.test,off", "https://a.test,off", false},
		{"off", "off", false},
		{"direct", "", true},
		{"", "", true},
	}
	for _, test := range tests {
		got, err := proxy.Environment{GOPROXY: test.goproxy}.WithoutDirect()
		if (err != nil) != test.fails || err == nil && got.GOPROXY != test.want {
			t.Errorf("WithoutDirect(%q) = %q, %v; want %q", test.goproxy, got.GOPROXY, err, test.want)
		}
	}
	for sumdb, want := range map[string]string{"off": "", "": "", "db.test": "db.test", "db.test+1+k https://x": "db.test"} {
		if got := (proxy.Environment{GOSUMDB: sumdb}).SumDBName(); got != want {
			t.Errorf("SumDBName of %q = %q, want %q", sumdb, got, want)
		}
	}
}

func TestToolchainDefaultsWithoutAGoCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	file := filepath.Join(t.TempDir(), "go.env")
	must(t, os.WriteFile(file, []byte("# defaults\n\nGOPROXY=https://a.test,direct\nGOSUMDB=db.test\n"), 0o600))
	getenv := func(name string) string { return map[string]string{"GOSUMDB": "off", "GOPRIVATE": "p.test"}[name] }
	env, err := proxy.ToolchainEnvironment(t.Context(), getenv, file)
	must(t, err)
	want := proxy.Environment{GOPROXY: "https://a.test,direct", GOSUMDB: "off", GOPRIVATE: "p.test"}
	if env != want {
		t.Errorf("got %+v, want %+v", env, want)
	}
	if _, err := proxy.ToolchainEnvironment(t.Context(), getenv, file+".absent"); err != nil {
		t.Errorf("without a defaults file: %v", err)
	}
	// One that is there and cannot be read is not the same as none.
	for name, tt := range map[string]struct {
		file string
		want error
	}{
		"below a file":    {filepath.Join(file, "go.env"), syscall.ENOTDIR},
		"a directory":     {filepath.Dir(file), syscall.EISDIR},
		"an endless line": {file + ".long", bufio.ErrTooLong},
	} {
		must(t, os.WriteFile(file+".long", bytes.Repeat([]byte("x"), 1<<20), 0o600))
		if env, err := proxy.ToolchainEnvironment(t.Context(), getenv, tt.file); !errors.Is(err, tt.want) || env != (proxy.Environment{}) {
			t.Errorf("%s: %+v, %v; want %v", name, env, err, tt.want)
		}
	}
}

// A store that cannot be opened is an error at the start: an instance without
// one would fetch everything again and again.
func TestStoreThatCannotBeOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	unreadable := t.TempDir()
	must(t, os.Mkdir(filepath.Join(unreadable, proxy.MarkerFile), 0o700))
	for name, tt := range map[string]struct {
		dir  string
		want error
	}{
		"a file": {file, syscall.ENOTDIR}, "below a file": {filepath.Join(file, "store"), syscall.ENOTDIR}, "a directory for a marker": {unreadable, syscall.EISDIR},
	} {
		if s, err := proxy.OpenStore(tt.dir, time.Now, testr.New(t), nil); s != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, s, err, tt.want)
		}
	}
	// A directory that is there, and no file descriptor to open it with.
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	dir := t.TempDir()
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: limit.Max}))
	s, err := proxy.OpenStore(dir, time.Now, testr.New(t), nil)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if s != nil || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("without file descriptors: %v, %v; want EMFILE", s, err)
	}
}

// TestInterruptedMarker holds that a store opens although a process died between the
// creation of its marker and the content.
func TestInterruptedMarker(t *testing.T) {
	u := startUpstream(t)
	dir := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(dir, 0o750))
	marker := filepath.Join(dir, proxy.MarkerFile)
	must(t, os.WriteFile(marker, nil, 0o600))
	var ids []string
	for range 2 {
		server, _ := instance(t, u, func(o *proxy.Options) { o.Store = dir })
		mustServe(t, server, modPath, modText)
		text, err := os.ReadFile(marker)
		must(t, err)
		ids = append(ids, string(text))
	}
	if len(ids[0]) < 16 || ids[0] != ids[1] {
		t.Errorf("the marker holds %q", ids)
	}
}

func TestGracefulStopLetsDownloadsFinish(t *testing.T) {
	u := startUpstream(t)
	u.gate = make(chan struct{})
	server, _ := instance(t, u, nil)
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener, nil, 10*time.Second) }()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String() + modPath)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	for u.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	close(u.gate)
	if got := <-answer; got != modText {
		t.Errorf("the request under way ended with %q", got)
	}
	must(t, <-served)
}

func TestHungStoreDoesNotHangReadyz(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64 // a check runs beside the requests that wait for it
		r := proxy.NewReadiness(func() proxy.Report { calls.Add(1); <-release; return proxy.Report{Capacity: 7} }, time.Second, time.Now)
		begin := time.Now()
		for range 3 {
			if report := r.Report(t.Context()); !strings.Contains(report.Problem, "has not answered") {
				t.Fatalf("report %+v", report)
			}
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("three looks took %s", took)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d checks hang", n)
		}
		close(release)
		synctest.Wait()
		if report := r.Report(t.Context()); report.Problem != "" || report.Capacity != 7 {
			t.Errorf("after the store answered: %+v", report)
		}
	})
}

func overwrite(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	// In place, as rot does it: the recorded sum stays.
	must(t, os.WriteFile(file, change(content), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func grep(text, what string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
