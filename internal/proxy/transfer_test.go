package proxy_test

import (
	"archive/zip"
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/proxy"
)

// bigZip is the archive of a version with a file that cannot be compressed.
func bigZip(t *testing.T, m module.Version, size int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, content := range map[string]io.Reader{
		"go.mod": strings.NewReader("module " + m.Path + "\n"), "data": io.LimitReader(crand.Reader, int64(size)),
	} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.String() + "/" + name, Method: zip.Store})
		must(t, err)
		_, err = io.Copy(f, content)
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

// front serves an instance on a port, so that connections can break.
func front(t *testing.T, server http.Handler) *httptest.Server {
	t.Helper()
	f := httptest.NewServer(server)
	t.Cleanup(f.Close)
	return f
}

// download is what a client gets of a URL; an error if the answer broke off.
func download(t *testing.T, url string) (int, []byte, error) {
	t.Helper()
	resp, err := http.Get(url) //nolint:gosec,noctx // a server of this test
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// TestEachFileIsFetchedWhenItIsAskedFor plays an upstream that has no archive: a
// client that reads the graph of modules alone gets all that it asks for.
func TestEachFileIsFetchedWhenItIsAskedFor(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, nil)
	intact := u.Config.Handler
	var asked sync.Map
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path, true)
		if strings.HasSuffix(r.URL.Path, ".zip") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		intact.ServeHTTP(w, r)
	})
	mustServe(t, server, modPath, modText)
	asked.Range(func(path, _ any) bool {
		if path != modPath {
			t.Errorf("asked for %s, and not for what the client wants alone", path)
		}
		return true
	})
	if w := get(t, server, infoPath); w.Code != http.StatusOK {
		t.Errorf(".info: %d %s", w.Code, w.Body)
	}
	if w := get(t, server, zipPath); w.Code != http.StatusForbidden {
		t.Errorf(".zip: %d %s", w.Code, w.Body)
	}
}

// TestArchivesArriveWhileTheyAreFetched holds that a slow archive flows, that
// several clients share one fetch of it, and that it is stored at its end.
func TestArchivesArriveWhileTheyAreFetched(t *testing.T) {
	for name, size := range map[string]int{"with a length": 3 << 20, "without": 3 << 20, "a large one": 10 << 20, "a large one without": 10 << 20} {
		t.Run(name, func(t *testing.T) {
			length, archive := !strings.Contains(name, "without"), bigZip(t, theModule, size)
			u := startUpstream(t)
			second := make(chan struct{})
			u.fail(func(w http.ResponseWriter, r *http.Request) {
				if length {
					w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
				}
				_, _ = w.Write(archive[:2<<20])
				_ = http.NewResponseController(w).Flush()
				select {
				case <-second:
				case <-r.Context().Done():
				}
				_, _ = w.Write(archive[2<<20:])
			})
			server, store := instance(t, u, nil)
			at := front(t, server).URL + zipPath
			var clients sync.WaitGroup
			halves := make(chan struct{}, 3)
			for range 3 {
				clients.Go(func() {
					resp, err := http.Get(at) //nolint:gosec,noctx // a server of this test
					if err != nil {
						t.Error(err)
						halves <- struct{}{}
						return
					}
					defer func() { _ = resp.Body.Close() }()
					first := make([]byte, 1<<20)
					_, err = io.ReadFull(resp.Body, first)
					halves <- struct{}{}
					if err != nil {
						t.Error(err)
					}
					rest, err := io.ReadAll(resp.Body)
					if err != nil || !bytes.Equal(append(first, rest...), archive) {
						t.Errorf("%v, %d bytes of %d", err, len(first)+len(rest), len(archive))
					}
				})
			}
			deadline := time.After(10 * time.Second)
			for range 3 {
				select {
				case <-halves:
				case <-deadline:
					t.Error("nothing arrives before the end of the fetch")
					deadline = nil
					close(second)
				}
			}
			if deadline != nil {
				close(second)
			}
			clients.Wait()
			if n := u.requests.Load(); n != 1 {
				t.Errorf("%d requests to the upstream", n)
			}
			if _, err := os.Stat(filepath.Join(store, zipPath)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWrongArchivesAreTerminated holds that no client takes an archive for complete
// that the upstream did not send whole and right, and that none is stored.
func TestWrongArchivesAreTerminated(t *testing.T) {
	archive := bigZip(t, theModule, 1<<20)
	altered := bytes.Clone(archive)
	altered[len(altered)/2] ^= 1
	late := bytes.Clone(archive)
	late[len(late)-40] ^= 1
	for name, fault := range map[string]http.HandlerFunc{
		"a altered bit": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(altered)))
			_, _ = w.Write(altered)
		},
		"a altered bit, chunked": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(altered[:512<<10])
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(altered[512<<10:])
		},
		"a altered bit at the end": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(late) },
		"truncated to the eye":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive[:900<<10]) },
		"broken off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
			_, _ = w.Write(archive[:900<<10])
		},
		"broken off, chunked": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(archive[:900<<10])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"broken off early": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
			_, _ = w.Write(archive[:9<<10])
		},
		"of another version": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bigZip(t, module.Version{Path: theModule.Path, Version: "v1.0.1"}, 1<<20))
		},
		"with a file that is not extracted": func(w http.ResponseWriter, _ *http.Request) {
			var odd bytes.Buffer
			z := zip.NewWriter(&odd)
			_, err := z.Create(theModule.String() + "/sub/go.mod")
			must(t, errors.Join(err, z.Close()))
			_, _ = w.Write(odd.Bytes())
		},
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(501<<20))
			_, _ = w.Write(archive)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			u.fail(fault)
			server, dir := instance(t, u, nil)
			at := front(t, server).URL + zipPath
			if code, body, err := download(t, at); code == http.StatusOK && err == nil {
				t.Errorf("a complete answer of %d bytes", len(body))
			}
			if _, err := os.Stat(filepath.Join(dir, zipPath)); err == nil {
				t.Error("it was stored")
			}
			left, err := filepath.Glob(filepath.Join(dir, filepath.Dir(zipPath), ".*"))
			must(t, err)
			if len(left) > 0 {
				t.Errorf("left in the store: %v", left)
			}
			u.fail(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
			if code, body, err := download(t, at); code != http.StatusOK || err != nil || !bytes.Equal(body, archive) {
				t.Errorf("the right one: %d, %d bytes, %v", code, len(body), err)
			}
		})
	}
}

// TestFetchesAreBoundedInSum plays clients that ask for as many large archives as
// they can, of an upstream that hangs in the middle of each.
func TestFetchesAreBoundedInSum(t *testing.T) {
	const size = 200 << 20
	u := startUpstream(t)
	intact := u.Config.Handler
	var open atomic.Int64
	stop := make(chan struct{})
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/large") {
			intact.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, 64<<10))
		_ = http.NewResponseController(w).Flush()
		open.Add(1)
		defer open.Add(-1)
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	server, _ := instance(t, u, func(o *proxy.Options) { o.MaxFetchBytes, o.MaxFetches = 1<<30, 8; o.Store = lasting(t) })
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 30 {
		clients.Go(func() {
			req := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/example.com/large%d/@v/v1.0.0.zip", i), http.NoBody).WithContext(ctx)
			req.RemoteAddr = fmt.Sprintf("192.0.2.%d:1234", i%3)
			server.ServeHTTP(httptest.NewRecorder(), req)
		})
	}
	defer clients.Wait()
	defer cancel()
	defer close(stop)
	settled := 0
	eventually(t, "at most 1 GiB is under way, and some", func() bool {
		if n := open.Load(); n < 3 || n > 1<<30/size { // others are there for a moment, until their size is known
			settled = 0
		}
		settled++
		return settled > 50
	})
	for _, path := range []string{modPath, zipPath, "/example.com/m/@v/list"} {
		began := time.Now()
		if w := get(t, server, path); w.Code != http.StatusOK || time.Since(began) > 5*time.Second {
			t.Errorf("%s beside large archives: %d after %s", path, w.Code, time.Since(began))
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestStoredAnswersAreServedWhileTheUpstreamHangs holds that what is stored is
// there at once, and that the answer which comes at last is for the next client.
func TestStoredAnswersAreServedWhileTheUpstreamHangs(t *testing.T) {
	u := startQueries(t)
	server, _ := instance(t, u, nil)
	want := map[string]string{}
	for _, path := range append([]string{"/example.com/lib/@v/v1.1.3.info", "/example.com/lib/@v/v1.1.3.mod", "/example.com/lib/@v/v1.1.3.zip"}, queries...) {
		want[path] = get(t, server, path).Body.String()
	}
	release := make(chan struct{})
	intact := u.Config.Handler
	u.fail(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		if strings.HasSuffix(r.URL.Path, "/lib/@v/list") {
			_, _ = io.WriteString(w, "v1.1.3\nv1.1.4\n")
			return
		}
		http.NotFound(w, r)
	})
	_ = intact
	began := time.Now()
	for path, text := range want {
		w := get(t, server, path)
		if w.Code != http.StatusOK || w.Body.String() != text {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d stored answers took %s", len(want), took)
	}
	close(release)
	eventually(t, "the list is fresh", func() bool {
		return get(t, server, "/example.com/lib/@v/list").Body.String() == "v1.1.3\nv1.1.4\n"
	})
}

// TestAnswersNeverGoBack plays an upstream of several servers, some of which have
// less than others.
func TestAnswersNeverGoBack(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, nil)
	answer := func(list, latest string) {
		u.fail(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "list") {
				_, _ = io.WriteString(w, list)
				return
			}
			_, _ = w.Write(info(latest))
		})
	}
	for _, step := range []struct{ list, latest, wantList, wantLatest string }{
		{"", "v0.0.0-20240102030405-0123456789ab", "", "v0.0.0-20240102030405-0123456789ab"},
		{"v1.1.0-rc.1\n", "v1.1.0-rc.1", "v1.1.0-rc.1\n", "v1.1.0-rc.1"},
		{"v1.0.0\nv1.1.0-rc.1\n", "v1.0.0", "v1.0.0\nv1.1.0-rc.1\n", "v1.0.0"},
		{"v1.1.0-rc.1\n", "v1.1.0-rc.1", "v1.1.0-rc.1\nv1.0.0\n", "v1.0.0"},
		{"v1.1.0\nv1.0.0\n", "v1.1.0", "v1.1.0\nv1.0.0\nv1.1.0-rc.1\n", "v1.1.0"},
		{"v1.0.0", "v1.0.0", "v1.0.0\nv1.1.0\nv1.1.0-rc.1\n", "v1.1.0"},
		{"", "v0.0.0-20250102030405-0123456789ab", "v1.0.0\nv1.1.0\nv1.1.0-rc.1\n", "v1.1.0"},
	} {
		answer(step.list, step.latest)
		mustServe(t, server, "/example.com/m/@v/list", step.wantList)
		mustServe(t, server, "/example.com/m/@latest", string(info(step.wantLatest)))
	}
}

// TestAnswersAreThoseOfTheUpstream holds that nothing is added to a file, and
// nothing is lost, whether it is just fetched or comes from the store.
func TestAnswersAreThoseOfTheUpstream(t *testing.T) {
	const origin = `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z","Origin":{"VCS":"git","URL":"https://example.com/m","Hash":"0123456789012345678901234567890123456789","Ref":"refs/tags/v1.0.0"}}` + "\n"
	archive := bigZip(t, theModule, 600<<10)
	files := map[string]string{
		infoPath: origin, "/example.com/m/@latest": origin, "/example.com/m/@v/v1.info": origin,
		"/example.com/m/@v/list": "v1.0.0\nv0.9.0\n", modPath: "module example.com/m\r\n", zipPath: string(archive),
	}
	u := startUpstream(t)
	u.fail(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, files[r.URL.Path]) })
	blue, _ := instance(t, u, nil)
	green, _ := instance(t, u, nil)
	request := func(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, http.NoBody)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for path, want := range files {
		var tags []string
		for _, server := range []http.Handler{blue, green} {
			// Its first bytes, of a file that is not there yet.
			if w := request(server, http.MethodGet, path, "Range", "bytes=0-3"); w.Code != http.StatusPartialContent || w.Body.String() != want[:4] {
				t.Errorf("%s, a part: %d %q", path, w.Code, w.Body)
			}
			for range 2 {
				if w := request(server, http.MethodGet, path); w.Code != http.StatusOK || w.Body.String() != want {
					t.Errorf("%s: %d, and other bytes", path, w.Code)
				} else {
					tags = append(tags, w.Header().Get("ETag"))
				}
			}
			if w := request(server, http.MethodHead, path); w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(len(want)) {
				t.Errorf("HEAD %s: %d, Content-Length %q", path, w.Code, w.Header().Get("Content-Length"))
			}
			if w := request(server, http.MethodGet, path, "If-None-Match", tags[0]); w.Code != http.StatusNotModified {
				t.Errorf("%s with its own validator: %d", path, w.Code)
			}
			since := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
			if w := request(server, http.MethodGet, path, "If-Modified-Since", since); w.Code != http.StatusOK {
				t.Errorf("%s with a time: %d: when it was stored is no property of it", path, w.Code)
			}
		}
		for _, tag := range tags {
			if tag == "" || tag != tags[0] {
				t.Errorf("%s: validators %q", path, tags)
			}
		}
	}
}

// TestStoreOnlyRequestsFetchNothing holds it for every kind of file.
func TestStoreOnlyRequestsFetchNothing(t *testing.T) {
	u := startUpstream(t)
	server, _ := instance(t, u, nil)
	mustServe(t, server, modPath, modText)
	before := u.requests.Load()
	for path, want := range map[string]int{
		modPath: 200, infoPath: 404, zipPath: 404, "/example.com/m/@latest": 404, "/example.com/m/@v/list": 404, "/example.com/m/@v/v1.info": 404,
	} {
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("Disable-Module-Fetch", "true")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	if n := u.requests.Load() - before; n != 0 {
		t.Errorf("%d requests went to the upstream", n)
	}
}

// TestToolchainsAreServed: the go command downloads toolchains as versions of a module.
func TestToolchainsAreServed(t *testing.T) {
	m := module.Version{Path: "golang.org/toolchain", Version: "v0.0.1-go1.26.7.linux-amd64"}
	files := map[string]string{
		"/golang.org/toolchain/@v/list":                                "v0.0.1-go1.26.7.linux-amd64\nv0.0.1-go1.26.7.darwin-arm64\n",
		"/golang.org/toolchain/@v/v0.0.1-go1.26.7.linux-amd64.info":    string(info(m.Version)),
		"/golang.org/toolchain/@v/v0.0.1-go1.26.7.linux-amd64.mod":     "module golang.org/toolchain\n",
		"/golang.org/toolchain/@v/v0.0.1-go1.26.7.linux-amd64.zip":     string(bigZip(t, m, 1<<20)),
		"/golang.org/toolchain/@v/v0.0.1-go1.26rc1.linux-amd64.info":   string(info("v0.0.1-go1.26rc1.linux-amd64")),
		"/golang.org/toolchain/@v/v0.0.1-go1.26.7.darwin-arm64.info":   string(info("v0.0.1-go1.26.7.darwin-arm64")),
		"/golang.org/toolchain/@v/v0.0.1-go1.26rc1.windows-amd64.info": string(info("v0.0.1-go1.26rc1.windows-amd64")),
	}
	u := startUpstream(t)
	u.fail(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, files[r.URL.Path]) })
	server, _ := instance(t, u, nil)
	for path, want := range files {
		mustServe(t, server, path, want)
	}
}

// TestFetchesAreComparedWithTheChecksumDatabase plays an upstream that has another
// file than the database: neither is served, and what the database does not have
// is not either.
func TestFetchesAreComparedWithTheChecksumDatabase(t *testing.T) {
	signer, key, err := note.GenerateKey(crand.Reader, "db.test")
	must(t, err)
	archive := bigZip(t, theModule, 1<<20)
	file := filepath.Join(t.TempDir(), "m.zip")
	must(t, os.WriteFile(file, archive, 0o600))
	h1, err := dirhash.HashZip(file, dirhash.Hash1)
	must(t, err)
	mod1, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(modText)), nil })
	must(t, err)
	records := sumdb.NewServer(sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		if path != theModule.Path {
			return nil, fmt.Errorf("%s is not there: %w", path, os.ErrNotExist)
		}
		return fmt.Appendf(nil, "%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n", path, version, h1, mod1), nil
	}))
	start := func(t *testing.T, mod string, zipped []byte) http.Handler {
		u := startUpstream(t)
		u.fail(func(w http.ResponseWriter, r *http.Request) {
			rest, isPage := strings.CutPrefix(r.URL.Path, "/sumdb/db.test")
			switch {
			case isPage && rest == "/supported":
			case isPage:
				r.URL.Path = rest
				records.ServeHTTP(w, r)
			case strings.HasSuffix(r.URL.Path, ".mod"):
				_, _ = io.WriteString(w, mod)
			case strings.HasSuffix(r.URL.Path, ".zip"):
				_, _ = w.Write(zipped)
			default:
				http.NotFound(w, r)
			}
		})
		server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOSUMDB = key })
		return server
	}
	right := start(t, modText, archive)
	mustServe(t, right, modPath, modText)
	if code, body, err := download(t, front(t, right).URL+zipPath); code != http.StatusOK || err != nil || !bytes.Equal(body, archive) {
		t.Errorf("the right archive: %d, %d bytes, %v", code, len(body), err)
	}
	mustServe(t, right, modPath, modText)
	wrong := start(t, modText+"\n// another\n", bigZip(t, theModule, 1<<20))
	if w := get(t, wrong, modPath); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "checksum") {
		t.Errorf("another go.mod: %d %s", w.Code, w.Body)
	}
	if code, body, err := download(t, front(t, wrong).URL+zipPath); code == http.StatusOK && err == nil {
		t.Errorf("another archive arrived whole, with %d bytes", len(body))
	}
	if w := get(t, right, "/example.com/unknown/@v/v1.0.0.mod"); w.Code == http.StatusOK {
		t.Errorf("a go.mod that the database does not have: %d", w.Code)
	}
}
