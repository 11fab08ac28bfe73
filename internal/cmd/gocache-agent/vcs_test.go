package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"gocache.dev/operator/internal/proxy"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestMain lets this program be the agent, for itself, for git, and for fetches that may
// die.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPrivateModulesByGo has the go command build with a private module that
// comes through an instance from the agent, and the agent from a repository that
// needs credentials. No upstream and no checksum database learns of it, and what is
// stored stays when the tag is moved and the repository is gone.
func TestPrivateModulesByGo(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"go", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(err)
		}
	}
	repository, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	push := func(text string, tags ...string) (commit string) {
		t.Helper()
		commit, err := repository.Commit(t.Context(), map[string]string{
			"go.mod": "module git.test/Team/m\n\ngo 1.21\n", "m.go": "package m\n\n// Text of it.\nconst Text = \"" + text + "\"\n",
			"sub/go.mod": "module git.test/Team/m/sub\n\ngo 1.21\n", "sub/s.go": "package sub\n\n// Text of it.\nconst Text = \"" + text + "\"\n",
		})
		must(t, err)
		for _, tag := range tags {
			_, err = repository.InWork(t.Context(), "tag", "--force", tag)
			must(t, err)
			_, err = repository.InWork(t.Context(), "push", "--quiet", "--force", "origin", "refs/tags/"+tag)
			must(t, err)
		}
		return commit
	}
	first := push("first", "v1.0.0", "sub/v0.1.0")
	git, ca := serveGit(t, repository)
	tunnel := httptest.NewServer(gitserver.Tunnel(map[string]string{"git.test:443": git.Listener.Addr().String()}))
	t.Cleanup(tunnel.Close)

	address := runVCS(t, tunnel.URL, "--modules", "git.test", "--dir", filepath.Join(t.TempDir(), "vcs"), "--hosts", "git.test", "--secret", credentialsDir(t, ca))
	var mu sync.Mutex
	var asked []string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		http.NotFound(w, r)
	}))
	t.Cleanup(upstream.Close)
	var later atomic.Int64 // minutes
	instance := func() (modules, pages *httptest.Server) {
		server, err := proxy.New(proxy.Options{
			Store: filepath.Join(t.TempDir(), "store"), Name: "blue", MinFree: 1, Log: logr.Discard(),
			Now:            func() time.Time { return time.Now().Add(time.Duration(later.Load()) * time.Minute) },
			Environment:    proxy.Environment{GOPROXY: upstream.URL, GOSUMDB: "off", GONOPROXY: "none"},
			VersionControl: "http://" + address, PrivateModules: "git.test",
		})
		must(t, err)
		modules, pages = httptest.NewServer(server), httptest.NewServer(server.Pages())
		t.Cleanup(modules.Close)
		t.Cleanup(pages.Close)
		return modules, pages
	}
	blue, pages := instance()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module main.test\n\ngo 1.21\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"git.test/Team/m\"\n\t\"git.test/Team/m/sub\"\n)\n\nfunc main() { fmt.Println(m.Text, sub.Text) }\n",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(proxies string, args ...string) (string, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(),
			"GOMODCACHE="+filepath.Join(t.TempDir(), "mod"), "GOFLAGS=-modcacherw", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local",
			// What is published for builds. The database would refuse, and is not asked.
			"GOPROXY="+proxies, "GONOPROXY=none", "GONOSUMDB=git.test", "GOSUMDB=db.test+0a0b0c0d+AQIDBA== "+upstream.URL)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	mustRun := func(want, proxies string, args ...string) {
		t.Helper()
		if out, err := run(proxies, args...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	mustRun("", blue.URL, "get", "git.test/Team/m/sub", "git.test/Team/m") // and not of the longer path
	mustRun("first first", blue.URL, "run", ".")
	if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || !strings.Contains(string(text), "git.test/Team/m v1.0.0") || !strings.Contains(string(text), "git.test/Team/m/sub v0.1.0") {
		t.Errorf("go.mod: %s, %v", text, err)
	}

	second := push("moved", "v1.0.0")
	mustRun("first first", blue.URL, "run", ".")
	mustRun("v1.0.0 v1.1.0", blue.URL, "list", "-m", "-versions", "git.test/Team/m@"+pushed(t, push))
	reported := fmt.Sprintf(`[{"module":"git.test/Team/m","version":"v1.0.0","stored":%q,"moved":%q,"noticed":"`, first, second)
	later.Store(11)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		mustRun("v1.1.0", blue.URL, "list", "-m", "-versions", "git.test/Team/m")
		resp, err := http.Get(pages.URL + "/moved")
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		must(t, errors.Join(err, resp.Body.Close()))
		if strings.HasPrefix(string(text), reported) && strings.Count(string(text), "module") == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the tag that was moved is reported as %s, want %s", text, reported)
		}
	}
	git.Close()
	mustRun("first first", blue.URL, "run", ".")
	mustRun("git.test/Team/m v1.0.0 v1.1.0", blue.URL, "list", "-m", "-versions", "git.test/Team/m")
	if out, err := run(blue.URL, "get", "git.test/Team/m@v1.9.0"); err == nil || !strings.Contains(out, "502") || !strings.Contains(out, "version control: ") {
		t.Errorf("without the repository: %v\n%s", err, out)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, path := range asked {
		if strings.Contains(path, "git.test") {
			t.Errorf("the upstream was asked for %s", path)
		}
	}
}

// pushed tags another version, and returns it.
func pushed(t *testing.T, push func(string, ...string) string) string {
	t.Helper()
	push("second", "v1.1.0")
	return "v1.1.0"
}

// serveGit serves the repository and the pages of its modules over https, to one
// user. ca is the file of its authority.
func serveGit(t *testing.T, r *gitserver.Repository) (server *httptest.Server, ca string) {
	t.Helper()
	certificate, authority, err := gitserver.Certificate("git.test")
	must(t, err)
	repository, err := r.Handler(t.Context(), "ci", "s3cret")
	must(t, err)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, _, _ := r.BasicAuth(); {
		case strings.HasPrefix(r.URL.Path, "/program.git/"):
			repository.ServeHTTP(w, r)
		case user != "ci":
			http.NotFound(w, r) // as some servers hide what is private
		case r.URL.Path == "/Team/m" || r.URL.Path == "/Team/m/sub":
			fmt.Fprint(w, `<meta name="go-import" content="git.test/Team/m git https://git.test/program.git">`)
		default:
			http.NotFound(w, r)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(ca, authority, 0o600))
	return server, ca
}

// credentialsDir is a Secret as it is mounted: credentials, and the authorities of
// the servers that get them.
func credentialsDir(t *testing.T, ca string) string {
	t.Helper()
	dir := t.TempDir()
	authorities, err := os.ReadFile(ca) //nolint:gosec // of this test
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), authorities, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "netrc"), []byte("machine git.test login ci password s3cret\n"), 0o600))
	return dir
}

// runVCS runs the agent as the container does, and returns its address.
func runVCS(t *testing.T, httpsProxy string, args ...string) string {
	t.Helper()
	address := loopback.Address(t)
	self, err := os.Executable()
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, self, append([]string{"vcs", "--listen", address}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=" + httpsProxy, "HOME=/nonexistent"}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	serving, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		var once sync.Once
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"msg":"Serving"`) {
				once.Do(func() { close(serving) })
			}
			fmt.Fprintln(t.Output(), lines.Text())
		}
		_, _ = io.Copy(io.Discard, stderr)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if _ = cmd.Wait(); !cmd.ProcessState.Success() { // its error is that of the context
			t.Errorf("the agent ended with %s", cmd.ProcessState)
		}
	})
	select {
	case <-serving:
	case <-ended:
		t.Fatal("the agent does not serve")
	}
	return address
}
