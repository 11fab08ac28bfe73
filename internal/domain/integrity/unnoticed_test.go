package integrity_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// run builds the main module of a tree and returns what the program prints. The
// build must succeed.
func run(t *testing.T, tree *cachetree.Tree) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "main.bin")
	if out, err := tree.Go("build", "-o", name, "."); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.Command(name).CombinedOutput() //nolint:gosec // just built
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestGoCommandMissesDamage shows why caches are checked: the go command links an
// archive of the build cache whose bytes were changed, and compiles a changed file of
// the module cache, and reports no error.
func TestGoCommandMissesDamage(t *testing.T) {
	t.Run("build cache", func(t *testing.T) {
		tree := cachetree.New(t)
		put(t, filepath.Join(tree.Main, "main.go"), []byte("package main\n\nfunc main() { println(\"the first content\") }\n"))
		if got := run(t, tree); got != "the first content" {
			t.Fatalf("the program prints %q", got)
		}
		edited := 0
		err := filepath.WalkDir(tree.BuildCache, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, "-d") {
				return err
			}
			data, err := os.ReadFile(path) //nolint:gosec // of the test's own tree
			if err == nil && bytes.HasPrefix(data, []byte("!<arch>")) && bytes.Contains(data, []byte("the first content")) {
				edited++
				cachetree.Edit(t, path, func(b []byte) []byte {
					return bytes.ReplaceAll(b, []byte("the first content"), []byte("the other content"))
				})
			}
			return err
		})
		if err != nil || edited == 0 {
			t.Fatalf("edited %d archives: %v", edited, err)
		}
		if got := run(t, tree); got != "the other content" {
			t.Errorf("the program prints %q: the go command has noticed the change", got)
		}
		corrupt(t, tree)
	})
	t.Run("module cache", func(t *testing.T) {
		tree := cachetree.New(t)
		before := run(t, tree)
		cachetree.Edit(t, filepath.Join(tree.Extracted(cachetree.Lib), "lib.go"), func(b []byte) []byte {
			return bytes.Replace(b, []byte("(n, n)"), []byte("(n, 1)"), 1)
		})
		if after := run(t, tree); after == before {
			t.Errorf("the program prints %q as before: the go command has noticed the change", after)
		}
		corrupt(t, tree)
	})
}

// corrupt requires that a check finds the caches of a tree Corrupt.
func corrupt(t *testing.T, tree *cachetree.Tree) {
	t.Helper()
	v, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache})
	if err != nil || v.Verdict != integrity.OutcomeCorrupt {
		t.Errorf("a check finds the caches %s: %v", v.Verdict, err)
	}
}
