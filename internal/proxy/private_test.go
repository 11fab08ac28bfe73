package proxy_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/proxy"
)

// repositories stands for the server beside the instance that fetches from version
// control.
type repositories struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]string
	asked []string
	fault http.HandlerFunc
}

func startRepositories(t *testing.T, files map[string]string) *repositories {
	t.Helper()
	p := &repositories{files: files}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.URL.Path)
		text, ok := p.files[r.URL.Path]
		fault := p.fault
		p.mu.Unlock()
		switch {
		case fault != nil:
			fault(w, r)
		case ok:
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
		default:
			http.Error(w, "not found: unknown revision", http.StatusNotFound)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *repositories) set(name, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = text
}

// count is how often a path was asked for.
func (p *repositories) count(path string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, asked := range p.asked {
		if asked == path {
			n++
		}
	}
	return n
}

func (p *repositories) fail(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = h
}

const privatePath = "/corp.test/!team/m"

var privateModule = module.Version{Path: "corp.test/Team/m", Version: "v1.0.0"}

func privateFiles(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		privatePath + "/@v/list":        "v1.0.0\n",
		privatePath + "/@latest":        `{"Version":"v1.0.0"}`,
		privatePath + "/@v/v1.0.0.info": `{"Version":"v1.0.0"}`,
		privatePath + "/@v/v1.0.0.mod":  "module corp.test/Team/m\n",
		privatePath + "/@v/v1.0.0.zip":  string(moduleZip(t, privateModule)),
		privatePath + "/@v/main.info":   `{"Version":"v1.0.1-0.20240102030405-0123456789ab"}`,
	}
}

// TestPrivateModulesComeFromVersionControl holds that what matches the patterns is
// asked for there alone, whatever it answers, and is stored; that no upstream and no
// checksum database learns of it; and that all else goes to the upstream as before.
func TestPrivateModulesComeFromVersionControl(t *testing.T) {
	var mu sync.Mutex
	var public []string
	u := startUpstream(t)
	watched := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		public = append(public, r.URL.Path)
		mu.Unlock()
		u.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(watched.Close)
	git := startRepositories(t, privateFiles(t))
	server, _ := instance(t, u, func(o *proxy.Options) {
		o.Environment = proxy.Environment{GOPROXY: watched.URL, GOSUMDB: databaseKey(t)}
		o.VersionControl, o.PrivateModules = git.URL, "corp.test/Team,*.git.test"
	})
	for name, text := range privateFiles(t) {
		mustServe(t, server, name, text)
	}
	for path, want := range map[string]int{
		"/corp.test/!team/none/@v/list": 404, "/x.git.test/y/@latest": 404, "/x.git.test/y/@v/v1.0.0.zip": 404, privatePath + "/@v/v1.0.0.mod2": 404,
		"/sumdb/db.test/lookup/corp.test/!team/m@v1.0.0": 403, "/sumdb/db.test/lookup/a.git.test/x@v1.0.0": 403,
		"/sumdb/db.test/lookup/x/../corp.test/!team/m@v1.0.0": 403,
	} {
		if w := get(t, server, path); w.Code != want {
			t.Errorf("GET %s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	git.fail(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "version control: no way to git.test", http.StatusBadGateway)
	})
	for name, text := range privateFiles(t) {
		mustServe(t, server, name, text) // from the store
	}
	for status, want := range map[int]int{403: 403, 502: 502, 503: 503, 504: 504, 500: 502} {
		git.fail(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "version control: because of this", status)
		})
		if w := get(t, server, privatePath+"/@v/v1.9.0.zip"); w.Code != want || !strings.Contains(w.Body.String(), "version control: because of this") {
			t.Errorf("status %d: %d %q, want %d and the reason", status, w.Code, w.Body, want)
		}
	}
	git.Close()
	if w := get(t, server, privatePath+"/@v/v1.9.0.zip"); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "version control") {
		t.Errorf("without the server for version control: %d %q", w.Code, w.Body)
	}
	_ = get(t, server, "/example.com/m/@v/list")
	mu.Lock()
	defer mu.Unlock()
	if len(public) == 0 {
		t.Error("public modules are not asked for")
	}
	for _, path := range public {
		if strings.Contains(path, "corp.test") || strings.Contains(path, "git.test") {
			t.Errorf("the upstream was asked for %s", path)
		}
	}
	for _, path := range git.asked {
		if strings.HasPrefix(path, "/example.com") {
			t.Errorf("version control was asked for %s", path)
		}
	}
}

// freshTimeout is how long an upstream may take when the store has an answer.
const freshTimeout = 500 * time.Millisecond

// databaseKey is GOSUMDB of a database whose records are of no use.
func databaseKey(t *testing.T) string {
	t.Helper()
	_, key, err := note.GenerateKey(rand.Reader, "db.test")
	must(t, err)
	return key
}

// TestPatternsOfVersionControl holds that an instance does not start with settings
// under which it would ask an upstream for private modules.
func TestPatternsOfVersionControl(t *testing.T) {
	for name, set := range map[string][2]string{
		"no URL": {"", "corp.test"}, "no patterns": {"http://127.0.0.1:9104", ""}, "no host": {"9104", "corp.test"}, "no glob": {"http://127.0.0.1:9104", "corp.test,x.[test"},
	} {
		server, err := proxy.New(proxy.Options{
			Store: filepath.Join(t.TempDir(), "store"), Now: time.Now, Environment: proxy.Environment{GOPROXY: "https://proxy.example.com", GOSUMDB: "off"},
			VersionControl: set[0], PrivateModules: set[1],
		})
		if err == nil {
			t.Errorf("%s: %v started", name, server)
		}
	}
}

// TestMovedTag holds that a version stays what it was when it was first asked for,
// and that files of two contents are not mixed.
func TestMovedTag(t *testing.T) {
	u := startUpstream(t)
	git := startRepositories(t, privateFiles(t))
	change := func(o *proxy.Options) { o.VersionControl, o.PrivateModules = git.URL, "corp.test" }
	moved := moduleZipOf(t, privateModule, "module corp.test/Team/m // moved\n")
	t.Run("after all files were asked for", func(t *testing.T) {
		server, _ := instance(t, u, change)
		for name, text := range privateFiles(t) {
			mustServe(t, server, name, text)
		}
		git.set(privatePath+"/@v/v1.0.0.zip", string(moved))
		git.set(privatePath+"/@v/v1.0.0.mod", "module corp.test/Team/m // moved\n")
		mustServe(t, server, privatePath+"/@v/v1.0.0.zip", string(moduleZip(t, privateModule)))
		mustServe(t, server, privatePath+"/@v/v1.0.0.mod", "module corp.test/Team/m\n")
	})
	t.Run("between two files", func(t *testing.T) {
		for first, second := range map[string]string{".mod": ".zip", ".zip": ".mod"} {
			git.mu.Lock()
			git.files = privateFiles(t)
			git.mu.Unlock()
			server, store := instance(t, u, change)
			mustServe(t, server, privatePath+"/@v/v1.0.0"+first, privateFiles(t)[privatePath+"/@v/v1.0.0"+first])
			git.set(privatePath+"/@v/v1.0.0.zip", string(moved))
			git.set(privatePath+"/@v/v1.0.0.mod", "module corp.test/Team/m // moved\n")
			if w := get(t, server, privatePath+"/@v/v1.0.0"+second); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "was moved") {
				t.Errorf("%s after %s: %d %q", second, first, w.Code, w.Body)
			}
			if _, err := os.Stat(filepath.Join(store, privatePath, "@v", "v1.0.0"+second)); err == nil {
				t.Errorf("%s was stored", second)
			}
		}
	})
}

// TestSlowVersionControl holds that it does not make lists of public modules old.
func TestSlowVersionControl(t *testing.T) {
	u := startUpstream(t)
	git := startRepositories(t, privateFiles(t))
	server, _ := instance(t, u, func(o *proxy.Options) { o.VersionControl, o.PrivateModules = git.URL, "corp.test" })
	mustServe(t, server, privatePath+"/@v/list", "v1.0.0\n")
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\n")
	asked, release := make(chan struct{}), make(chan struct{})
	git.fail(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		time.Sleep(freshTimeout + freshTimeout/2) // git takes longer than an upstream may
		fmt.Fprint(w, "v1.0.0\nv1.1.0\n")
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		mustServe(t, server, privatePath+"/@v/list", "v1.0.0\nv1.1.0\n") // and not that of before the push
	}()
	<-asked
	u.fail(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "v1.0.0\nv1.2.0\n") })
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\nv1.2.0\n")
	close(release)
	<-done
}
