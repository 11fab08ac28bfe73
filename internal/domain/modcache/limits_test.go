package modcache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gocache.dev/operator/internal/domain/integrity/tree"
)

// TestManyFiles holds that a module with more files than are read is not damaged.
func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "last"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	files := maxFiles
	err = NewHasher(0).walkIn(d, "", &files, func(*tree.Dir, tree.Entry, string) error { return nil })
	if !errors.Is(err, ErrLimit) || errors.Is(err, ErrContent) {
		t.Error(err)
	}
}
