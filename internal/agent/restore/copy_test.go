package restore_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/restore"
	"gocache.dev/operator/internal/domain/buildcache"
)

// lay makes files, whose contents are their names.
func lay(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
}

// files are the regular files below a directory, by their paths.
func files(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, name)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// copied is a run that checks nothing.
func copied(t *testing.T, from, to string, change func(*restore.Options)) (restore.Result, error) {
	t.Helper()
	o := restore.Options{From: from, To: to, ModDir: "mod", BuildDir: "build", NoVerify: true, Clock: time.Now}
	change(&o)
	t.Cleanup(func() {
		_ = filepath.WalkDir(to, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(name, 0o700) //nolint:gosec // to be removed
			}
			return nil
		})
	})
	return restore.Run(context.Background(), o)
}

func asItIs(*restore.Options) {}

// TestCopy holds what is copied, with which modes, and what is left out: what the go
// command does not count as there yet, and what is no file.
func TestCopy(t *testing.T) {
	from := t.TempDir()
	const download = "mod/cache/download/example.com/"
	all := []string{
		download + "a/@v/v1.0.0.zip", download + "a/@v/v1.0.0.ziphash", download + "a/@v/v1.0.0.mod", "mod/example.com/a@v1.0.0/dir/a.go", download + "b/@v/v1.0.0.zip", download + "c/@v/v1.0.0.ziphash",
		download + "d/@v/v1.0.0.zip", download + "d/@v/v1.0.0.ziphash", download + "d/@v/v1.0.0.partial", "build/01/entry", "other/x@v1.0.0/y", "mod/plain/file", "mod/not-a-module@x/y",
	}
	lay(t, from, all...)
	left := []string{
		download + "a/@v/v1.0.0.zip123.tmp", // a download that did not end
		"mod/example.com/b@v1.0.0/b.go",     // without its .ziphash
		"mod/example.com/c@v1.0.0/c.go",     // without its zip
		"mod/example.com/d@v1.0.0/d.go",     // its extraction did not end
	}
	lay(t, from, left...)
	if err := errors.Join(os.Symlink("a", filepath.Join(from, "build", "link")), syscall.Mkfifo(filepath.Join(from, "build", "fifo"), 0o600),
		os.Chmod(filepath.Join(from, "mod/example.com/a@v1.0.0/dir/a.go"), 0o444), os.Chmod(filepath.Join(from, "mod/example.com/a@v1.0.0/dir"), 0o555), os.Chmod(filepath.Join(from, "mod/example.com/a@v1.0.0"), 0o555)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{"mod/example.com/a@v1.0.0", "mod/example.com/a@v1.0.0/dir"} {
			_ = os.Chmod(filepath.Join(from, dir), 0o755) //nolint:gosec // to be removed
		}
	})
	to := filepath.Join(t.TempDir(), "to")
	r, err := copied(t, from, to, asItIs)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	got := slices.DeleteFunc(files(t, to), func(name string) bool { return name == "build/trim.txt" })
	if !slices.Equal(got, all) {
		t.Errorf("copied:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(all, "\n"))
	}
	bytes := 0
	for _, name := range all {
		bytes += len(name)
		if content, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(content) != name {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if r.Files != len(all) || r.Bytes != int64(bytes) || r.Skipped != 6 || r.Verdict != nil || r.Cloned > r.Files || r.DurationSeconds < 0 {
		t.Errorf("%+v, want %d files, %d bytes", r, len(all), bytes)
	}
	for name, mode := range map[string]fs.FileMode{"mod/example.com/a@v1.0.0": 0o555, "mod/example.com/a@v1.0.0/dir": 0o555, "mod/example.com/a@v1.0.0/dir/a.go": 0o444, download + "a/@v/v1.0.0.zip": 0o640, "build": 0o755} {
		if info, err := os.Stat(filepath.Join(to, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
}

// TestCopyWithoutModules holds that nothing is taken for a module where the module cache has
// no directory.
func TestCopyWithoutModules(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	lay(t, from, "example.com/b@v1.0.0/b.go", "cache/download/x/@v/v1.0.0.zip1.tmp")
	r, err := copied(t, from, to, func(o *restore.Options) { o.ModDir = "" })
	if err != nil || r.Files != 2 || r.Skipped != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTarget holds which directories are filled: one that is empty, and none that another
// process fills or that holds something else.
func TestTarget(t *testing.T) {
	const unfinished = ".gocache-restore-unfinished"
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, from, to string)
		want    string // in the error; empty: it is filled
	}{
		"it does not exist": {func(*testing.T, string, string) {}, ""},
		"the root of a file system": {func(t *testing.T, _, to string) {
			if err := os.MkdirAll(filepath.Join(to, "lost+found"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"from the root of a file system": {func(t *testing.T, from, _ string) {
			if err := os.MkdirAll(filepath.Join(from, "lost+found"), 0); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"an unfinished copy":             {func(t *testing.T, _, to string) { lay(t, to, unfinished, "mod/half", "lost+found/x") }, ""},
		"something else":                 {func(t *testing.T, _, to string) { lay(t, to, "mine") }, "is not empty: it holds mine"},
		"a directory of the mark's name": {func(t *testing.T, _, to string) { lay(t, to, unfinished+"/x") }, "is not empty"},
		"from an unfinished copy":        {func(t *testing.T, from, _ string) { lay(t, from, unfinished) }, "is itself an unfinished copy"},
		"a file":                         {func(t *testing.T, _, to string) { lay(t, filepath.Dir(to), filepath.Base(to)) }, "not a directory"},
		"another process fills it": {func(t *testing.T, _, to string) {
			lay(t, to, unfinished)
			f, err := os.Open(filepath.Join(to, unfinished))
			if err == nil {
				err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
		}, "another process is filling"},
	} {
		from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
		lay(t, from, "mod/file")
		tt.prepare(t, from, to)
		_, err := copied(t, from, to, asItIs)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			if _, err := os.Stat(filepath.Join(to, "mod", "file")); err == nil {
				t.Errorf("%s: it was filled", name)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(to, "lost+found")); name == "from the root of a file system" && err == nil {
			t.Errorf("%s: lost+found was copied", name)
		}
		got := slices.DeleteFunc(files(t, to), func(name string) bool { return strings.HasPrefix(name, "lost+found") })
		if !slices.Equal(got, []string{"mod/file"}) {
			t.Errorf("%s: it holds %v", name, got)
		}
	}
}

// TestApart holds that nothing is copied between directories of which one is in the other,
// by whatever name.
func TestApart(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "from/mod/file", "beside/.gocache-restore-unfinished", "beside/from/mod/file")
	if err := os.Symlink(filepath.Join(dir, "from"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ from, to string }{
		{"from", "from"}, {"from", "from/below"}, {"from", "link/below"}, {"link", "from"}, {"from/mod", "from/mod/a/b"},
		{"beside/from", "beside"}, // what is left of a copy there would be removed
	} {
		if _, err := copied(t, filepath.Join(dir, tt.from), filepath.Join(dir, tt.to), asItIs); err == nil || !strings.Contains(err.Error(), "one is in the other") {
			t.Errorf("from %s to %s: %v", tt.from, tt.to, err)
		}
	}
	if got, want := files(t, dir), []string{"beside/.gocache-restore-unfinished", "beside/from/mod/file", "from/mod/file"}; !slices.Equal(slices.DeleteFunc(got, func(name string) bool { return name == "link" }), want) {
		t.Errorf("afterwards there are %q, want %q", got, want)
	}
	for _, name := range []string{"from/below", "from/mod/a"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was made in the source", name)
		}
	}
	if _, err := copied(t, filepath.Join(dir, "from"), filepath.Join(dir, "from2"), asItIs); err != nil {
		t.Errorf("a name that only begins the same: %v", err)
	}
}

// TestKeepsBuildCache holds that the entries of a copied build cache are not trimmed, and
// that a volume without one needs none.
func TestKeepsBuildCache(t *testing.T) {
	for name, tt := range map[string]struct {
		dir    string
		sealed bool
	}{"with one": {"build", true}, "of another name": {"none", false}, "without one": {"", false}} {
		from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
		entry := buildcache.ID{1}.ActionPath()
		lay(t, from, "build/"+entry)
		if _, err := copied(t, from, to, func(o *restore.Options) { o.BuildDir = tt.dir }); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(to, "build", entry))
		if err != nil {
			t.Fatal(err)
		}
		if sealed := time.Until(info.ModTime()) > 365*24*time.Hour; sealed != tt.sealed {
			t.Errorf("%s: modified %s", name, info.ModTime())
		}
	}
}

// TestEnds holds that a run that is ended leaves its mark, so that it is repeated, and that
// a volume which cannot be read is an error.
func TestEnds(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	lay(t, from, "mod/file")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := restore.Run(ctx, restore.Options{From: from, To: to, NoVerify: true, Clock: time.Now})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(to, ".gocache-restore-unfinished")); err != nil {
		t.Errorf("its mark: %v", err)
	}
	if _, err := copied(t, filepath.Join(from, "none"), filepath.Join(t.TempDir(), "x"), asItIs); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no volume: %v", err)
	}
	lay(t, from, "build/file")
	to = filepath.Join(t.TempDir(), "to")
	_, err = copied(t, from, to, func(o *restore.Options) {
		o.Clock = func() time.Time { // the mark of a copy that is not complete yet is removed by another one
			_ = os.Remove(filepath.Join(to, ".gocache-restore-unfinished"))
			return time.Now()
		}
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a mark that is gone: %v", err)
	}
}
