package warm_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/warm"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// configMap lays files out as a mounted ConfigMap has them: links, read-only.
func configMap(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "..data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A cache without a build cache has the modules of its sources, for which nothing
// is compiled: code with an error is no reason to have none.
func TestNothingIsCompiledForModulesAlone(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.RemoveAll(t, tree.ModCache)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()),
		"main.go": "package main\n\nimport _ \"example.com/lib\"\n\nfunc main() { undefined() }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options(t, tree, "")
	var commands strings.Builder
	o.BuildCache, o.Sources, o.Stdout = t.TempDir(), repository(dir, "./..."), &commands
	if r := run(t, o); r.Outcome != warmup.Succeeded || r.Modules == 0 {
		t.Errorf("%+v", r)
	}
	for line := range strings.Lines(commands.String()) {
		for _, command := range []string{"build", "vet", "test"} {
			if strings.HasPrefix(line, "+ go "+command) {
				t.Errorf("compiles, for a build cache that nobody keeps: %s", line)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(tree.ModCache, "cache", "download", "example.com", "lib")); err != nil {
		t.Error(err)
	}
	o.Sources = nil
	commands.Reset()
	run(t, o)
	if strings.Contains(commands.String(), "+ go build") {
		t.Errorf("builds the standard library without a build cache: %s", commands.String())
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func options(t *testing.T, tree *cachetree.Tree, source string) warm.Options {
	t.Helper()
	return warm.Options{
		ModCache: tree.ModCache, BuildCache: tree.BuildCache, Root: filepath.Join(tree.Root), Sources: moduleFiles(source), Go: "go", Instead: "true", Umask: 0o002,
		TerminationLog: filepath.Join(t.TempDir(), "log"), Clock: time.Now, Env: tree.Env(), Stdout: io.Discard, Stderr: io.Discard,
	}
}

// moduleFiles are sources that are built without vet and tests, which need more
// of the standard library than these trees have.
func moduleFiles(dirs ...string) []warmup.Source {
	var sources []warmup.Source
	for i, dir := range dirs {
		sources = append(sources, warmup.Source{Name: fmt.Sprintf("s%d", i), Dir: dir, Builds: []warmup.Build{{Name: "plain"}}})
	}
	return sources
}

// repository is a source that is built as one that declares no builds.
func repository(dir string, packages ...string) []warmup.Source {
	return []warmup.Source{{Name: "app", Dir: dir, Repository: true, Packages: packages}}
}

func run(t *testing.T, o warm.Options) warmup.Report {
	t.Helper()
	r, err := warm.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	log := read(t, o.TerminationLog)
	output, err := warmup.Parse([]byte(log)) // as the operator does
	if err != nil || len(log) > integrity.TerminationLimit || !reflect.DeepEqual(output, r) {
		t.Errorf("termination log: %v: %s", err, log)
	}
	return r
}

// A warm-up fills empty module caches, leaves a manifest whose digest a check
// of the same caches finds again, keeps entries from being trimmed, and does
// not touch its source.
func TestWarm(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.RemoveAll(t, tree.ModCache)
	source := configMap(t, map[string]string{
		"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "# ours\nexample.com/lib\n\texample.com/lib/sub\n",
	})
	o := options(t, tree, source)
	r := run(t, o)
	if r.Outcome != warmup.Succeeded || r.Modules != 2 || r.BuildEntries == 0 || !strings.HasPrefix(r.GoVersion, "go1.") || len(r.GoSHA256) != 64 || r.CapacityBytes == 0 {
		t.Fatalf("%+v", r)
	}
	v, err := integrity.Check(context.Background(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now()})
	if err != nil || v.Verdict != integrity.Intact || v.Digest != r.ManifestDigest {
		t.Errorf("check: %s %s, want %s, %v: %+v", v.Verdict, v.Digest, r.ManifestDigest, err, v.Examples)
	}
	reader, closer, err := manifest.Open(record.ManifestPath(tree.Root))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = reader.Next()
	}
	if err := closer.Close(); err != nil || reader.Digest() != r.ManifestDigest {
		t.Errorf("the manifest's digest is %s, want %s, %v", reader.Digest(), r.ManifestDigest, err)
	}
	if toolchain, err := record.ReadToolchain(tree.Root); err != nil || toolchain.CompileSHA256 != r.CompileSHA256 {
		t.Errorf("toolchain record: %+v, %v", toolchain, err)
	}
	if info, err := os.Stat(cachetree.Archive(t, tree)); err != nil || time.Until(info.ModTime()) < 9*365*24*time.Hour {
		t.Errorf("entries can be trimmed: %v, %v", info.ModTime(), err)
	}
	again := run(t, o)
	if again.ManifestDigest != r.ManifestDigest {
		t.Errorf("a second warm-up changed the contents: %s, %s", again.ManifestDigest, r.ManifestDigest)
	}
}

// A toolchain of another release than expected writes nothing, and reports it.
func TestExpectedToolchain(t *testing.T) {
	tree := cachetree.New(t)
	source := configMap(t, map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "unsafe"})
	o := options(t, tree, source)
	release := strings.TrimPrefix(strings.Fields(run(t, o).GoVersion)[0], "go")
	parts := strings.Split(release, ".")
	for _, expected := range []string{release, parts[0] + "." + parts[1]} {
		o.ExpectGo = expected
		if r := run(t, o); r.Outcome != warmup.Succeeded {
			t.Errorf("expected %s: %+v", expected, r)
		}
	}
	o.ExpectGo = "1.99.1"
	o.Root = t.TempDir()
	o.ModCache, o.BuildCache = filepath.Join(o.Root, "mod"), filepath.Join(o.Root, "build")
	r := run(t, o)
	if r.Outcome != warmup.Failed || !strings.Contains(r.Message, "is go"+release+", not go1.99.1") || r.GoVersion == "" {
		t.Errorf("another release: %+v", r)
	}
	if left, err := os.ReadDir(o.Root); err != nil || len(left) > 0 {
		t.Errorf("it wrote %v, %v", left, err)
	}
}

func TestFailureHasTheOutputOfGo(t *testing.T) {
	tree := cachetree.New(t)
	good := read(t, filepath.Join(tree.Main, "go.mod"))
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no such package": {map[string]string{"go.mod": good, "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib/none"}, "example.com/lib/none"},
		"no go.mod":       {map[string]string{"go.sum": ""}, "go.mod"},
		"forged go.sum":   {map[string]string{"go.mod": good, "go.sum": strings.ReplaceAll(read(t, tree.GoSum()), "h1:g", "h1:h")}, "SECURITY ERROR"},
		"flags":           {map[string]string{"go.mod": good, "packages": "-toolexec=evil std"}, "flag"},
	} {
		if r := run(t, options(t, tree, configMap(t, c.files))); r.Outcome != warmup.Failed || !strings.Contains(r.Summary(), c.want) || strings.Contains(r.Summary(), "\n") {
			t.Errorf("%s: %s: %s", name, r.Outcome, r.Summary())
		}
	}
}

// A cache that was damaged before is reported, not sealed as good.
func TestWarmOfDamage(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.Edit(t, cachetree.IndexOf(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	source := configMap(t, map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "unsafe"})
	if r := run(t, options(t, tree, source)); r.Outcome != warmup.Corrupt || !strings.Contains(r.Message, "index") || r.ManifestDigest != "" {
		t.Errorf("%+v", r)
	}
}

// Repositories of direct fetches never stay, however the warm-up ends: nothing
// vouches for their configuration, which can run commands.
func TestWarmRemovesRepositories(t *testing.T) {
	tree := cachetree.New(t)
	for packages, outcome := range map[string]string{"unsafe": warmup.Succeeded, "example.com/lib/none": warmup.Failed} {
		vcs := filepath.Join(tree.ModCache, "cache", "vcs")
		if err := os.MkdirAll(filepath.Join(vcs, "0123abcd"), 0o700); err != nil {
			t.Fatal(err)
		}
		source := configMap(t, map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": packages})
		if r := run(t, options(t, tree, source)); r.Outcome != outcome {
			t.Errorf("%s: %+v", packages, r)
		}
		if _, err := os.Lstat(vcs); !os.IsNotExist(err) {
			t.Errorf("%s: %s is still there: %v", packages, vcs, err)
		}
	}
}
