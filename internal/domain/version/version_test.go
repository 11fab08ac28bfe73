package version

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	for name, test := range map[string]struct {
		version, commit string
		recorded        *debug.BuildInfo
		wantVersion     string
		wantCommit      string
	}{
		"set by the linker":    {"v1.2.3", "def", &debug.BuildInfo{Main: debug.Module{Version: "v9.9.9"}, Settings: vcs}, "v1.2.3", "def"},
		"nothing is known":     {"", "", nil, "unknown", "unknown"},
		"built in a work tree": {"", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs}, "unknown", "abc-dirty"},
		"go install":           {"", "", &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}}, "v0.1.0", "unknown"},
		"a clean work tree":    {"", "", &debug.BuildInfo{Settings: vcs[:1]}, "unknown", "abc"},
	} {
		if got := describe(test.version, test.commit, test.recorded); got.Version != test.wantVersion || got.Commit != test.wantCommit {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestPrograms builds every program as make does, and asks each for its version.
func TestPrograms(t *testing.T) {
	programs, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`,
		"gocache.dev/operator", "gocache.dev/operator/internal/cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	// The linker is asked for the variables of this package, whatever it is called.
	const pkg = "gocache.dev/operator/internal/domain/version"
	want := "v9.8.7 (commit 0123abc, " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")\n"
	bin := t.TempDir()
	for _, path := range strings.Fields(string(programs)) {
		name := filepath.Base(path)
		if path == "gocache.dev/operator" {
			name = "manager"
		}
		program := filepath.Join(bin, name)
		build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w -X "+pkg+".version=v9.8.7 -X "+pkg+".commit=0123abc", "-o", program, path) //nolint:gosec // our own programs
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
			continue
		}
		out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput() //nolint:gosec // built above
		calledAs := name
		if name == "kubectl-gocache" { // a plugin is called by kubectl
			calledAs = "kubectl gocache"
		}
		if err != nil || string(out) != calledAs+" version "+want {
			t.Errorf("%s --version: %v\n%swant %s", name, err, out, calledAs+" version "+want)
		}
		if name == "manager" {
			firstLine(t, program)
		}
	}
}

// firstLine starts the manager where it finds no cluster: the version is logged
// before anything can fail.
func firstLine(t *testing.T, manager string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), manager, "--operator-image=example.com/operator:1")
	cmd.Env = []string{"KUBECONFIG=" + filepath.Join(t.TempDir(), "none")}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the manager runs without a cluster")
	}
	line, _, _ := strings.Cut(string(out), "\n")
	var entry struct{ Version, Commit string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Version != "v9.8.7" || entry.Commit != "0123abc" {
		t.Errorf("the first line of the log does not name the version: %s", out)
	}
}
