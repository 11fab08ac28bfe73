package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/gitserver"
)

// repository serves a repository with files over http.
func repository(t *testing.T, files map[string]string) (url string) {
	t.Helper()
	r, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	_, err = r.Commit(t.Context(), files)
	must(t, err)
	handler, err := r.Handler(t.Context(), "", "")
	must(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/program.git"
}

// container runs a command of the operator as a container of a pod does, and returns its exit
// code and what it prints.
func container(t *testing.T, c agentcommand.Command, env ...string) (code int, text string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, c.Args()...) //nolint:gosec // this program
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, &out
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), out.String()
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// TestFetchesThatFailAlone has repositories that would end the pod, and with it the run of
// all sources, fail by themselves: the command of each succeeds, and leaves why in place of
// the files. The others are fetched within the same bounds.
func TestFetchesThatFailAlone(t *testing.T) {
	t.Parallel()
	const size = 96 << 20
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hanging.Close)
	small := map[string]string{"go.mod": "module m\n", "main.go": "package main\n"}
	for name, tt := range map[string]struct {
		url     string
		command agentcommand.Fetch
		want    string // empty: it is fetched
	}{
		// What git sends of it has a few hundred kilobytes.
		"too large for its memory": {
			repository(t, map[string]string{"go.mod": "module m\n", "zeros": strings.Repeat("\x00", size)}), agentcommand.Fetch{},
			"the repository needs more memory than the fetch may take (64 MiB): raise the limit of memory in podTemplate.helperResources",
		},
		"too large for the disk": {
			repository(t, map[string]string{"go.mod": "module m\n", "zeros": strings.Repeat("\x00", 3<<20)}), agentcommand.Fetch{MaxBytes: 2 << 20},
			"the repository takes more than 2 MiB of disk",
		},
		"hangs":  {hanging.URL + "/program.git", agentcommand.Fetch{Timeout: time.Second}, "it took longer than 1s"},
		"no URL": {"http://s3cret@%zz", agentcommand.Fetch{}, "fetching an address that is not a URL: the URL of the repository cannot be parsed"},
		"small":  {repository(t, small), agentcommand.Fetch{MaxBytes: 2 << 20, Timeout: time.Minute}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, dir := tt.command, t.TempDir()
			c.URL, c.Dir, c.ReportInDir = tt.url, dir, true
			code, out := container(t, c, agentcommand.FetchMemoryVariable+"=134217728")
			if code != 0 {
				t.Fatalf("the container ends with code %d: %s", code, out)
			}
			report, err := os.ReadFile(filepath.Join(dir, warmup.FetchFailed))
			if tt.want == "" {
				if err == nil {
					t.Fatalf("not fetched: %s", report)
				}
				if text, err := os.ReadFile(filepath.Join(dir, "main.go")); err != nil || string(text) != small["main.go"] {
					t.Errorf("%q, %v", text, err)
				}
				return
			}
			if err != nil || !strings.Contains(string(report), tt.want) {
				t.Errorf("the report is %q, %v, want %q", report, err, tt.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("left are %v, %v", left, err)
			}
		})
	}
	if code, out := container(t, agentcommand.Fetch{URL: "http://git.test/x", Dir: t.TempDir()}, agentcommand.FetchMemoryVariable+"=much"); code != 2 || !strings.Contains(out, "GOCACHE_FETCH_MAX_MEMORY") {
		t.Errorf("a size that cannot be read: code %d, %s", code, out)
	}
}

// TestDeathOfAFetch holds that a process that was killed, such as by the kernel for the
// memory of the whole container, costs its repository alone.
func TestDeathOfAFetch(t *testing.T) {
	t.Parallel()
	killed := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		killed <- true
		<-r.Context().Done()
	}))
	defer server.Close()
	dir := t.TempDir()
	go func() {
		<-killed
		kill(t, dir)
	}()
	_, out := container(t, agentcommand.Fetch{URL: server.URL + "/program.git", Dir: dir, ReportInDir: true, Timeout: time.Minute})
	if report, err := os.ReadFile(filepath.Join(dir, warmup.FetchFailed)); err != nil || !strings.Contains(string(report), "needs more memory than the fetch may take: raise") {
		t.Errorf("the report is %q, %v; %s", report, err, out)
	}
}

// kill ends the process that fetches to a directory, and not the one that has started it.
func kill(t *testing.T, dir string) {
	t.Helper()
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is a valid one
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte("\x00"+dir+"\x00")) || bytes.Contains(line, []byte("--report-in-dir")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("no process fetches")
}
