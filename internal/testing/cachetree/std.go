package cachetree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// stdFiles are a program, and a test, of those packages of the standard library
// that tests of whole repositories use.
var stdFiles = map[string]string{
	"go.mod":    "module example.com/std\n\ngo 1.21\n",
	"s.go":      "package main\n\nimport (\n\t_ \"errors\"\n\t_ \"fmt\"\n\t_ \"os\"\n)\n\nfunc main() {}\n",
	"s_test.go": "package main_test\n\nimport \"testing\"\n\nfunc TestIt(*testing.T) {}\n",
}

// NewWithStd is a fresh copy of a good tree whose build cache holds what builds,
// vets and tests make of the standard library for a small program, too. For
// tests of what comes on top of that: to make it again takes ten seconds.
func NewWithStd(tb testing.TB) *Tree {
	tb.Helper()
	t := New(tb)
	addStd(tb, t)
	return t
}

// NewWithStdAlone is [NewWithStd] with a build cache that holds nothing else: all of
// the modules is yet to be compiled.
func NewWithStdAlone(tb testing.TB) *Tree {
	tb.Helper()
	t := New(tb)
	RemoveAll(tb, t.BuildCache)
	addStd(tb, t)
	return t
}

func addStd(tb testing.TB, t *Tree) {
	tb.Helper()
	std, err := std(t)
	if err != nil {
		tb.Fatalf("building the standard library: %v", err)
	}
	if err := Copy(std, t.BuildCache); err != nil {
		tb.Fatalf("copying the standard library: %v", err)
	}
}

// std is where the build cache with the standard library of the tree's release
// lies.
func std(of *Tree) (string, error) {
	version, err := of.version()
	if err != nil {
		return "", err
	}
	text := "std2" + version
	for _, name := range slices.Sorted(maps.Keys(stdFiles)) {
		text += name + stdFiles[name]
	}
	sum := sha256.Sum256([]byte(text))
	return once(hex.EncodeToString(sum[:8]), func(root string) error {
		t := at(root)
		// All but the outputs can go once they are there.
		t.BuildCache, t.Main, t.Offline = root, filepath.Join(root, "main"), true
		if err := os.MkdirAll(t.Main, 0o700); err != nil {
			return err
		}
		for name, content := range stdFiles {
			if err := os.WriteFile(filepath.Join(t.Main, name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		for _, args := range [][]string{{"build", "-o", os.DevNull, "./..."}, {"vet", "./..."}, {"test", "-count=1", "-exec=true", "./..."}} {
			if out, err := t.Go(args...); err != nil {
				return fmt.Errorf("go %v: %w\n%s", args, err, out)
			}
		}
		return os.RemoveAll(t.Main)
	})
}

// once makes a directory of the user's cache of this name if it is not there.
// Of several processes that need it, one makes it and the others wait: it takes
// seconds of all processors.
func once(name string, fill func(root string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "gocache-cachetree")
	final := filepath.Join(dir, name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(final+".lock", os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a name of this package
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(final); err == nil { // another process has made it
		return final, nil
	}
	return final, makeIn(dir, final, fill)
}

// makeIn makes a directory aside and gives it its name when it is complete.
func makeIn(dir, final string, fill func(root string) error) error {
	root, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return err
	}
	if err := fill(root); err != nil {
		return err
	}
	if err := os.Rename(root, final); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Stat(final); statErr != nil {
			return err
		}
	}
	return nil
}
