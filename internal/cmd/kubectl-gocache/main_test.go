package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/version"
	"gocache.dev/operator/internal/testing/program"
)

// TestMain runs the program itself where a test starts it.
func TestMain(m *testing.M) { program.Main(m, main) }

// plugin runs the program.
func plugin(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return named(t, os.Args[0], args...)
}

// named runs the program by another name of its file, without a cluster.
func named(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	r := program.Run(t, name, []string{"KUBECONFIG=" + t.TempDir() + "/none"}, args...)
	return r.Stdout, r.Stderr, r.Code
}

// TestPlugin holds that an error is printed once, under the name that users type, and
// that the program then ends with 1.
func TestPlugin(t *testing.T) {
	if out, errs, code := plugin(t, "--version"); code != 0 || !strings.Contains(out, version.Get().String()) || errs != "" {
		t.Errorf("--version: exit %d, %q, %q", code, out, errs)
	}
	out, errs, code := plugin(t, "no-such-command")
	if code != 1 || out != "" || strings.Count(errs, "kubectl gocache: ") != 1 || !strings.HasSuffix(errs, "\n") {
		t.Errorf("an unknown command: exit %d, %q, %q", code, out, errs)
	}
	if _, errs, code := plugin(t, "status", "--request-timeout=1s"); code != 1 || errs == "" {
		t.Errorf("without a cluster: exit %d, %q", code, errs)
	}
}

// TestCompletesForKubectl holds that the program completes command lines where kubectl calls
// it by the name for that.
func TestCompletesForKubectl(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "kubectl_complete-gocache")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := named(t, link, "csich"); code != 0 || !strings.HasPrefix(out, "csicheck\t") || !strings.HasSuffix(out, ":4\n") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}
