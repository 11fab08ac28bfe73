package cleanup_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/cleanup"
	"gocache.dev/operator/internal/domain/buildcache"
	report "gocache.dev/operator/internal/domain/cleanup"
)

// anEntry is the i-th action entry of a build cache.
func anEntry(i int) buildcache.Entry {
	return buildcache.Entry{Action: buildcache.ID{byte(i)}, Output: buildcache.ID{1}, Size: 3, Time: time.Unix(1_700_000_000, 0)}
}

// again makes the directory of one entry again, with nothing but that in it.
func again(t *testing.T, dir string, i int) (name string) {
	t.Helper()
	e := anEntry(i)
	name = filepath.Join(dir, e.Action.ActionPath())
	if err := errors.Join(os.RemoveAll(filepath.Dir(name)), os.Mkdir(filepath.Dir(name), 0o700), os.WriteFile(name, e.Format(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return name
}

// The check of the index reads what action entries hold; one malformed entry
// in a hundred is tolerated.
func TestIndexOfABuildCache(t *testing.T) {
	edit := func(change func([]byte) []byte) func(string) error {
		return func(name string) error {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, change(data), 0o600)
		}
	}
	rename := func(to string) func(string) error {
		return func(name string) error { return os.Rename(name, filepath.Join(filepath.Dir(name), to)) }
	}
	root := t.TempDir()
	dir := filepath.Join(root, "build")
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(dir, anEntry(i).Action.Shard()), 0o700); err != nil {
			t.Fatal(err)
		}
		if i < 100 {
			again(t, dir, i)
		}
	}
	o := cleanup.Options{Root: root, BuildCache: dir, Umask: 0o022, TerminationLog: filepath.Join(root, "log"), Clock: time.Now, Stdout: io.Discard}
	const both = "2 of 100"
	for name, tt := range map[string]struct {
		damage func(name string) error
		fails  string // with two damaged entries; "": it passes
	}{
		"intact":              {func(string) error { return nil }, ""},
		"a digit of the time": {edit(func(b []byte) []byte { b[173] = 'x'; return b }), both},
		"another action":      {edit(func(b []byte) []byte { b[10] ^= 1; return b }), both},
		"a byte short":        {edit(func(b []byte) []byte { return b[:len(b)-1] }), both},
		"a byte long":         {edit(func(b []byte) []byte { return append(b, '\n') }), both},
		"empty":               {edit(func([]byte) []byte { return nil }), both},
		"a directory":         {func(name string) error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o700)) }, both},
		"another name":        {rename("notes"), both},
		"another directory":   {rename(buildcache.ID{0xee}.String() + "-a"), both},
		"an output":           {func(name string) error { return os.Rename(name, strings.TrimSuffix(name, "a")+"d") }, ""},
		"no directory":        {func(name string) error { return os.RemoveAll(filepath.Dir(name)) }, "2 of the 256 directories"},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 2 {
				defer again(t, dir, i)
				if err := tt.damage(again(t, dir, i)); err != nil {
					t.Fatal(err)
				}
				r, err := cleanup.Run(t.Context(), o)
				if err != nil || len(r.Preflight) != 3 {
					t.Fatalf("%+v, %v", r, err)
				}
				got := r.Preflight[1]
				if i == 0 && tt.fails == both && got != (report.Check{Name: report.Index, Result: report.Pass}) {
					t.Errorf("one damaged entry: %+v", got)
				}
				if i == 1 && ((got.Result == report.Pass) != (tt.fails == "") || !strings.Contains(got.Message, tt.fails)) {
					t.Errorf("two damaged entries: %+v, want %q", got, tt.fails)
				}
			}
		})
	}
}
