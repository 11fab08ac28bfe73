package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/integrity/tree"
)

// Removal is a path that is to go, or is gone.
type Removal struct {
	Cache integrity.Cache `json:"cache"`
	Path  string          `json:"path"`
	Why   integrity.Class `json:"why"`
}

// Result is what a repair did.
type Result struct {
	DryRun  bool              `json:"dryRun,omitempty"`
	Removed []Removal         `json:"removed"`
	Before  integrity.Verdict `json:"before"`
	After   integrity.Verdict `json:"after"`
	// Remaining counts the findings of the last check that the policy is to remove.
	Remaining int `json:"-"`
}

const (
	// rounds bounds how often a repair looks again: removing one thing can
	// bring to light another, such as an extracted module without its zip.
	rounds = 4
	// maxRemovals bounds the plan in memory. A cache with more corrupt entries
	// is better filled again.
	maxRemovals = 200_000
)

// ErrHopeless means that too many entries are corrupt to be repaired one by one.
var ErrHopeless = errors.New("too much is broken: empty the cache, or restore a snapshot")

// ErrMismatch means that content contradicts trust data, and nothing was
// removed.
var ErrMismatch = errors.New("something contradicts trust data: it was left, and all else with it, for a person to look at")

// Policy is what a repair may do.
type Policy struct {
	// DryRun only reports what would be removed first.
	DryRun bool
	// SpareMismatches removes nothing at all once anything contradicts trust
	// data: it may be evidence of a forgery.
	SpareMismatches bool
	// ForWriter removes nothing but what a writer must not build on: what the last
	// writer did not leave, and the corrupt entries of the caches, which the go command
	// uses and derives others from. What the go command takes for missing stays, and
	// so does what lies beside the caches.
	ForWriter bool
}

// covers reports whether the policy is to remove what a finding is about.
func (p Policy) covers(f *integrity.Finding) bool {
	if f.Class == integrity.Unsealed { // not proven: a repair leaves nothing that is proven by nothing but itself
		return true
	}
	if p.ForWriter {
		return f.Severity == integrity.SeverityCorrupt && f.Class != integrity.Unexpected
	}
	return f.Severity == integrity.Recoverable || f.Severity == integrity.SeverityCorrupt
}

// Run repairs the caches that options name.
func Run(ctx context.Context, o integrity.Options, may Policy) (Result, error) {
	r := Result{DryRun: may.DryRun, Removed: []Removal{}}
	for round := range rounds {
		var plan []Removal
		mismatch := false
		r.Remaining = 0
		o.Observe = func(f integrity.Finding) {
			if may.covers(&f) {
				r.Remaining++
				plan = append(plan, removals(&f)...)
			}
			mismatch = mismatch || f.Class == integrity.ChecksumMismatch
		}
		v, err := integrity.Check(ctx, o)
		if err != nil {
			return r, err
		}
		r.After = v
		if round == 0 {
			r.Before = v
		}
		if mismatch && may.SpareMismatches {
			return r, ErrMismatch
		}
		if len(plan) == 0 {
			return r, nil
		}
		if len(plan) > maxRemovals {
			return r, ErrHopeless
		}
		if may.DryRun {
			r.Removed = plan
			return r, nil
		}
		removed, err := remove(o, plan)
		r.Removed = append(r.Removed, removed...)
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// Remove removes paths below a directory, and leaves nothing of them.
func Remove(dir string, paths ...string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		_, removeErr := removeIn(root, path)
		err = errors.Join(err, removeErr)
	}
	return errors.Join(err, root.Close())
}

// removals is what a finding asks to be removed.
func removals(f *integrity.Finding) []Removal {
	list := make([]Removal, 0, len(f.Remove))
	for _, path := range f.Remove {
		list = append(list, Removal{f.Cache, path, f.Class})
	}
	return list
}

// remove removes what is planned and returns what was there.
func remove(o integrity.Options, plan []Removal) ([]Removal, error) {
	var done []Removal
	for cache, dir := range map[integrity.Cache]string{integrity.Modules: o.ModCache, integrity.Build: o.BuildCache, integrity.Store: o.Store, integrity.Volume: o.Volume} {
		if dir == "" {
			continue
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return done, err
		}
		for _, p := range plan {
			if p.Cache != cache {
				continue
			}
			gone, removeErr := removeIn(root, p.Path)
			if gone {
				done = append(done, p)
			}
			err = errors.Join(err, removeErr)
		}
		if err = errors.Join(err, root.Close()); err != nil {
			return done, err
		}
	}
	slices.SortStableFunc(done, func(a, b Removal) int {
		return slices.Compare([]string{string(a.Cache), a.Path}, []string{string(b.Cache), b.Path})
	})
	return done, nil
}

// removeIn removes one path. The root never leads out of the tree, whatever
// links lie in it.
func removeIn(root *os.Root, path string) (bool, error) {
	info, err := root.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("repair: %w", err)
	}
	if info.IsDir() {
		if err := writable(root, path); err != nil {
			return false, fmt.Errorf("repair: %w", err)
		}
	}
	if err := root.RemoveAll(path); err != nil {
		return false, fmt.Errorf("repair: %w", err)
	}
	return true, nil
}

// writable gives the owner write permission to directories: the go command
// makes those of modules read-only, and only root can empty them then.
func writable(root *os.Root, path string) error {
	return tree.Walk(root, path, func(name string, info fs.FileInfo) error {
		if !info.IsDir() {
			return nil
		}
		return root.Chmod(name, 0o775)
	})
}
