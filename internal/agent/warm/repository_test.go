package warm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// program lays out a repository that uses the tree's module, with tests whose
// running would leave a file.
func program(t *testing.T, tree *cachetree.Tree, files map[string]string) (dir, ran string) {
	t.Helper()
	dir, ran = t.TempDir(), filepath.Join(t.TempDir(), "ran")
	all := map[string]string{
		"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()),
		"main.go":        "package main\n\nimport _ \"example.com/lib/sub\"\n\nfunc main() {}\n",
		"more/m.go":      "package more\n\nvar A = 1\n",
		"more/m_test.go": "package more_test\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc init() { _ = os.WriteFile(" + quoted(ran) + ", nil, 0o600) }\n\nfunc TestIt(*testing.T) {}\n",
	}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ran
}

func quoted(s string) string { return `"` + s + `"` }

// After a repository was warmed, builds, vets and tests of it compile nothing
// more. Nothing of it was run, and it is as it was. Of the standard library it needs
// packages that the tree does not have, for builds and for tests.
func TestRepository(t *testing.T) {
	tree := cachetree.NewWithStd(t)
	cachetree.RemoveAll(t, tree.ModCache)
	dir, ran := program(t, tree, map[string]string{
		"more/csv.go": "package more\n\nimport _ \"encoding/csv\"\n", "more/ring_test.go": "package more_test\n\nimport _ \"container/ring\"\n",
	})
	o := options(t, tree, "")
	o.Sources = repository(dir)
	var log bytes.Buffer
	o.Stdout = &log
	for _, p := range []string{"encoding/csv", "container/ring"} {
		if out, err := tree.Go("build", "-n", p); err != nil || !strings.Contains(out, "/compile ") {
			t.Fatalf("the tree has %s already: %v\n%s", p, err, out)
		}
	}
	if r := run(t, o); r.Outcome != warmup.Succeeded || r.Modules != 2 || r.Summary() != "" {
		t.Fatalf("%+v\n%s", r, log.String())
	}
	if _, err := os.Stat(ran); !os.IsNotExist(err) {
		t.Errorf("a test was run: %v", err)
	}
	if got, want := read(t, filepath.Join(dir, "go.sum")), read(t, tree.GoSum()); got != want {
		t.Errorf("go.sum became %q", got)
	}
	tree.Main, tree.Offline = dir, true
	for _, args := range [][]string{{"build", "-x", "-o", os.DevNull, "./..."}, {"vet", "-x", "./..."}, {"test", "-x", "-count=1", "./..."}} {
		out, err := tree.Go(args...)
		if err != nil || strings.Contains(out, "/compile ") || strings.Contains(out, "/vet ") {
			t.Errorf("go %v afterwards: %v\n%s", args, err, out)
		}
	}
}

// Code that does not build fails a warm-up, with the end of the go command's
// output. Code that does not vet, and tests that do not compile, do not.
func TestRepositoryOfBrokenCode(t *testing.T) {
	tree := cachetree.NewWithStd(t)
	for name, c := range map[string]struct {
		files    map[string]string
		packages []string
		outcome  string
		want     string
	}{
		"does not build":       {map[string]string{"more/bad.go": "package more\n\nvar B int = C\n"}, nil, warmup.Failed, "undefined: C"},
		"is not asked for":     {map[string]string{"more/bad.go": "package more\n\nvar B int = C\n"}, []string{"."}, warmup.Succeeded, ""},
		"does not vet":         {map[string]string{"more/vet.go": "package more\n\nimport \"fmt\"\n\nfunc F() { fmt.Printf(\"%d\", \"x\") }\n"}, nil, warmup.Succeeded, "go vet"},
		"test does not build":  {map[string]string{"more/b_test.go": "package more\n\nvar B int = C\n"}, nil, warmup.Succeeded, "go test"},
		"no such package":      {nil, []string{"./none"}, warmup.Failed, "none"},
		"no go.mod at its top": {nil, nil, warmup.Failed, "a go.mod or a go.work at its top"},
	} {
		dir, _ := program(t, tree, c.files)
		if name == "no go.mod at its top" {
			if err := os.Remove(filepath.Join(dir, "go.mod")); err != nil {
				t.Fatal(err)
			}
		}
		o := options(t, tree, "")
		o.Sources = repository(dir, c.packages...)
		if r := run(t, o); r.Outcome != c.outcome || !strings.Contains(r.Summary(), c.want) {
			t.Errorf("%s: %s: %s", name, r.Outcome, r.Summary())
		}
	}
}

// TestRepositoryRunsNoVersionControl holds that a warm-up runs no program of version
// control, whatever directories a repository has: Mercurial, for one, runs what the
// settings in its directory name, and git keeps that directory like any other.
func TestRepositoryRunsNoVersionControl(t *testing.T) {
	tree := cachetree.NewWithStd(t)
	dir, _ := program(t, tree, nil)
	bin, ran := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	for _, name := range []string{"hg", "git"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho \"$0 $*\" >>"+ran+"\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	for _, folder := range []string{".hg", ".git"} {
		at := filepath.Join(dir, folder)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		o := options(t, tree, "")
		o.Sources = repository(dir, ".")
		o.Sources[0].Builds = []warmup.Build{{Name: "plain", Flags: []string{"-buildvcs=auto"}, Vet: true, Tests: true}}
		o.Env = append(o.Env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		if r := run(t, o); r.Outcome != warmup.Succeeded {
			t.Errorf("%s: %s: %s", folder, r.Outcome, r.Summary())
		}
		if text, err := os.ReadFile(ran); err == nil {
			t.Errorf("a repository with %s had these programs run:\n%s", folder, text)
		}
		for _, left := range []string{at, ran} {
			if err := os.RemoveAll(left); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A repository cannot have the go command write elsewhere.
func TestRepositoryWithLinks(t *testing.T) {
	for _, name := range []string{"go.mod", "go.sum"} {
		tree := cachetree.New(t)
		dir, _ := program(t, tree, nil)
		elsewhere := filepath.Join(t.TempDir(), "victim")
		if err := os.Rename(filepath.Join(dir, name), elsewhere); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		o := options(t, tree, "")
		o.Sources = repository(dir)
		if r := run(t, o); r.Outcome != warmup.Failed || !strings.Contains(r.Summary(), name+" is a link") {
			t.Errorf("%s: %s: %s", name, r.Outcome, r.Summary())
		}
	}
}
