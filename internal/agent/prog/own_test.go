package prog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUpperAtOnce holds that go commands which begin to use an empty upper layer
// at once agree on what it is of: those of one name are all served, and of two
// names one alone. No part of the record is left beside it.
func TestUpperAtOnce(t *testing.T) {
	t.Parallel()
	for range 50 {
		for _, names := range [][]string{{"one"}, {"one", "two"}} {
			dir := t.TempDir()
			var all sync.WaitGroup
			start := make(chan struct{})
			errs := make([]error, 8)
			for i := range errs {
				all.Go(func() {
					<-start
					// A limit: others remove what is left over meanwhile.
					p, err := openPrivate(Options{Upper: dir, UpperOf: names[i%len(names)], UpperBytes: 1 << 30})
					if err == nil {
						_, err = p.evict()
						_ = p.close()
					}
					errs[i] = err
				})
			}
			close(start)
			all.Wait()
			served := map[string]int{}
			for i, err := range errs {
				name := names[i%len(names)]
				switch {
				case err == nil:
					served[name]++
				case len(names) == 1 || !strings.Contains(err.Error(), "each needs a volume of its own"):
					t.Fatalf("of %s: %v", name, err)
				}
			}
			if len(served) != 1 {
				t.Fatalf("names %v: %v are served", names, served)
			}
			for name, n := range served {
				if n != len(errs)/len(names) {
					t.Fatalf("names %v: %d of %s are served", names, n, name)
				}
				if had, err := os.ReadFile(filepath.Join(dir, ownerFile)); err != nil || string(had) != name {
					t.Fatalf("the layer is of %q: %v", had, err)
				}
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 2 {
				t.Fatalf("left: %v, %v", left, err)
			}
		}
	}
}

// TestUpperWithoutHardLinks holds that a file system without hard links is named
// as the cause, and that nothing is left on it.
func TestUpperWithoutHardLinks(t *testing.T) {
	t.Parallel()
	for _, unsupported := range []syscall.Errno{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS} {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		p := &private{root: root, link: func(oldName, newName string) error {
			return &os.LinkError{Op: "linkat", Old: oldName, New: newName, Err: unsupported}
		}}
		if err := p.own("program/feature"); !errors.Is(err, unsupported) || !strings.Contains(err.Error(), "--upper-of needs a file system with hard links") {
			t.Errorf("%s: %v", unsupported.Error(), err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		if err := root.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other := errors.New("no space")
	if err := withoutLinks(other); !errors.Is(err, other) || strings.Contains(err.Error(), "hard links") {
		t.Errorf("another error: %v", err)
	}
}

// TestUmask holds that the umask is read and stays.
func TestUmask(t *testing.T) {
	before := unix.Umask(0o027)
	defer unix.Umask(before)
	for range 2 {
		if got := readUmask(); got != 0o027 {
			t.Errorf("the umask is %o", got)
		}
	}
}
