package integrity_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/testing/cachetree"
)

// sealedVolume is a volume that a writer has left: caches of a real go command,
// and their manifest.
func sealedVolume(t *testing.T) (*cachetree.Tree, integrity.Options) {
	t.Helper()
	tree := cachetree.New(t)
	root := t.TempDir()
	for _, dir := range []*string{&tree.ModCache, &tree.BuildCache} {
		to := filepath.Join(root, filepath.Base(*dir))
		if err := os.Rename(*dir, to); err != nil {
			t.Fatal(err)
		}
		*dir = to
	}
	t.Cleanup(func() { cachetree.RemoveAll(t, tree.ModCache) })
	o := integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Volume: root}
	o.Sealed = reseal(t, o)
	return tree, o
}

// reseal writes the manifest of what is there, and returns its digest.
func reseal(t *testing.T, o integrity.Options) string {
	t.Helper()
	var text bytes.Buffer
	o.Manifest, o.Sealed, o.Volume = &text, "", ""
	v := within(t, checkLimit, o)
	var file bytes.Buffer
	z, err := manifest.Compress(&file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(text.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(filepath.Dir(o.ModCache), ".gocache", "manifest.zst"), file.Bytes())
	return v.Digest
}

// actions are the action entries of a build cache.
func actions(t *testing.T, tree *cachetree.Tree) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(tree.BuildCache, "??", "*-a"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%d action entries, %v", len(names), err)
	}
	return names
}

// repoint lets an action entry name the output of another one, which is intact.
func repoint(t *testing.T, tree *cachetree.Tree) string {
	t.Helper()
	all := actions(t, tree)
	var to []string
	for _, name := range all {
		fields := strings.Fields(get(t, name))
		if to == nil {
			to = fields
			continue
		}
		if fields[2] != to[2] {
			put(t, name, []byte(fmt.Sprintf("v1 %s %s %20s %20s\n", fields[1], to[2], to[3], fields[4])))
			return name
		}
	}
	t.Fatal("all actions have the same output")
	return ""
}

// addAction adds an action entry that names an intact output.
func addAction(t *testing.T, tree *cachetree.Tree) string {
	t.Helper()
	fields := strings.Fields(get(t, actions(t, tree)[0]))
	id := strings.Repeat("00ab", 16)
	name := filepath.Join(tree.BuildCache, "00", id+"-a")
	put(t, name, []byte(fmt.Sprintf("v1 %s %s %20s %20s\n", id, fields[2], fields[3], fields[4])))
	return name
}

func get(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func remove(t *testing.T, name string) {
	t.Helper()
	cachetree.RemoveAll(t, name)
}

// What differs from what the last writer left is found, though every entry is
// intact by itself.
func TestUnsealed(t *testing.T) {
	lib := func(tree *cachetree.Tree, suffix string) string {
		return filepath.Join(tree.ModCache, "cache", "download", "example.com", "lib", "@v", "v1.2.0"+suffix)
	}
	forged := func(t *testing.T, tree *cachetree.Tree) {
		for _, f := range cachetree.ModuleFaults() {
			if f.Class == "ChecksumMismatch" && strings.Contains(f.Name, "forg") {
				f.Inflict(t, tree)
				return
			}
		}
		t.Fatal("there is no such fault")
	}
	manifestOf := func(o integrity.Options) string { return filepath.Join(o.Volume, ".gocache", "manifest.zst") }
	for name, c := range map[string]struct {
		change func(t *testing.T, tree *cachetree.Tree, o *integrity.Options)
		want   integrity.Outcome
	}{
		"action entry of another output": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) { repoint(t, tree) }, integrity.OutcomeCorrupt},
		"action entry that was added":    {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) { addAction(t, tree) }, integrity.Inconclusive},
		"module that was forged":         {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) { forged(t, tree) }, integrity.OutcomeCorrupt},
		"go.mod that was changed": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			remove(t, lib(tree, ".zip"))
			remove(t, lib(tree, ".ziphash"))
			remove(t, filepath.Join(tree.ModCache, "example.com", "lib@v1.2.0"))
			put(t, lib(tree, ".mod"), []byte("module example.com/lib\n\ngo 1.21\n"))
		}, integrity.OutcomeCorrupt},
		"build of the same": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			goRun(t, tree, "build", "-o", os.DevNull, ".")
		}, integrity.Inconclusive},
		"build with other flags": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			goRun(t, tree, "build", "-gcflags=-N", "-o", os.DevNull, ".")
		}, integrity.Inconclusive},
		"added, without the manifest": {func(t *testing.T, tree *cachetree.Tree, o *integrity.Options) {
			addAction(t, tree)
			remove(t, manifestOf(*o))
		}, integrity.Inconclusive},
		"re-pointed, with a new manifest": {func(t *testing.T, tree *cachetree.Tree, o *integrity.Options) { repoint(t, tree); reseal(t, *o) }, integrity.Inconclusive},
		"re-pointed, with a link for the manifest": {func(t *testing.T, tree *cachetree.Tree, o *integrity.Options) {
			repoint(t, tree)
			remove(t, manifestOf(*o))
			symlink(t, "/dev/zero", manifestOf(*o))
		}, integrity.Inconclusive},

		"nothing":              {func(*testing.T, *cachetree.Tree, *integrity.Options) {}, integrity.Intact},
		"the manifest is gone": {func(t *testing.T, _ *cachetree.Tree, o *integrity.Options) { remove(t, manifestOf(*o)) }, integrity.Intact},
		"modules extracted again": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			remove(t, filepath.Join(tree.ModCache, "example.com", "lib@v1.2.0"))
			goRun(t, tree, "mod", "download", "example.com/lib")
		}, integrity.Intact},
		"extracted after the writer": {func(t *testing.T, tree *cachetree.Tree, o *integrity.Options) {
			remove(t, filepath.Join(tree.ModCache, "example.com", "lib@v1.2.0"))
			o.Sealed = reseal(t, *o)
			goRun(t, tree, "mod", "download", "example.com/lib")
		}, integrity.Intact},
		"extracted modules removed": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			remove(t, filepath.Join(tree.ModCache, "example.com"))
		}, integrity.Intact},
		"a trim of the go command": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			remove(t, actions(t, tree)[0])
			remove(t, actions(t, tree)[0])
		}, integrity.Intact},
		"a truncated entry":    {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) { put(t, actions(t, tree)[0], nil) }, integrity.Intact},
		"the .ziphash is gone": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) { remove(t, lib(tree, ".ziphash")) }, integrity.Intact},
		"marks and records of use": {func(t *testing.T, tree *cachetree.Tree, o *integrity.Options) {
			put(t, filepath.Join(tree.BuildCache, "trim.txt"), []byte("1700000000"))
			put(t, filepath.Join(tree.BuildCache, "testexpire.txt"), []byte("1700000000000000000\n"))
			put(t, filepath.Join(o.Volume, ".gocache", "usage.json"), nil)
		}, integrity.Intact},
		"a layer that is not checked": {func(t *testing.T, tree *cachetree.Tree, o *integrity.Options) { repoint(t, tree); o.BuildCache = "" }, integrity.Intact},
		"an orphaned output":          {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) { orphan(t, tree) }, integrity.Intact},
		"both caches are empty": {func(t *testing.T, tree *cachetree.Tree, _ *integrity.Options) {
			remove(t, tree.ModCache)
			remove(t, tree.BuildCache)
			mkdir(t, tree.ModCache)
			mkdir(t, tree.BuildCache)
		}, integrity.Intact},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree, o := sealedVolume(t)
			c.change(t, tree, &o)
			alone := o
			alone.Sealed = ""
			if v := within(t, checkLimit, alone); v.Verdict != integrity.Intact || v.Counts.Sealed != 0 {
				t.Fatalf("the entries are not intact by themselves: %s: %+v", v.Verdict, v.Examples)
			}
			v := within(t, checkLimit, o)
			if v.Verdict != c.want || (v.Findings[integrity.Unsealed] > 0) != (c.want != integrity.Intact) {
				t.Errorf("%s, want %s: %s: %+v", v.Verdict, c.want, v.Message, v.Examples)
			}
			unproven, known := map[string]int{
				"action entry of another output": 1, "action entry that was added": 1, "an orphaned output": 1,
				"added, without the manifest": v.Counts.BuildEntries, "re-pointed, with a new manifest": v.Counts.BuildEntries,
			}[name]
			if (known || c.want == integrity.Intact) && v.Counts.BuildEntries-v.Counts.Sealed != unproven {
				t.Errorf("%d of %d build entries are as the writer left them, want all but %d", v.Counts.Sealed, v.Counts.BuildEntries, unproven)
			}
		})
	}
}

func orphan(t *testing.T, tree *cachetree.Tree) {
	t.Helper()
	for _, f := range cachetree.BuildFaults() {
		if f.Class == "Orphan" {
			f.Inflict(t, tree)
		}
	}
}

// TestNeverSealed holds that content that no writer has recorded is not Intact,
// though every part of it agrees with the others.
func TestNeverSealed(t *testing.T) {
	_, o := sealedVolume(t)
	o.Sealed, o.NeverSealed = "", true
	if v := within(t, checkLimit, o); v.Verdict != integrity.Inconclusive || v.Findings[integrity.Unsealed] != 1 {
		t.Errorf("%s: %+v", v.Verdict, v.Examples)
	}
}
