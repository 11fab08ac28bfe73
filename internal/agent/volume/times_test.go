package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/tmpfs"
)

func modified(t *testing.T, name string) time.Time {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// TestTimesOfEntries holds that all entries are kept for years after a cache is
// sealed, have the time of their last use again when it is used, and that nothing
// else in the cache gets another time.
func TestTimesOfEntries(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	id := func(i int) string { return fmt.Sprintf("%02x%062x", i, i) }
	used := time.Now().Add(-30 * 24 * time.Hour).Truncate(time.Second)
	entries := []string{"01/" + id(1) + "-a", "01/" + id(1) + "-d", "ff/" + id(255) + "-a"}
	others := []string{"README", "01/note", "012/" + id(1) + "-a", "testexpire.txt"}
	for _, name := range append(entries, others...) {
		write(t, filepath.Join(dir, name), 10)
		if err := os.Chtimes(filepath.Join(dir, name), used, used); err != nil {
			t.Fatal(err)
		}
	}
	write(t, outside, 1)
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "01", id(2)+"-a")), os.Chtimes(outside, used, used)); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want time.Time, now time.Time) {
		t.Helper()
		for _, name := range entries {
			if is := modified(t, filepath.Join(dir, name)); !is.Equal(want) {
				t.Errorf("%s: %s has the time %s, want %s", when, name, is, want)
			}
		}
		for _, name := range others {
			if is := modified(t, filepath.Join(dir, name)); !is.Equal(used) {
				t.Errorf("%s: %s has the time %s", when, name, is)
			}
		}
		if is := modified(t, outside); !is.Equal(used) {
			t.Errorf("%s: what a link names has the time %s", when, is)
		}
		text, err := os.ReadFile(filepath.Join(dir, buildcache.TrimMark))
		if err != nil {
			t.Fatal(err)
		}
		if mark, err := buildcache.ParseTrim(text); err != nil || mark.Unix() != now.Unix() {
			t.Errorf("%s: trimmed at %s, %v, want %s", when, mark, err, now)
		}
	}
	now := time.Now()
	for range 2 { // a cache that is sealed already stays as it is
		if err := volume.Keep(dir, now); err != nil {
			t.Fatal(err)
		}
		check("sealed", buildcache.Kept(used), now)
	}
	later := now.Add(time.Hour)
	if err := volume.BeginUse(dir, later); err != nil {
		t.Fatal(err)
	}
	check("in use", used, later)

	for name, do := range map[string]func(string, time.Time) error{"Keep": volume.Keep, "BeginUse": volume.BeginUse, "MarkTrimmed": volume.MarkTrimmed, "MarkTrimmedIfSpace": volume.MarkTrimmedIfSpace} {
		if err := do(filepath.Join(dir, "none"), now); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a cache that is not there: %v", name, err)
		}
	}
}

// TestMarkOnAFullVolume holds that a full volume stays unmarked where room is about
// to be made, that this is an error elsewhere, and that nothing half-written is left.
func TestMarkOnAFullVolume(t *testing.T) {
	dir := tmpfs.Mount(t, "size=1m")
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 2<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := volume.MarkTrimmed(dir, time.Now()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("MarkTrimmed: %v", err)
	}
	if err := volume.MarkTrimmedIfSpace(dir, time.Now()); err != nil {
		t.Errorf("MarkTrimmedIfSpace: %v", err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*trim*")); err != nil || len(names) > 0 {
		t.Errorf("left %v, %v", names, err)
	}
	if err := errors.Join(os.Truncate(filepath.Join(dir, "ballast"), 0), volume.MarkTrimmedIfSpace(dir, time.Now())); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, buildcache.TrimMark))
	if err != nil || info.Mode().Perm() != 0o664 {
		t.Errorf("with room: %v, %v: the group of the volume has to write it", info, err)
	}
}

// TestMeasureWithoutMounts holds that what is mounted below a volume is not part of
// it.
func TestMeasureWithoutMounts(t *testing.T) {
	dir := tmpfs.Mount(t, "size=64m")
	write(t, filepath.Join(dir, "own"), 1<<20)
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	tmpfs.MountAt(t, inner, "size=64m")
	write(t, filepath.Join(inner, "other"), 8<<20)
	space, err := volume.Measure(dir)
	if err != nil || space.Tree < 1<<20 || space.Tree >= 2<<20 {
		t.Errorf("the tree has %d bytes, want 1 MiB; %v", space.Tree, err)
	}
	if space.Capacity != 64<<20 || space.Used < 1<<20 || space.Used+space.Available != space.Capacity {
		t.Errorf("%+v", space)
	}
}

// TestRemovals holds what is removed from a module cache, and that a cache which is
// not there is none.
func TestRemovals(t *testing.T) {
	removals := map[string]func(string) error{"RemoveRepositories": volume.RemoveRepositories, "RemoveUnfinished": volume.RemoveUnfinished}
	for name, remove := range removals {
		file := filepath.Join(t.TempDir(), "file")
		write(t, file, 1)
		if err := remove(filepath.Join(file, "..", "none")); err != nil {
			t.Errorf("%s of a cache that is not there: %v", name, err)
		}
		if err := remove(file); err == nil {
			t.Errorf("%s of a file: no error", name)
		}
	}
	if err := volume.RemoveRepositories(""); err != nil {
		t.Errorf("no module cache: %v", err)
	}

	tree := cachetree.New(t)
	lib := cachetree.Lib
	download := filepath.Join(tree.ModCache, "cache", "download", lib.Path, "@v", lib.Version)
	repository := filepath.Join(tree.ModCache, "cache", "vcs", strings.Repeat("a", 64))
	temporary, partial := download+".zip123.tmp", download+".partial"
	write(t, temporary, 10)
	write(t, partial, 0)
	write(t, filepath.Join(repository, "config"), 10)
	write(t, filepath.Join(tree.Extracted(lib), "\xff", "file"), 10) // a name that is not UTF-8
	kept := []string{download + ".zip", download + ".mod"}
	if err := volume.RemoveUnfinished(tree.ModCache); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{temporary, partial, tree.Extracted(lib)} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(repository); err != nil {
		t.Errorf("a repository is no unfinished download: %v", err)
	}
	if err := volume.RemoveRepositories(tree.ModCache); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(repository); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", repository, err)
	}
	for _, name := range append(kept, tree.Extracted(cachetree.Dep)) {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
}

// TestSync holds that a volume which is not there is reported.
func TestSync(t *testing.T) {
	dir := t.TempDir()
	if err := volume.Sync(dir); err != nil {
		t.Error(err)
	}
	if err := volume.Sync(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no volume: %v", err)
	}
}
