package warm_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// good is a ConfigMap that can be warmed, with the changes of files.
func good(t *testing.T, tree *cachetree.Tree, files map[string]string) string {
	t.Helper()
	all := map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib"}
	for name, content := range files {
		all[name] = content
	}
	return configMap(t, all)
}

// A source that fails costs itself only: the others are warmed and sealed.
func TestOneSourceFails(t *testing.T) {
	for name, bad := range map[string]func(*testing.T, *cachetree.Tree) (files map[string]string, want string){
		"checksum": func(t *testing.T, tree *cachetree.Tree) (map[string]string, string) {
			return map[string]string{"go.sum": strings.ReplaceAll(read(t, tree.GoSum()), "h1:g", "h1:h")}, "checksum mismatch"
		},
		"not a go.mod": func(*testing.T, *cachetree.Tree) (map[string]string, string) {
			return map[string]string{"go.mod": "nonsense\n"}, "go.mod"
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			files, want := bad(t, tree)
			o := options(t, tree, "")
			o.Sources = moduleFiles(good(t, tree, files), good(t, tree, map[string]string{"packages": "example.com/lib/sub"}), good(t, tree, files))
			r := run(t, o)
			if r.Outcome != warmup.Succeeded || r.ManifestDigest == "" || !slices.Equal(r.FailedSources(), []string{"s0", "s2"}) {
				t.Fatalf("%+v", r)
			}
			if s := r.Sources[1]; s.Failed || s.Message != "" || s.Entries == 0 || len(s.Builds) != 1 || s.Builds[0].Entries == 0 {
				t.Errorf("the good one: %+v", s)
			}
			if s := r.Sources[2]; !strings.Contains(s.Message, want) || !s.Builds[0].Failed || strings.Contains(s.Message, "\n") {
				t.Errorf("the bad one: %+v", s)
			}
			if got := r.Summary(); !strings.HasPrefix(got, "2 of 3 sources failed: s0: ") {
				t.Errorf("summary %q", got)
			}
			o.Sources = o.Sources[:1]
			o.Sealed = r.ManifestDigest
			if r := run(t, o); r.Outcome != warmup.Failed || len(r.Sources) != 1 || r.Message != "" {
				t.Errorf("alone: %+v", r)
			}
		})
	}
}

// A module that a go.mod replaces by a directory is left out, and the rest of
// the source is warmed.
func TestLocalReplace(t *testing.T) {
	tree := cachetree.New(t)
	mod := read(t, filepath.Join(tree.Main, "go.mod"))
	o := options(t, tree, good(t, tree, map[string]string{"go.mod": mod + "\nrequire example.com/local v0.0.0\n\nreplace example.com/local => ../local\n\nreplace example.com/other v1.0.0 => /elsewhere\n"}))
	r := run(t, o)
	if r.Outcome != warmup.Succeeded || len(r.FailedSources()) > 0 || !strings.Contains(r.Summary(), "left out example.com/local, example.com/other") {
		t.Errorf("%+v", r)
	}
	if dry, wet := rebuild(t, o, true), rebuild(t, o, false); dry+wet != 0 {
		t.Errorf("built again without the source: %d and %d packages are compiled", dry, wet)
	}
	o.Sources = moduleFiles(good(t, tree, map[string]string{"go.mod": mod + "\nrequire example.com/local v0.0.0\n\nreplace example.com/local => ../local\n", "packages": "example.com/local"}))
	if r := run(t, o); r.Outcome != warmup.Failed || !strings.Contains(r.Summary(), "example.com/local") {
		t.Errorf("a package of the module itself: %+v", r)
	}
}

// A source that needs a newer Go release is reported as such.
func TestToolchainTooOld(t *testing.T) {
	tree := cachetree.New(t)
	newer := strings.ReplaceAll(read(t, filepath.Join(tree.Main, "go.mod")), "go 1.21", "go 1.99")
	o := options(t, tree, good(t, tree, map[string]string{"go.mod": newer}))
	r := run(t, o)
	if r.Outcome != warmup.Failed || r.Sources[0].Reason != warmup.ToolchainTooOld || !strings.Contains(r.Summary(), "requires go >= 1.99") || strings.Contains(r.Summary(), "\n") {
		t.Errorf("a source: %+v", r)
	}
	dir, _ := program(t, tree, map[string]string{"go.mod": newer})
	o.Sources = repository(dir)
	if r := run(t, o); r.Outcome != warmup.Failed || r.Sources[0].Reason != warmup.ToolchainTooOld {
		t.Errorf("a repository: %+v", r)
	}
}

// A vendored repository is built from what it holds, though its modules are gone.
func TestVendored(t *testing.T) {
	tree := cachetree.NewWithStd(t)
	dir, _ := program(t, tree, map[string]string{
		"go.mod": "module example.com/main\n\ngo 1.21\n\nrequire example.com/gone v1.0.0\n", "go.sum": "",
		"main.go":                      "package main\n\nimport (\n\t_ \"errors\"\n\n\t_ \"example.com/gone\"\n)\n\nfunc main() {}\n",
		"vendor/modules.txt":           "# example.com/gone v1.0.0\n## explicit; go 1.21\nexample.com/gone\n",
		"vendor/example.com/gone/g.go": "package gone\n",
	})
	o := options(t, tree, "")
	o.Sources = repository(dir)
	if r := run(t, o); r.Outcome != warmup.Succeeded || r.Summary() != "" {
		t.Fatalf("%+v", r)
	}
	if got := read(t, filepath.Join(dir, "go.sum")); got != "" {
		t.Errorf("go.sum became %q", got)
	}
	if n := rebuild(t, o, false); n != 0 {
		t.Errorf("%d packages are compiled again", n)
	}
	tree.Main, tree.Offline = dir, true
	coldIs(t, tree, nil, "build", "-o", os.DevNull, "./...")
}

// coldIs holds that a command of a build compiles and vets nothing that is not
// in the cache.
func coldIs(t *testing.T, tree *cachetree.Tree, env []string, args ...string) {
	t.Helper()
	cmd, err := tree.Command(slices.Insert(slices.Clone(args), 1, "-x")...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	cold := 0
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("/compile ")) || bytes.Contains(line, []byte("/vet ")) {
			cold++
		}
	}
	if err != nil || cold > 0 {
		t.Errorf("%s go %v: %d cold, %v\n%.3000s", env, args, cold, err, out)
	}
}

// A workspace is built as a whole from its top, without a go.mod there, and in
// the directories that are named.
func TestWorkspace(t *testing.T) {
	files := map[string]string{
		"go.work":      "go 1.21\n\nuse (\n\t./app\n\t./lib\n)\n",
		"app/go.mod":   "module example.com/app\n\ngo 1.21\n\nrequire example.com/inside v0.0.0\n",
		"app/a.go":     "package main\n\nimport _ \"example.com/inside\"\n\nfunc main() {}\n",
		"lib/go.mod":   "module example.com/inside\n\ngo 1.21\n",
		"lib/l.go":     "package inside\n",
		"alone/go.mod": "module example.com/alone\n\ngo 1.21\n", "alone/a.go": "package alone\n",
	}
	for name, c := range map[string]struct {
		directories []string
		off         bool
		build       string // a directory whose build is warm
		failed      string
	}{
		"top":        {nil, false, "app", ""},
		"module":     {[]string{"app"}, false, "app", ""},
		"two":        {[]string{"lib", "app"}, false, "lib", ""},
		"not in it":  {[]string{"alone"}, false, "", "alone: "},
		"off":        {nil, true, "", "GOWORK is off"},
		"off, alone": {[]string{"alone"}, true, "alone", ""},
		"no such":    {[]string{"app", "none"}, false, "app", "no directory none"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.NewWithStd(t)
			dir, _ := program(t, tree, files)
			for _, own := range []string{"go.mod", "go.sum", "main.go", "more"} {
				cachetree.RemoveAll(t, filepath.Join(dir, own))
			}
			o := options(t, tree, "")
			o.Sources = repository(dir)
			o.Sources[0].Directories, o.Sources[0].Builds = c.directories, []warmup.Build{{Name: "plain", Vet: name == "top"}}
			if !c.off {
				o.Env = append(o.Env, "GOWORK=")
			}
			r := run(t, o)
			if failed := len(r.FailedSources()) > 0; failed != (c.failed != "") || !strings.Contains(r.Summary(), c.failed) {
				t.Fatalf("%+v", r)
			}
			if (r.Outcome == warmup.Failed) != (c.build == "") {
				t.Fatalf("%+v", r)
			}
			if c.build == "" {
				return
			}
			if n := rebuild(t, o, false); n != 0 {
				t.Errorf("%d packages are compiled again", n)
			}
			env := []string{"GOWORK="}
			if c.off {
				env = nil
			}
			tree.Main, tree.Offline = filepath.Join(dir, c.build), true
			coldIs(t, tree, env, "build", "-o", os.DevNull, "./...")
			if name == "top" {
				coldIs(t, tree, env, "vet", "./...")
			}
		})
	}
}

// A repository that could not be fetched fails by its reason, and so does a
// source that could not be read. What is no report of a fetch is not taken for a
// success, nor followed.
func TestNotFetched(t *testing.T) {
	tree := cachetree.New(t)
	dir := t.TempDir()
	report := filepath.Join(dir, warmup.FetchFailed)
	if err := os.WriteFile(report, []byte("no route to host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(t, tree, good(t, tree, nil))
	o.Sources = append(o.Sources, repository(dir)...)
	o.Sources = append(o.Sources, warmup.Source{Name: "gone", Missing: "ConfigMap gone does not exist"})
	if r := run(t, o); r.Outcome != warmup.Succeeded || r.Summary() != "2 of 3 sources failed: app: no route to host; gone: ConfigMap gone does not exist" {
		t.Errorf("%+v", r)
	}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{secret, "nowhere"} {
		if err := errors.Join(os.Remove(report), os.Symlink(target, report)); err != nil {
			t.Fatal(err)
		}
		if r := run(t, o); !strings.HasPrefix(r.Summary(), "2 of 3 sources failed: app: "+warmup.FetchFailed+" is not a file") {
			t.Errorf("a link to %s: %q", target, r.Summary())
		}
	}
}
