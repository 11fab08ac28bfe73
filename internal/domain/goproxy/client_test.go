package goproxy_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/goproxy"
)

var upper = module.Version{Path: "example.com/Upper/mod", Version: "v1.2.0"}

const upperMod = "module example.com/Upper/mod\n\ngo 1.24\n"

// archive makes a module archive with the given files.
func archive(t *testing.T, m module.Version, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, content := range files {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.String() + "/" + name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// serve answers the given paths and 404 for all others.
func serve(t *testing.T, answers map[string]http.HandlerFunc) *goproxy.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer, ok := answers[r.URL.Path]; ok {
			answer(w, r)
			return
		}
		http.Error(w, "not found: no such module\nsecond line", http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	return &goproxy.Client{Base: server.URL + "/", HTTP: server.Client()}
}

func body(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, content) }
}

func TestClientReadsEveryEndpoint(t *testing.T) {
	packed := archive(t, upper, map[string]string{"go.mod": upperMod, "a.go": "package a\n"})
	const base = "/example.com/!upper/mod/"
	client := serve(t, map[string]http.HandlerFunc{
		base + "@v/list":           body("v1.10.0\nv1.2.0 2024-01-02T03:04:05Z\n\n"),
		base + "@latest":           body(`{"Version":"v1.10.0","Time":"2024-01-02T03:04:05Z"}`),
		base + "@v/v1.2.0.info":    body(`{"Version":"v1.2.0","Time":"2023-01-02T03:04:05Z","Origin":{}}`),
		base + "@v/v1.2.0.mod":     body(upperMod),
		base + "@v/v1.2.0.zip":     body(string(packed)),
		"/sumdb/db.test/supported": body(""),
		"/sumdb/db.test/latest": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Status", "x; hit")
			fmt.Fprint(w, "a signed tree")
		},
		"/sumdb/bad.test/supported": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	})
	ctx := t.Context()

	versions, err := client.Versions(ctx, upper.Path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v1.2.0", "v1.10.0"}, versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	latest, err := client.Latest(ctx, upper.Path)
	if err != nil || latest.Version != "v1.10.0" {
		t.Errorf("Latest = %v, %v", latest, err)
	}
	info, err := client.Info(ctx, upper)
	want := goproxy.Info{Version: "v1.2.0", Time: time.Date(2023, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err != nil || info != want {
		t.Errorf("Info = %v, %v; want %v", info, err, want)
	}
	mod, err := client.Mod(ctx, upper)
	if err != nil || string(mod) != upperMod {
		t.Errorf("Mod = %q, %v", mod, err)
	}
	if ok, err := client.SumDBSupported(ctx, "db.test"); err != nil || !ok {
		t.Errorf("SumDBSupported(db.test) = %v, %v", ok, err)
	}
	if ok, err := client.SumDBSupported(ctx, "other.test"); err != nil || ok {
		t.Errorf("SumDBSupported(other.test) = %v, %v; want false, nil", ok, err)
	}
	if _, err := client.SumDBSupported(ctx, "bad.test"); !errors.Is(err, goproxy.ErrServer) {
		t.Errorf("SumDBSupported(bad.test) = %v, want ErrServer", err)
	}

	tree, header, err := client.SumDBLatest(ctx, "db.test")
	if err != nil || string(tree) != "a signed tree" || header.Get("Cache-Status") != "x; hit" {
		t.Errorf("SumDBLatest = %q, %v, %v", tree, header, err)
	}
	if _, _, err := client.SumDBLatest(ctx, "other.test"); !errors.Is(err, goproxy.ErrNotFound) {
		t.Errorf("SumDBLatest(other.test) = %v, want ErrNotFound", err)
	}

	sums, err := client.Sums(ctx, upper)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(file, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	wantZip, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	if sums.Zip != wantZip {
		t.Errorf("sum of the archive = %s, dirhash says %s", sums.Zip, wantZip)
	}
	if !strings.HasPrefix(sums.Mod, "h1:") || sums.Mod == sums.Zip {
		t.Errorf("sum of go.mod = %q", sums.Mod)
	}
}

func TestClientDistinguishesFailures(t *testing.T) {
	const zipPath = "/example.com/!upper/mod/@v/v1.2.0.zip"
	packed := archive(t, upper, map[string]string{"go.mod": upperMod, "a.go": strings.Repeat("// a\n", 1000)})
	altered := bytes.Clone(packed)
	altered[bytes.Index(altered, []byte("// a"))] ^= 0x10

	tests := map[string]struct {
		answer http.HandlerFunc
		limit  int64
		want   error
		detail string
	}{
		"no such module": {answer: nil, want: goproxy.ErrNotFound, detail: "not found (status 404)"},
		"gone":           {answer: status(http.StatusGone), want: goproxy.ErrNotFound},
		"forbidden":      {answer: status(http.StatusForbidden), want: goproxy.ErrServer, detail: "403"},
		"server error":   {answer: status(http.StatusInternalServerError), want: goproxy.ErrServer, detail: "500"},
		"hangs before the header": {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			want: goproxy.ErrTimeout},
		"hangs in the body": {answer: func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(packed[:10])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, want: goproxy.ErrTimeout},
		"breaks in the body": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(packed)))
			_, _ = w.Write(packed[:len(packed)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, want: goproxy.ErrUnreachable},
		"truncated archive": {answer: body(string(packed[:len(packed)/2])), want: goproxy.ErrMalformed},
		"flipped byte":      {answer: body(string(altered)), want: goproxy.ErrMalformed},
		"login page":        {answer: body("<html>please log in</html>"), want: goproxy.ErrMalformed},
		"larger than the limit": {answer: body(string(packed)), limit: 100, want: goproxy.ErrMalformed,
			detail: "limit of 100 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answers := map[string]http.HandlerFunc{}
			if test.answer != nil {
				answers[zipPath] = test.answer
			}
			client := serve(t, answers)
			client.MaxZip = test.limit
			timeout := time.Minute
			if errors.Is(test.want, goproxy.ErrTimeout) {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			_, err := client.ZipSum(ctx, upper)
			kinds := []error{goproxy.ErrNotFound, goproxy.ErrRedirected, goproxy.ErrServer, goproxy.ErrTimeout, goproxy.ErrUnreachable, goproxy.ErrMalformed}
			for _, kind := range kinds {
				if errors.Is(err, kind) != (kind == test.want) {
					t.Errorf("errors.Is(%q, %v) = %v", err, kind, kind != test.want)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "no such module") || strings.Contains(err.Error(), "please log in")) {
				t.Errorf("error %q repeats what the server sent", err)
			}
			if err != nil && !strings.Contains(err.Error(), test.detail) {
				t.Errorf("error %q does not say %q", err, test.detail)
			}
		})
	}
}

// TestClientReportsTheStatus holds that an error has the status of the answer, and
// none if there was no answer.
func TestClientReportsTheStatus(t *testing.T) {
	client := serve(t, map[string]http.HandlerFunc{"/example.com/!upper/mod/@v/v1.2.0.info": status(http.StatusBadGateway)})
	other := goproxy.Client{Base: "http://127.0.0.1:1"}
	for want, c := range map[int]*goproxy.Client{http.StatusBadGateway: client, 0: &other} {
		_, err := c.Info(t.Context(), upper)
		if failure, ok := errors.AsType[*goproxy.Error](err); !ok || failure.Status != want {
			t.Errorf("%v has the status %+v, want %d", err, failure, want)
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

func TestClientRefusesAnswersAboutSomethingElse(t *testing.T) {
	const base = "/example.com/!upper/mod/@v/"
	client := serve(t, map[string]http.HandlerFunc{
		base + "list":        body("<html>"),
		base + "v1.2.0.info": body(`{"Version":"v1.3.0"}`),
		base + "v1.2.0.mod":  body("module example.com/other\n"),
	})
	text := serve(t, map[string]http.HandlerFunc{base + "v1.2.0.info": body("<html>")})
	_, textErr := text.Info(t.Context(), upper)
	_, listErr := client.Versions(t.Context(), upper.Path)
	_, infoErr := client.Info(t.Context(), upper)
	_, modErr := client.Mod(t.Context(), upper)
	_, pathErr := client.Versions(t.Context(), "not a path")
	_, supportedErr := client.SumDBSupported(t.Context(), "")
	_, _, latestErr := client.SumDBLatest(t.Context(), "")
	for name, err := range map[string]error{"list": listErr, "info": infoErr, "no info": textErr, "mod": modErr, "path": pathErr, "supported by no name": supportedErr, "latest of no name": latestErr} {
		if !errors.Is(err, goproxy.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestErrorsHoldNoCredentials(t *testing.T) {
	client := &goproxy.Client{Base: "http://token:secret@127.0.0.1:1/"}
	_, err := client.Versions(t.Context(), upper.Path)
	if !errors.Is(err, goproxy.ErrUnreachable) {
		t.Fatalf("err = %v, want ErrUnreachable", err)
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "token") {
		t.Errorf("the error names credentials: %v", err)
	}
}

func TestCacheOnlyIsAskedFor(t *testing.T) {
	client := serve(t, map[string]http.HandlerFunc{
		"/example.com/!upper/mod/@v/list": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Disable-Module-Fetch") != "true" || r.Header.Get("X-Probe") != "yes" {
				w.WriteHeader(http.StatusTeapot)
			}
		},
	})
	client.CacheOnly = true
	client.Header = http.Header{"X-Probe": {"yes"}}
	if _, err := client.Versions(t.Context(), upper.Path); err != nil {
		t.Fatal(err)
	}
}

func TestSumZipBoundsWhatItUnpacks(t *testing.T) {
	packed := archive(t, upper, map[string]string{"a.go": strings.Repeat("a", 1000), "b.go": strings.Repeat("b", 1000)})
	r := bytes.NewReader(packed)
	if _, err := goproxy.SumZip(r, r.Size(), 2000); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := goproxy.SumZip(r, r.Size(), 1999); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("above the limit: %v", err)
	}
}

func FuzzSumZip(f *testing.F) {
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		sum, err := goproxy.SumZip(bytes.NewReader(data), int64(len(data)), limit)
		if (err == nil) != strings.HasPrefix(sum, "h1:") {
			t.Errorf("SumZip = %q, %v", sum, err)
		}
	})
}
