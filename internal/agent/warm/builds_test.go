package warm_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// declared are builds as CI makes them. Their flags have -trimpath, as those
// that the standard library of the trees was built with. Some are declared of a
// repository only, and some of module files only: each takes seconds.
func declared(isRepository bool) []warmup.Build {
	builds := []warmup.Build{
		{Name: "trimpath", Flags: []string{"-trimpath"}, Vet: true, Tests: true},
	}
	if isRepository {
		return append(builds,
			warmup.Build{Name: "tags", Env: map[string]string{"GOFLAGS": "-trimpath"}, Flags: []string{"-tags=extra,more"}, Vet: true, Tests: true},
			warmup.Build{Name: "cover", Flags: []string{"-trimpath", "-cover"}, Packages: []string{"./more"}, Tests: true},
			warmup.Build{Name: "ldflags", Flags: []string{"-trimpath", "-ldflags=-s -w -X main.version=v1"}},
			warmup.Build{Name: "arm64", Flags: []string{"-trimpath"}, Env: map[string]string{"GOARCH": "arm64", "GOOS": "linux"}},
		)
	}
	if _, err := exec.LookPath("gcc"); err == nil {
		builds = append(builds, warmup.Build{Name: "race", Flags: []string{"-trimpath", "-race"}, Env: map[string]string{"CGO_ENABLED": "1"}})
	}
	return builds
}

// served lets the tree fetch its modules over the network, and builds decide
// about flags themselves.
func served(t *testing.T, tree *cachetree.Tree) (env []string) {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(tree.Proxy)))
	t.Cleanup(server.Close)
	cachetree.RemoveAll(t, tree.ModCache)
	return append(tree.Env(), "GOPROXY="+server.URL, "GOFLAGS=")
}

var compiledPackage = regexp.MustCompile(`/compile .* -p (\S+) `)

// cold counts what a command of a build made again: packages that were compiled,
// beside those of the main module if it is not part of the source, and runs of
// vet.
func cold(t *testing.T, dir string, env []string, own bool, b warmup.Build, command ...string) (packages []string, vetted int) {
	t.Helper()
	flags := slices.Clone(b.Flags)
	if command[0] == "vet" {
		flags = slices.DeleteFunc(flags, func(f string) bool { return strings.HasPrefix(f, "-cover") })
	}
	args := slices.Concat(command[:1], []string{"-x"}, flags, command[1:])
	cmd := exec.Command("go", args...) //nolint:gosec // a test's go command
	cmd.Dir, cmd.Env = dir, slices.Concat(env, []string{"GOPROXY=off"}, b.Environ())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: go %v: %v\n%.3000s", b.Name, args, err, out)
	}
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("/vet ")) {
			vetted++
		}
		if m := compiledPackage.FindSubmatch(line); m != nil {
			name := string(m[1])
			if own || name != "main" && !strings.HasPrefix(name, "example.com/main") {
				packages = append(packages, name)
			}
		}
	}
	return packages, vetted
}

// Each declared build of a repository is warm in a checkout elsewhere: builds,
// vets and tests of it compile nothing, and vet nothing.
func TestBuildsOfRepository(t *testing.T) {
	tree := cachetree.NewWithStd(t)
	env := served(t, tree)
	files := map[string]string{
		"main.go":           "package main\n\nimport _ \"example.com/lib/sub\"\n\nvar version string\n\nfunc main() { println(version) }\n",
		"extra.go":          "//go:build extra\n\npackage main\n\nimport _ \"example.com/lib\"\n",
		"more/m_test.go":    "package more\n\nimport \"testing\"\n\nfunc TestIt(*testing.T) {}\n",
		"more/x_test.go":    "package more_test\n\nimport (\n\t\"testing\"\n\n\t\"example.com/main/more\"\n)\n\nfunc TestX(*testing.T) { _ = more.A }\n",
		"other/untested.go": "package other\n",
	}
	dir, _ := program(t, tree, files)
	elsewhere, _ := program(t, tree, files)
	o := options(t, tree, "")
	o.Env = env
	o.Sources = repository(dir)
	o.Sources[0].Builds = declared(true)
	r := run(t, o)
	if r.Outcome != warmup.Succeeded || r.Summary() != "" {
		t.Fatalf("%+v", r)
	}
	for i, b := range o.Sources[0].Builds {
		if got := r.Sources[0].Builds[i]; got.Name != b.Name || got.Failed || got.Entries == 0 && b.Name != "ldflags" {
			t.Errorf("report %+v", got)
		}
		packages := append(b.Packages, "./...")[0]
		commands := [][]string{{"build", "-o", os.DevNull, packages}}
		if b.Vet {
			commands = append(commands, []string{"vet", packages})
		}
		if b.Tests {
			commands = append(commands, []string{"test", "-count=1", packages})
		}
		for _, command := range commands {
			if compiled, vetted := cold(t, elsewhere, env, true, b, command...); len(compiled)+vetted > 0 {
				t.Errorf("%s: go %v: compiles %v, vets %d", b.Name, command, compiled, vetted)
			}
		}
	}
	if n := rebuild(t, o, false); n != 0 {
		t.Errorf("the proof compiles %d packages", n)
	}
	if packages, _ := cold(t, elsewhere, env, true, warmup.Build{Name: "not declared", Flags: []string{"-trimpath", "-gcflags=all=-N"}}, "build", "-o", os.DevNull, "./more"); len(packages) == 0 {
		t.Error("a build that was not declared is warm: the test does not count what is cold")
	}
}

// Each declared build of module files is warm for a program that imports what
// they name: all but its own packages is found, by vet and tests as well.
func TestBuildsOfModuleFiles(t *testing.T) {
	tree := cachetree.NewWithStd(t)
	env := served(t, tree)
	o := options(t, tree, good(t, tree, map[string]string{"packages": "example.com/lib example.com/lib/sub errors"}))
	o.Env = env
	o.Sources[0].Builds = declared(false)
	o.Go = slowVet(t)
	r := run(t, o)
	if r.Outcome != warmup.Succeeded || r.Summary() != "" {
		t.Fatalf("%+v", r)
	}
	if again := run(t, o); again.ManifestDigest != r.ManifestDigest || again.Sources[0].Entries != 0 {
		t.Errorf("a second warm-up adds %d entries", again.Sources[0].Entries)
	}
	dir, _ := program(t, tree, map[string]string{
		"main.go":        "package main\n\nimport (\n\t_ \"errors\"\n\n\t_ \"example.com/lib\"\n\t_ \"example.com/lib/sub\"\n)\n\nfunc main() {}\n",
		"more/m_test.go": "package more\n\nimport (\n\t\"testing\"\n\n\t_ \"example.com/lib\"\n)\n\nfunc TestIt(*testing.T) {}\n",
	})
	for _, b := range o.Sources[0].Builds {
		commands := map[string]int{"build": 0} // → own packages that are vetted
		if b.Vet {
			commands["vet"] = 2
		}
		if b.Tests {
			commands["test"] = 2
		}
		for command, own := range commands {
			args := []string{command, "./..."}
			if command == "build" {
				args = []string{command, "-o", os.DevNull, "./..."}
			}
			if packages, vetted := cold(t, dir, env, false, b, args...); len(packages) > 0 || vetted > own {
				t.Errorf("%s: go %s: compiles %v, vets %d packages of %d", b.Name, command, packages, vetted, own)
			}
		}
	}
	if n := rebuild(t, o, false); n != 0 {
		t.Errorf("the proof compiles %d packages", n)
	}
}

// slowVet is a go command whose vet begins late: what the go command reads of files that
// are older than two seconds it caches by their times.
func slowVet(t *testing.T) string {
	t.Helper()
	command, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(t.TempDir(), "go")
	script := "#!/bin/sh\n[ \"$1\" != vet ] || sleep 2.1\nexec " + command + " \"$@\"\n"
	if err := os.WriteFile(slow, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return slow
}

// A build that fails costs itself only, and is named.
func TestOneBuildFails(t *testing.T) {
	tree := cachetree.New(t)
	o := options(t, tree, good(t, tree, nil))
	o.Sources[0].Builds = []warmup.Build{{Name: "bad", Packages: []string{"example.com/lib/none"}}, {Name: "fine"}, {Name: "refused", Flags: []string{"-toolexec=sh"}}}
	if r := run(t, o); r.Outcome != warmup.Failed || !strings.Contains(r.Summary(), `build refused: the flag "-toolexec=sh"`) {
		t.Errorf("a flag that runs programs: %+v", r)
	}
	o.Sources[0].Builds = o.Sources[0].Builds[:2]
	r := run(t, o)
	if r.Outcome != warmup.Succeeded || len(r.FailedSources()) != 1 || !strings.Contains(r.Summary(), "1 of 1 sources failed: s0: build bad: ") {
		t.Fatalf("%+v", r)
	}
	if builds := r.Sources[0].Builds; !builds[0].Failed || builds[0].Message == "" || builds[1].Failed {
		t.Errorf("builds %+v", builds)
	}
}

// With scope All, commands about all modules work offline afterwards; without it
// one of them does not.
func TestScopeAll(t *testing.T) {
	for name, isRepository := range map[string]bool{"module files": false, "repository": true} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			env := served(t, tree)
			dir, _ := program(t, tree, map[string]string{"more/m_test.go": "package more\n", "main.go": read(t, filepath.Join(tree.Main, "main.go"))})
			o := options(t, tree, good(t, tree, nil))
			if isRepository {
				o.Sources = repository(dir)
			}
			o.Sources[0].Builds = []warmup.Build{{Name: "plain", Flags: []string{"-trimpath"}}} // as the tree has them
			o.Env = env
			o.Sources[0].All = true
			if r := run(t, o); r.Outcome != warmup.Succeeded || r.Summary() != "" {
				t.Fatalf("%+v", r)
			}
			for _, args := range [][]string{{"list", "-m", "all"}, {"mod", "tidy", "-diff"}} {
				cmd := exec.Command("go", args...) //nolint:gosec // a test's go command
				cmd.Dir, cmd.Env = dir, append(slices.Clip(env), "GOPROXY=off")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("go %v: %v\n%s", args, err, out)
				}
			}
			if got, want := read(t, filepath.Join(dir, "go.sum")), read(t, tree.GoSum()); got != want {
				t.Errorf("go.sum became %q", got)
			}
		})
	}
}
