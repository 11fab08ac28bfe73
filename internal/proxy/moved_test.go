package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/proxy"
)

// TestClientsOfAMovedTag moves the tag of a private module after one of two
// instances has stored it: 20 go commands, by turns through both, get what was
// stored first, because an instance asks the other one before the source.
func TestClientsOfAMovedTag(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"version control", "upstream"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			git := startRepositories(t, privateFiles(t))
			members := make([]*member, 2)
			for i := range members {
				m := &member{}
				m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }))
				t.Cleanup(m.Close)
				members[i] = m
			}
			for i, m := range members {
				m.handler, m.store = instance(t, startUpstream(t), func(o *proxy.Options) {
					o.Name, o.FetchTimeout, o.Peers = fmt.Sprint("instance-", i), 5*time.Second, []string{members[1-i].URL}
					if source == "upstream" {
						o.Environment.GOPROXY, o.Environment.GONOSUMDB = git.URL, "corp.test"
						return
					}
					o.VersionControl, o.PrivateModules = git.URL, "corp.test/Team"
				})
			}
			var turn atomic.Int64
			router := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				to, err := url.Parse(members[turn.Add(1)%2].URL)
				if err != nil {
					t.Error(err)
				}
				r.SetURL(to)
			}})
			t.Cleanup(router.Close)

			golang := func(address, sum string) (string, error) {
				dir := t.TempDir()
				must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/main\n\ngo 1.21\n\nrequire corp.test/Team/m v1.0.0\n"), 0o600))
				must(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o600))
				cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "all")
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GOPROXY="+address, "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOFLAGS=-modcacherw -mod=mod",
					"GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(dir, "modcache"), "GOWORK=off", "GO111MODULE=on")
				out, err := cmd.CombinedOutput()
				if err != nil {
					return string(out), err
				}
				written, err := os.ReadFile(filepath.Join(dir, "go.sum"))
				return string(written), err
			}
			sum, err := golang(members[0].URL, "")
			if err != nil || !strings.Contains(sum, "corp.test/Team/m v1.0.0 h1:") {
				t.Fatalf("%v: %s", err, sum)
			}
			// The tag moves to a commit with another file.
			git.set(privatePath+"/@v/v1.0.0.zip", string(moduleZipOf(t, privateModule, "module corp.test/Team/m\n\ngo 1.21\n")))
			git.set(privatePath+"/@v/v1.0.0.mod", "module corp.test/Team/m\n\ngo 1.21\n")

			var clients sync.WaitGroup
			var failed atomic.Int64
			for range 20 {
				clients.Go(func() {
					if out, err := golang(router.URL, sum); err != nil || out != sum {
						failed.Add(1)
						t.Logf("%v: %s", err, out)
					}
				})
			}
			clients.Wait()
			if n := failed.Load(); n > 0 {
				t.Errorf("%d of 20 clients got another content", n)
			}
			for _, m := range members {
				if zip := get(t, m.handler, privatePath+"/@v/v1.0.0.zip"); zip.Code != http.StatusOK || zip.Body.String() != privateFiles(t)[privatePath+"/@v/v1.0.0.zip"] {
					t.Errorf("an instance serves another archive: %d", zip.Code)
				}
			}
		})
	}
}
