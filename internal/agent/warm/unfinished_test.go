package warm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// A go command that refuses a checksum leaves the temporary file of the zip. A
// warm-up removes it before it records what the volume holds, also when that
// warm-up fails by the same checksum.
func TestRefusedDownloadIsRemoved(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.RemoveAll(t, tree.ModCache)
	dep := cachetree.Dep
	refused := map[string]string{
		"go.mod": "module example.com/main\n\ngo 1.21\n\nrequire " + dep.Path + " " + dep.Version + "\n",
		"go.sum": dep.Path + " " + dep.Version + " h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
	}
	dir := t.TempDir()
	for name, content := range refused {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	download := exec.CommandContext(t.Context(), "go", "mod", "download", dep.Path)
	download.Dir, download.Env = dir, append(tree.Env(), "GOMODCACHE="+tree.ModCache)
	if out, err := download.CombinedOutput(); err == nil {
		t.Fatalf("the checksum was not refused: %s", out)
	}
	left := func() []string {
		names, err := filepath.Glob(filepath.Join(tree.ModCache, "cache", "download", "example.com", "!upper", "dep", "@v", dep.Version+".zip*.tmp"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if names := left(); len(names) != 1 {
		t.Fatalf("the go command left %v", names)
	}
	good := configMap(t, map[string]string{"go.mod": "module example.com/main\n\ngo 1.21\n", "packages": "unsafe"})
	if r := run(t, options(t, tree, good)); r.Outcome != warmup.Succeeded || len(left()) > 0 {
		t.Errorf("the warm-up left %v: %+v", left(), r)
	}
	refused["packages"] = dep.Path
	if r := run(t, options(t, tree, configMap(t, refused))); r.Outcome != warmup.Failed || len(left()) > 0 {
		t.Errorf("the failed warm-up left %v: %+v", left(), r)
	}
}

// What a killed extraction leaves goes as well, though its directories are
// read-only; what is complete stays.
func TestUnfinishedExtractionIsRemoved(t *testing.T) {
	tree := cachetree.New(t)
	v := filepath.Join(tree.ModCache, "cache", "download", "example.com", "lib", "@v", cachetree.Lib.Version)
	dir := filepath.Join(tree.ModCache, "example.com", "lib@"+cachetree.Lib.Version)
	for _, err := range []error{os.WriteFile(v+".partial", nil, 0o600), os.Chmod(filepath.Join(dir, "sub"), 0o500), os.Chmod(dir, 0o500)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := volume.RemoveUnfinished(tree.ModCache); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{v + ".partial", dir} {
		if _, err := os.Lstat(gone); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	got, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now()})
	if err != nil || got.Verdict != integrity.Intact || len(got.Notes) > 0 || got.Counts.Zips != 2 {
		t.Errorf("%v: %s: %+v", err, got.Message, got)
	}
}
