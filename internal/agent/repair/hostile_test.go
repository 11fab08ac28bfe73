package repair_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/agent/restore"
	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// Files whose path is as long as a path may be, one byte longer, and twice as
// long, in each place: a check finds them, reports what they are, and a repair
// removes those that make something wrong. The go command itself cannot name
// the longer ones.
func TestLongestPaths(t *testing.T) {
	clean := cachetree.New(t)
	want, out, err := clean.Build()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, beyond := range []int{0, 1, 4096} {
		for name, c := range map[string]struct {
			dir      func(testing.TB, *cachetree.Tree) string
			class    integrity.Class
			severity string
		}{
			"in an extracted module":  {func(_ testing.TB, tree *cachetree.Tree) string { return tree.Extracted(cachetree.Lib) }, integrity.Corrupt, "corrupt"},
			"among extracted modules": {func(_ testing.TB, tree *cachetree.Tree) string { return filepath.Join(tree.ModCache, "example.com") }, integrity.Stray, "note"},
			"among downloads": {func(_ testing.TB, tree *cachetree.Tree) string {
				return filepath.Join(tree.ModCache, "cache/download/example.com")
			}, integrity.Stray, "note"},
			"in place of an executable":  {inPlaceOf(cachetree.Archive), integrity.Malformed, "corrupt"},
			"in place of a module index": {inPlaceOf(cachetree.IndexOf), integrity.Malformed, "corrupt"},
			"in place of a zip": {inPlaceOf(func(_ testing.TB, tree *cachetree.Tree) string {
				return filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v/v1.2.0.zip")
			}), integrity.Malformed, "corrupt"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tree := cachetree.New(t)
				dir := c.dir(t, tree)
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				below := cachetree.Deep(t, dir, beyond, "package evil")
				if _, err := os.Lstat(filepath.Join(dir, below)); (beyond > 0) != errors.Is(err, syscall.ENAMETOOLONG) {
					t.Fatalf("the path is not as long as it should be: %v", err)
				}
				v := check(t, options(t, tree, true))
				if n := v.Findings[c.class] + v.Notes[c.class]; n != 1 || v.Corrupt+v.Recoverable+v.Unreadable > 1 || v.Examples[0].Severity != c.severity {
					t.Errorf("%s, %v, %v: %+v", v.Verdict, v.Findings, v.Notes, v.Examples)
				}
				if beyond < 4096 { // the longest stands for all
					if r, err := repair.Run(context.Background(), options(t, tree, true), repair.Policy{}); err != nil || r.After.Verdict != integrity.Intact {
						t.Errorf("repair: %s, %+v, %v", r.After.Verdict, r.After.Examples, err)
					}
					return
				}
				heal(t, tree, want)
			})
		}
	}
}

// inPlaceOf makes a directory of what was a file.
func inPlaceOf(file func(testing.TB, *cachetree.Tree) string) func(testing.TB, *cachetree.Tree) string {
	return func(tb testing.TB, tree *cachetree.Tree) string {
		tb.Helper()
		name := file(tb, tree)
		if err := os.Remove(name); err != nil {
			tb.Fatal(err)
		}
		return name
	}
}

// Copies and trims of a hostile tree end, and write and remove nothing outside
// of what they were given.
func TestHostileTreeIsCopiedAndTrimmed(t *testing.T) {
	tree := cachetree.New(t)
	outside := t.TempDir()
	precious := filepath.Join(outside, "precious")
	if err := os.WriteFile(precious, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := cachetree.Archive(t, tree)
	for _, dir := range []string{filepath.Dir(archive), tree.ModCache, tree.Extracted(cachetree.Lib), filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v")} {
		cachetree.Deep(t, dir, 4096, "")
		entry := filepath.Base(archive)[:2] + strings.Repeat("0", 62) + "-d"
		if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "out")), os.Symlink(precious, filepath.Join(dir, entry)), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "copy")
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err := restore.Run(context.Background(), restore.Options{From: tree.Root, To: to, ModDir: "mod", BuildDir: "build", Clock: time.Now})
		if err != nil {
			t.Errorf("restore: %v", err)
		}
		t.Logf("restore: %+v", r)
		later := func() time.Time { return time.Now().Add(24 * time.Hour) }
		if r, err := trim.Run(context.Background(), trim.Options{BuildCache: tree.BuildCache, MaxSize: 1, MinAge: 2 * time.Hour, Clock: later}); err != nil || r.Build.Removed == 0 {
			t.Errorf("trim: %+v, %v", r.Build, err)
		}
		if _, err := repair.Run(context.Background(), options(t, tree, true), repair.Policy{}); err != nil {
			t.Errorf("repair: %v", err)
		}
		if r, err := trim.Run(context.Background(), trim.Options{ModCache: tree.ModCache, KeepGoSum: []string{os.DevNull}, Exclusive: true, Clock: later}); err != nil || r.Modules.Removed == 0 {
			t.Errorf("trim of modules: %+v, %v", r.Modules, err)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("one of them hangs")
	}
	if data, err := os.ReadFile(precious); err != nil || string(data) != "not ours" {
		t.Errorf("outside: %q, %v", data, err)
	}
	err := filepath.WalkDir(to, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&(fs.ModeSymlink|fs.ModeNamedPipe) != 0 {
			t.Errorf("the copy has %s", name)
		}
		return nil // a name that is too long for this walk
	})
	if err != nil {
		t.Error(err)
	}
}
