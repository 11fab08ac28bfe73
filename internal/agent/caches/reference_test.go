package caches_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func digest(t *testing.T, tree *cachetree.Tree, manifest io.Writer) string {
	t.Helper()
	v, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now(), Manifest: manifest})
	if err != nil {
		t.Fatal(err)
	}
	return v.Digest
}

// forge puts another content under a version, consistent in itself: the zip,
// its hash and the extracted files agree.
func forge(t *testing.T, tree *cachetree.Tree) {
	t.Helper()
	for _, fault := range cachetree.ModuleFaults() {
		if fault.Name == "consistent forgery" {
			fault.Inflict(t, tree)
			return
		}
	}
	t.Fatal("no forgery is known")
}

// TestReference holds that a cache is compared with what a reference holds,
// whether its writer recorded that or not, and that a reference is trusted only
// if it is what was verified.
func TestReference(t *testing.T) {
	check := func(t *testing.T, tree, reference *cachetree.Tree, of string) (integrity.Verdict, error) {
		t.Helper()
		f := caches.Flags{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Reference: reference.Root, ReferenceDigest: of}
		o, err := f.Options(t.Context(), time.Now())
		if err != nil {
			return integrity.Verdict{}, err
		}
		o.Settle = time.Millisecond
		v, err := integrity.Check(t.Context(), o)
		if contents, goMod := o.Trust.Has(cachetree.Lib); !contents || !goMod {
			t.Error("the reference says nothing of a module that it holds")
		}
		return v, err
	}
	reference := cachetree.New(t)
	is := digest(t, reference, nil)

	t.Run("unrecorded", func(t *testing.T) {
		if v, err := check(t, cachetree.New(t), reference, is); err != nil || v.Verdict != integrity.Intact {
			t.Errorf("%+v, %v", v, err)
		}
	})
	t.Run("forged", func(t *testing.T) {
		tree := cachetree.New(t)
		forge(t, tree)
		v, err := check(t, tree, reference, is)
		if err != nil || v.Verdict != integrity.OutcomeCorrupt || v.Findings[integrity.ChecksumMismatch] == 0 {
			t.Errorf("%+v, %v", v, err)
		}
	})
	t.Run("another digest", func(t *testing.T) {
		if v, err := check(t, cachetree.New(t), reference, "sha256:00"); err == nil {
			t.Errorf("a reference is believed that is not what was verified: %+v", v)
		}
	})
	t.Run("no digest", func(t *testing.T) {
		if _, err := check(t, cachetree.New(t), reference, ""); err == nil {
			t.Error("a reference is believed that nobody verified")
		}
	})
	t.Run("recorded", func(t *testing.T) {
		recorded := cachetree.New(t)
		name := record.ManifestPath(recorded.Root)
		if err := record.WriteManifest(name, func(w io.Writer) error { digest(t, recorded, w); return nil }); err != nil {
			t.Fatal(err)
		}
		// The record is all that is looked at: the rest may be gone.
		cachetree.RemoveAll(t, recorded.ModCache)
		if v, err := check(t, cachetree.New(t), recorded, is); err != nil || v.Verdict != integrity.Intact {
			t.Errorf("%+v, %v", v, err)
		}
		// A record that is none is not waited for.
		if err := os.Rename(name, filepath.Join(recorded.Root, "away")); err != nil {
			t.Fatal(err)
		}
		if v, err := check(t, cachetree.New(t), recorded, is); err == nil {
			t.Errorf("a reference is believed that holds nothing: %+v", v)
		}
	})
}
