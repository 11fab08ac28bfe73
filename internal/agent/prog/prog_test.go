package prog_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gocache.dev/operator/internal/testing/cachetree"
)

// built is the agent, or why there is none.
var built = sync.OnceValues(func() (string, error) {
	name := filepath.Join(programs, "gocache-agent")
	cmd := exec.Command("go", "build", "-o", name, "../../cmd/gocache-agent")
	// As make builds it: what is compiled for other programs is compiled already.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return name, nil
})

// programs is a directory that stays for all tests.
var programs string

func TestMain(m *testing.M) {
	os.Exit(withPrograms(m))
}

// withPrograms runs the tests and removes what they have built.
func withPrograms(m *testing.M) int {
	var err error
	if programs, err = os.MkdirTemp("", "prog-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(programs) }()
	return m.Run()
}

// agent is the program, built once for all tests.
func agent(t *testing.T) string {
	t.Helper()
	name, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// build builds the tree's main module through the two layers and returns what
// was compiled.
func build(t *testing.T, tree *cachetree.Tree, bin, lower, upper string) (binary []byte, compiled []string, log string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "main")
	cmd, err := tree.Command("build", "-x", "-o", out, ".")
	if err != nil {
		t.Fatal(err)
	}
	// GOCACHE is still opened by the go command, for fuzzing alone.
	cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir(), "GOCACHEPROG="+bin+" prog --lower "+lower+" --upper "+upper)
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, "/compile ") && strings.Contains(line, " -p ") {
			_, rest, _ := strings.Cut(line, " -p ")
			pkg, _, _ := strings.Cut(rest, " ")
			compiled = append(compiled, pkg)
		}
	}
	if binary, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	return binary, compiled, string(text)
}

func TestBuildThroughLayers(t *testing.T) {
	bin := agent(t)
	tree := cachetree.New(t)
	// The same path of the module cache, for module indexes: built once so.
	if _, out, err := tree.Build(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, compiled, log := build(t, tree, bin, tree.BuildCache, t.TempDir())
	if len(compiled) != 0 {
		t.Errorf("compiled again: %v\n%s", compiled, log)
	}

	archive := cachetree.Archive(t, tree)
	before := fileOf(t, archive)
	cachetree.Edit(t, archive, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	upper := t.TempDir()
	got, compiled, log := build(t, tree, bin, tree.BuildCache, upper)
	if !bytes.Equal(got, want) || len(compiled) != 1 || compiled[0] != "example.com/lib" {
		t.Errorf("with a damaged archive: same binary %t, compiled %v\n%s", bytes.Equal(got, want), compiled, log)
	}
	if !strings.Contains(log, "damaged") {
		t.Errorf("nobody was told:\n%s", log)
	}
	if bytes.Equal(fileOf(t, archive), before) {
		t.Error("the lower layer was written")
	}
	// What was compiled is in the upper layer now.
	if _, compiled, _ = build(t, tree, bin, tree.BuildCache, upper); len(compiled) != 0 {
		t.Errorf("compiled once more: %v", compiled)
	}
}

// Without a lower layer it is a plain cache.
func TestUpperAlone(t *testing.T) {
	bin := agent(t)
	tree := cachetree.New(t)
	upper := filepath.Join(t.TempDir(), "made", "on", "demand")
	cmd, err := tree.Command("build", "cmp")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "GOCACHEPROG="+bin+" prog --upper "+upper)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if found, _ := filepath.Glob(filepath.Join(upper, "*", "*-d")); len(found) == 0 {
		t.Error("nothing was kept")
	}
}

func fileOf(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
