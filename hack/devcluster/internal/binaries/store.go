package binaries

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"gocache.dev/operator/hack/devcluster/internal/filelock"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

// keep is how many entries are kept: this one and the one before, so that
// going back and forth between two branches builds nothing.
const keep = 2

// Store is the cache of built programs.
type Store struct {
	// Dir is the folder with one entry per hash.
	Dir string
	// Source is the folder of the module that is built.
	Source string
	// Reporter shows the progress.
	Reporter *progress.Reporter
}

// Entry is one built set.
type Entry struct{ dir string }

// Bin is the folder of the programs.
func (e Entry) Bin() string { return filepath.Join(e.dir, "bin") }

// CRDs is the folder of the VolumeSnapshot CRDs.
func (e Entry) CRDs() string { return filepath.Join(e.dir, "crd") }

// Manifests are the CRDs as YAML documents.
func (e Entry) Manifests() ([]byte, error) {
	var all []byte
	for _, name := range crdFiles {
		b, err := os.ReadFile(filepath.Join(e.CRDs(), name))
		if err != nil {
			return nil, err
		}
		all = append(append(all, b...), "\n---\n"...)
	}
	return all, nil
}

// Envtest is what KUBEBUILDER_ASSETS is to be set to.
func (e Entry) Envtest() string { return filepath.Join(e.dir, "envtest") }

// EntryOf returns the entry that a folder of programs belongs to.
func EntryOf(bin string) Entry { return Entry{dir: filepath.Dir(bin)} }

// Use keeps the entry from being removed until this process ends.
func (e Entry) Use() error {
	lock, err := filelock.TryShared(filepath.Join(e.dir, "in-use"))
	if err == nil && lock == nil {
		err = fmt.Errorf("%s is being removed; run the command again", e.dir)
	}
	return err
}

// DefaultDir is the store's place below the user's cache directory.
func DefaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for built programs: %w", err)
	}
	return filepath.Join(dir, "gocache-operator", "devcluster"), nil
}

// Entry returns where the programs of these sources are, built or not.
func (s *Store) Entry(ctx context.Context) (Entry, error) {
	version, err := s.goCommand(ctx, "env", "GOVERSION").Output()
	if err != nil {
		return Entry{}, fmt.Errorf("go env GOVERSION: %w", err)
	}
	circumstances := append([]string{strings.TrimSpace(string(version)), runtime.GOARCH}, buildFlags()...)
	hash, err := hashSource(s.Source, circumstances...)
	if err != nil {
		return Entry{}, err
	}
	return Entry{dir: filepath.Join(s.Dir, hash)}, nil
}

// Ensure builds those of the programs that are not there yet.
func (s *Store) Ensure(ctx context.Context, programs ...Program) (Entry, error) {
	entry, err := s.Entry(ctx)
	if err != nil {
		return Entry{}, err
	}
	if len(missing(entry, programs)) > 0 {
		if err := s.buildLocked(ctx, entry, programs); err != nil {
			return Entry{}, err
		}
	}
	// The age of the folder is when it was last used: the entries used last are kept.
	now := time.Now()
	if err := os.Chtimes(entry.dir, now, now); err != nil {
		return Entry{}, err
	}
	return entry, s.evict(entry)
}

func (s *Store) buildLocked(ctx context.Context, entry Entry, programs []Program) (err error) {
	lock, err := filelock.Exclusive(ctx, filepath.Join(s.Dir, "build.lock"), func() {
		s.Reporter.Print("another build is running; waiting for it")
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	// The last holder of the lock may have built them.
	if programs = missing(entry, programs); len(programs) == 0 {
		return nil
	}
	return s.build(ctx, entry, programs)
}

func missing(entry Entry, programs []Program) []Program {
	var out []Program
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(entry.Bin(), p.Name)); err != nil {
			out = append(out, p)
		}
	}
	return out
}
