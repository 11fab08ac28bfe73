package repair_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// TestDecisions holds what a repair removes by its policy, that it reports what was found at
// first and what is there in the end, and that what it spares stays.
func TestDecisions(t *testing.T) {
	forged := func(t *testing.T, tree *cachetree.Tree) {
		t.Helper()
		faults := cachetree.ModuleFaults()
		i := slices.IndexFunc(faults, func(f cachetree.Fault) bool { return f.Name == "consistent forgery" })
		faults[i].Inflict(t, tree)
	}
	damaged := func(t *testing.T, tree *cachetree.Tree) {
		t.Helper()
		cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
	for name, tt := range map[string]struct {
		spoil         func(t *testing.T, tree *cachetree.Tree)
		may           repair.Policy
		err           error
		removed       bool // something is, or would be
		before, after integrity.Outcome
	}{
		"nothing":     {func(*testing.T, *cachetree.Tree) {}, repair.Policy{}, nil, false, integrity.Intact, integrity.Intact},
		"damage":      {damaged, repair.Policy{}, nil, true, integrity.OutcomeCorrupt, integrity.Intact},
		"damage, dry": {damaged, repair.Policy{DryRun: true}, nil, true, integrity.OutcomeCorrupt, integrity.OutcomeCorrupt},
		// Before a writer: the go command would compile on top of what is corrupt.
		"damage, for a writer": {damaged, repair.Policy{ForWriter: true}, nil, true, integrity.OutcomeCorrupt, integrity.Intact},
		"truncated, for a writer": {func(t *testing.T, tree *cachetree.Tree) {
			t.Helper()
			cachetree.Edit(t, cachetree.ActionOf(t, tree), func(b []byte) []byte { return b[:len(b)/2] })
		}, repair.Policy{ForWriter: true}, nil, false, integrity.Intact, integrity.Intact},
		"damage, spares more": {damaged, repair.Policy{SpareMismatches: true}, nil, true, integrity.OutcomeCorrupt, integrity.Intact},
		"a forgery":           {forged, repair.Policy{}, nil, true, integrity.OutcomeCorrupt, integrity.Intact},
		"a forgery, spared":   {forged, repair.Policy{SpareMismatches: true}, repair.ErrMismatch, false, integrity.OutcomeCorrupt, integrity.OutcomeCorrupt},
		"both, spared": {func(t *testing.T, tree *cachetree.Tree) {
			t.Helper()
			damaged(t, tree)
			forged(t, tree)
		}, repair.Policy{SpareMismatches: true}, repair.ErrMismatch, false, integrity.OutcomeCorrupt, integrity.OutcomeCorrupt},
	} {
		tree := cachetree.New(t)
		tt.spoil(t, tree)
		r, err := repair.Run(t.Context(), options(t, tree, true), tt.may)
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) || (len(r.Removed) > 0) != tt.removed || r.Removed == nil || r.Before.Verdict != tt.before || r.After.Verdict != tt.after || r.DryRun != tt.may.DryRun {
			t.Errorf("%s: %v, removed %+v of %s, now %s", name, err, r.Removed, r.Before.Verdict, r.After.Verdict)
		}
		for _, p := range r.Removed {
			dir := tree.BuildCache
			if p.Cache == integrity.Modules {
				dir = tree.ModCache
			}
			if _, err := os.Lstat(filepath.Join(dir, p.Path)); (err == nil) != tt.may.DryRun || p.Why == "" {
				t.Errorf("%s: %+v: %v", name, p, err)
			}
		}
		if name == "damage" && !slices.IsSortedFunc(r.Removed, func(a, b repair.Removal) int {
			return slices.Compare([]string{string(a.Cache), a.Path}, []string{string(b.Cache), b.Path})
		}) {
			t.Errorf("%s: %+v", name, r.Removed)
		}
	}
	o := options(t, cachetree.New(t), false)
	o.ModCache = filepath.Join(t.TempDir(), "none")
	if r, err := repair.Run(t.Context(), o, repair.Policy{}); !errors.Is(err, fs.ErrNotExist) || r.Removed == nil {
		t.Errorf("a cache that is not there: %+v, %v", r, err)
	}
}

// TestRemove holds that named paths are removed with all below them, and nothing outside.
func TestRemove(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "cache")
	for _, name := range []string{"cache/a/b/file", "cache/file", "cache/kept", "outside"} {
		name = filepath.Join(top, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "a", "b"), 0o500), os.Chmod(filepath.Join(dir, "a"), 0o500), os.Symlink(top, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if err := repair.Remove(dir, "a", "file", "none", "link"); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("left %v, %v", left, err)
	}
	if err := repair.Remove(dir, "../outside", "kept"); err == nil {
		t.Error("outside of the cache: no error")
	}
	if _, err := os.Stat(filepath.Join(dir, "kept")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what comes after an error: %v", err)
	}
	if _, err := os.Stat(filepath.Join(top, "outside")); err != nil {
		t.Error(err)
	}
	if err := repair.Remove(filepath.Join(top, "none"), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cache that is not there: %v", err)
	}
}

// TestRemoveAnyName holds that read-only directories are removed whatever bytes their
// names have.
func TestRemoveAnyName(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "a", "\xff")
	if err := errors.Join(os.MkdirAll(filepath.Join(locked, "b"), 0o700), os.WriteFile(filepath.Join(locked, "b", "file"), nil, 0o600), os.Chmod(locked, 0o500)); err != nil {
		t.Fatal(err)
	}
	if err := repair.Remove(dir, "a"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
