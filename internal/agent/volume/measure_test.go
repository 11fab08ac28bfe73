package volume_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/testing/tmpfs"
)

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestMeasureInodes fills a volume with small files: it has no room for another one,
// and most of its bytes left.
func TestMeasureInodes(t *testing.T) {
	dir := tmpfs.Mount(t, "size=64m,nr_inodes=500")
	var err error
	for i := 0; err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o600)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	space, err := volume.Measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	if space.Inodes != 500 || space.InodesUsed != 500 || space.Available < space.Capacity/2 {
		t.Errorf("%+v", space)
	}
}

// TestMeasureSharedFileSystem holds that only the files of the volume count, each once,
// on a file system that another volume has almost filled.
func TestMeasureSharedFileSystem(t *testing.T) {
	dir := tmpfs.Mount(t, "size=64m")
	own := filepath.Join(dir, "own")
	write(t, filepath.Join(dir, "other", "file"), 40<<20)
	write(t, filepath.Join(own, "mod", "a"), 1<<20)
	write(t, filepath.Join(own, "build", "b"), 1<<20)
	if err := os.Link(filepath.Join(own, "mod", "a"), filepath.Join(own, "mod", "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "other"), filepath.Join(own, "link")); err != nil {
		t.Fatal(err)
	}
	sparse, err := os.Create(filepath.Join(own, "sparse")) //nolint:gosec // of the test's tree
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sparse.Truncate(1<<30), sparse.Close()); err != nil {
		t.Fatal(err)
	}
	space, err := volume.Measure(own)
	if err != nil {
		t.Fatal(err)
	}
	if space.Used < 42<<20 || space.Tree < 2<<20 || space.Tree > 3<<20 {
		t.Errorf("the file system has %d bytes used, the tree %d, want at least 42 MiB, and 2 MiB", space.Used, space.Tree)
	}
	if _, err := volume.Measure(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there was measured")
	}
}
