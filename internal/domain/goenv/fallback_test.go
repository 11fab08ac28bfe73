package goenv_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/goenv"
)

// modules serves v1.0.0 of every module below example.com, or a status.
type modules struct {
	mu     sync.Mutex
	status int
	asked  []string
}

func (s *modules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Path)
	status := s.status
	s.mu.Unlock()
	path, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/@v/")
	if status != 0 {
		http.Error(w, "no", status)
		return
	}
	switch file {
	case "list":
		fmt.Fprintln(w, "v1.0.0")
	case "v1.0.0.info":
		fmt.Fprint(w, `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`)
	case "v1.0.0.mod":
		fmt.Fprintf(w, "module %s\n", path)
	case "v1.0.0.zip":
		var buf bytes.Buffer
		z := zip.NewWriter(&buf)
		f, err := z.Create(path + "@v1.0.0/go.mod")
		if err == nil {
			fmt.Fprintf(f, "module %s\n", path)
			err = z.Close()
		}
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(buf.Bytes())
	default:
		http.NotFound(w, r)
	}
}

func (s *modules) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// TestFallback runs the go command: it asks the fallback when the proxy is down
// or fails, not while it serves, and never for a private module.
func TestFallback(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command on this machine")
	}
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for name, tt := range map[string]struct {
		status   int // of the proxy; -1: it is down
		fallback bool
		module   string
		fails    bool
		asked    bool // whether the fallback is
	}{
		"the proxy serves":                         {0, true, "example.com/m", false, false},
		"it is down":                               {-1, true, "example.com/m", false, true},
		"it is down, without a fallback":           {-1, false, "example.com/m", true, false},
		"it answers 503":                           {503, true, "example.com/m", false, true},
		"it does not have it":                      {404, true, "example.com/m", false, true},
		"it refuses it":                            {403, true, "example.com/m", false, true},
		"a private module while it is down":        {-1, true, "vcs.corp.example/p.git", true, false},
		"a private module that it does not have":   {404, true, "vcs.corp.example/p.git", true, false},
		"a private module, and nothing is missing": {0, false, "vcs.corp.example/p.git", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, fallback := &modules{status: max(tt.status, 0)}, &modules{}
			proxy, other := httptest.NewServer(ours), httptest.NewServer(fallback)
			t.Cleanup(proxy.Close)
			t.Cleanup(other.Close)
			url := proxy.URL
			if tt.status < 0 {
				url = down.URL
			}
			settings := goenv.Settings{
				MountPath: t.TempDir(), Modules: true, Build: true, Proxy: url + "|" + url + "/~2", ManagedProxy: true,
				PrivatePatterns: []string{"*.corp.example"}, ChecksumDatabase: "off",
			}
			if tt.fallback {
				settings.Fallback = other.URL
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "mod", "download", tt.module+"@v1.0.0")
			cmd.Dir = t.TempDir()
			if err := os.WriteFile(filepath.Join(cmd.Dir, "go.mod"), []byte("module example.com/main\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			// No program for version control: what is direct fails at once.
			cmd.Env = append(os.Environ(), "GOFLAGS=-modcacherw", "GOVCS=*:off", "GOPRIVATE=", "GOWORK=off")
			for name, value := range goenv.Online(settings) {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
			out, err := cmd.CombinedOutput()
			if (err != nil) != tt.fails {
				t.Errorf("%v\n%s", err, out)
			}
			if asked := fallback.requests(); (len(asked) > 0) != tt.asked {
				t.Errorf("the fallback was asked for %q", asked)
			}
		})
	}
}

// TestFallbackDirect holds that private modules still come from the proxy where
// the fallback is their own servers.
func TestFallbackDirect(t *testing.T) {
	env := goenv.Online(goenv.Settings{Proxy: "http://r|http://r/~2", ManagedProxy: true, PrivatePatterns: []string{"corp.example.com"}, Fallback: "direct"})
	if env["GOPROXY"] != "http://r|http://r/~2|direct" || env["GONOPROXY"] != "none" || env["GONOSUMDB"] != "corp.example.com" {
		t.Errorf("%v", env)
	}
	if env := goenv.Offline(goenv.Settings{Proxy: "http://r", Fallback: "direct"}); env["GOPROXY"] != "off" {
		t.Errorf("offline: %v", env)
	}
}
