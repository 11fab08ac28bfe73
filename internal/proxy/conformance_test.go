package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// reference is an upstream that serves files as they are, and counts what it sends.
type reference struct {
	files  map[string]string
	status map[string]int
	sent   atomic.Int64
	asked  atomic.Int64
}

func (u *reference) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.asked.Add(1)
	counted := &countingWriter{w, &u.sent}
	if code := u.status[r.URL.Path]; code != 0 {
		http.Error(counted, fmt.Sprintf("the reference says %d", code), code)
		return
	}
	text, ok := u.files[r.URL.Path]
	if !ok {
		http.Error(counted, "not found: "+r.URL.Path, http.StatusNotFound)
		return
	}
	http.ServeContent(counted, r, "", time.Time{}, strings.NewReader(text))
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent.Add(int64(n))
	return n, err
}

// add a version with all its files.
func (u *reference) add(t *testing.T, m module.Version, mod string, size int) {
	t.Helper()
	path, err := module.EscapePath(m.Path)
	must(t, err)
	version, err := module.EscapeVersion(m.Version)
	must(t, err)
	at := "/" + path + "/@v/" + version
	u.files[at+".info"] = fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z","Origin":{"VCS":"git","Ref":"refs/tags/%[1]s"}}`, m.Version)
	u.files[at+".mod"] = mod
	u.files[at+".zip"] = string(bigZip(t, m, size))
	if !module.IsPseudoVersion(m.Version) {
		u.files["/"+path+"/@v/list"] += m.Version + "\n"
	}
	u.files["/"+path+"/@latest"] = u.files[at+".info"]
}

// TestConformance compares the answers of an instance with those of its upstream,
// one by one: when it asks, and when it has them.
func TestConformance(t *testing.T) {
	u := &reference{files: map[string]string{}, status: map[string]int{
		"/example.com/gone/@v/v1.0.0.info": 410, "/example.com/gone/@v/list": 410, "/example.com/gone/@latest": 404,
		"/example.com/policy/@v/v1.0.0.zip": 403, "/example.com/policy/@v/list": 403, "/example.com/policy/@latest": 451,
		"/example.com/law/@v/v1.0.0.mod": 451, "/example.com/odd/@v/v1.0.0.mod": 400,
	}}
	for _, m := range []module.Version{
		{Path: "example.com/a", Version: "v1.0.0"}, {Path: "example.com/a", Version: "v1.1.0-rc.1"}, {Path: "example.com/a", Version: "v1.1.0"},
		{Path: "example.com/a/v2", Version: "v2.0.0"}, {Path: "example.com/Upper/Case", Version: "v0.1.0"},
		{Path: "example.com/Upper/Case", Version: "v0.1.0-RC1"}, {Path: "example.com/inc", Version: "v3.0.0+incompatible"},
		{Path: "example.com/p", Version: "v0.0.0-20240102030405-0123456789ab"}, {Path: "gopkg.in/y.v2", Version: "v2.4.0"},
		{Path: "golang.org/toolchain", Version: "v0.0.1-go1.26.7.linux-amd64"}, {Path: "example.com/~user/x_y.z-1", Version: "v1.2.3"},
	} {
		u.add(t, m, "module "+m.Path+"\n\ngo 1.21\n", 300<<10)
	}
	u.add(t, module.Version{Path: "example.com/crlf", Version: "v1.0.0"}, "module example.com/crlf\r\n\r\nrequire example.com/a v1.0.0\r\n", 10)
	u.add(t, module.Version{Path: "example.com/nonewline", Version: "v1.0.0"}, "module example.com/nonewline", 10)
	u.files["/example.com/nonewline/@v/list"] = "v1.0.0"
	u.files["/example.com/empty/@v/list"] = ""
	for query, of := range map[string]string{"v1": "v1.1.0", "v1.0": "v1.0.0", "master": "v1.1.0", "feature!x": "v1.1.0", "0123456789ab": "v1.0.0", "a+b": "v1.1.0"} {
		u.files["/example.com/a/@v/"+query+".info"] = string(info(of))
	}
	u.files["/example.com/inc/@v/v3.0.0.info"] = string(info("v3.0.0+incompatible"))
	var paths []string
	for path := range u.files {
		paths = append(paths, path)
	}
	for path := range u.status {
		paths = append(paths, path)
	}
	paths = append(paths,
		"/example.com/a/@v/v9.9.9.info", "/example.com/a/@v/v9.9.9.mod", "/example.com/a/@v/v9.9.9.zip", "/example.com/none/@v/list",
		"/example.com/none/@latest", "/example.com/a/@v/nobranch.info", "/example.com/a/@v/v1.mod", "/example.com/a/@v/v1.zip",
		"/example.com/a/@v/latest.info", "/example.com/a/@v/v1.0.0.ziphash", "/example.com/a/@v/v1.0.0", "/example.com/a/@v/", "/example.com/a",
		"/example.com/a/@x/list", "/example.com/UPPER/@v/list", "/example.com/a/@v/v2.0.0.info", "/@v/list", "/example.com/a/@v/v1.0.0.info/",
	)
	direct, through := front(t, u), (*httptest.Server)(nil)
	server, _ := instance(t, &upstream{Server: direct}, nil)
	through = front(t, server)
	request := func(base, method, path string, header http.Header) (int, []byte, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, http.NoBody)
		must(t, err)
		req.Header = header.Clone()
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return resp.StatusCode, body, resp.Header
	}
	compared := 0
	for _, path := range paths {
		for i, kind := range []struct {
			method string
			header http.Header
		}{
			{http.MethodGet, http.Header{}}, {http.MethodGet, http.Header{}}, {http.MethodHead, http.Header{}},
			{http.MethodGet, http.Header{"Range": {"bytes=2-5"}}}, {http.MethodGet, http.Header{"Range": {"bytes=-4"}}},
		} {
			want, wantBody, wantHeader := request(direct.URL, kind.method, path, kind.header)
			got, body, header := request(through.URL, kind.method, path, kind.header)
			compared++
			switch {
			case got != want:
				t.Errorf("%s %s (%d): %d, the upstream %d", kind.method, path, i, got, want)
			case want < 300 && !bytes.Equal(body, wantBody):
				t.Errorf("%s %s (%d): %d bytes, the upstream %d; or others", kind.method, path, i, len(body), len(wantBody))
			case want < 300 && i > 0 && header.Get("Content-Length") != wantHeader.Get("Content-Length"):
				t.Errorf("%s %s (%d): Content-Length %q, the upstream %q", kind.method, path, i, header.Get("Content-Length"), wantHeader.Get("Content-Length"))
			case u.status[path] != 0 && kind.method != http.MethodHead && !bytes.Contains(body, bytes.TrimSpace(wantBody)):
				t.Errorf("%s %s (%d): %q, the upstream %q", kind.method, path, i, body, wantBody)
			}
		}
	}
	t.Logf("%d answers about %d paths", compared, len(paths))
	if len(paths) < 80 {
		t.Errorf("only %d paths", len(paths))
	}
}

// TestAColdGraphCostsWhatItCostsDirectly runs the go command over a graph of 88
// modules, whose archives it does not need.
func TestAColdGraphCostsWhatItCostsDirectly(t *testing.T) {
	u := &reference{files: map[string]string{}}
	const modules = 88
	name := func(i int) string { return fmt.Sprintf("example.com/graph/m%02d", i) }
	for i := range modules {
		mod := "module " + name(i) + "\n\ngo 1.16\n"
		for _, next := range []int{2*i + 1, 2*i + 2} {
			if next < modules {
				mod += fmt.Sprintf("\nrequire %s v1.0.0\n", name(next))
			}
		}
		u.add(t, module.Version{Path: name(i), Version: "v1.0.0"}, mod, 100<<10)
	}
	list := func(proxy string) (sent, asked int64) {
		t.Helper()
		work := t.TempDir()
		must(t, os.WriteFile(filepath.Join(work, "go.mod"), []byte("module example.com/main\n\ngo 1.16\n\nrequire "+name(0)+" v1.0.0\n"), 0o600))
		sent, asked = u.sent.Load(), u.asked.Load()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "list", "-m", "all")
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GOPROXY="+proxy, "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOFLAGS=-modcacherw -mod=mod",
			"GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(work, "cache"), "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if n := strings.Count(string(out), "\n"); err != nil || n != modules+1 {
			t.Errorf("%d lines, %v: %s", n, err, out)
		}
		return u.sent.Load() - sent, u.asked.Load() - asked
	}
	direct := front(t, u)
	server, _ := instance(t, &upstream{Server: direct}, nil)
	wantBytes, wantRequests := list(direct.URL)
	gotBytes, gotRequests := list(front(t, server).URL)
	t.Logf("go list -m all of %d modules, cold: %d bytes in %d requests directly, %d in %d of the instance", modules, wantBytes, wantRequests, gotBytes, gotRequests)
	if gotBytes > wantBytes*12/10 || gotRequests > wantRequests*12/10 {
		t.Errorf("%d bytes in %d requests, and directly %d in %d", gotBytes, gotRequests, wantBytes, wantRequests)
	}
	if warmBytes, _ := list(front(t, server).URL); warmBytes != 0 {
		t.Errorf("once more: %d bytes from the upstream", warmBytes)
	}
}
