package offlinebuild_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agent "gocache.dev/operator/internal/agent/offlinebuild"
	"gocache.dev/operator/internal/domain/offlinebuild"
	"gocache.dev/operator/internal/testing/cachetree"
)

// world is a pair of real caches, and the program that they were filled for as
// a ConfigMap shows it: flat, and each file a link.
type world struct {
	t       *testing.T
	tree    *cachetree.Tree
	program string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, tree: cachetree.New(t), program: t.TempDir()}
	data := filepath.Join(w.program, "..data")
	w.must(os.Mkdir(data, 0o755))
	entries, err := os.ReadDir(w.tree.Main)
	w.must(err)
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(w.tree.Main, e.Name()))
		w.must(err)
		w.must(os.WriteFile(filepath.Join(data, e.Name()), content, 0o444))
		w.must(os.Symlink(filepath.Join("..data", e.Name()), filepath.Join(w.program, e.Name())))
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// edit changes a file of the program.
func (w *world) edit(name string, change func(string) string) {
	w.t.Helper()
	path := filepath.Join(w.program, "..data", name)
	content, err := os.ReadFile(path)
	w.must(err)
	w.must(os.Chmod(path, 0o644))
	w.must(os.WriteFile(path, []byte(change(string(content))), 0o444))
}

func (w *world) run() (offlinebuild.Report, string) {
	w.t.Helper()
	var out bytes.Buffer
	log := filepath.Join(w.t.TempDir(), "log")
	r, err := agent.Run(w.t.Context(), agent.Options{
		ModCache: w.tree.ModCache, BuildCache: w.tree.BuildCache, Program: w.program, Vendor: true, Go: "go", TerminationLog: log,
		Clock: time.Now, Env: os.Environ(), Stdout: &out,
	})
	w.must(err)
	left, err := os.ReadFile(log)
	w.must(err)
	if output, err := offlinebuild.Parse(left); err != nil || output.Outcome != r.Outcome {
		w.t.Errorf("termination log %s: %v", left, err)
	}
	return r, out.String()
}

// TestBuildsFromTheCachesAlone holds that a program is built from complete
// caches, and that the report has the step and the cause if a part is missing
// or differs from go.mod.
func TestBuildsFromTheCachesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		damage        func(*world)
		outcome       string
		step, message string
	}{
		"whole": {func(*world) {}, offlinebuild.Succeeded, "", ""},
		"a module is missing": {func(w *world) {
			zips, err := filepath.Glob(filepath.Join(w.tree.ModCache, "cache", "download", "example.com", "lib", "@v", "*.zip"))
			w.must(err)
			w.must(os.Remove(zips[0]))
			cachetree.RemoveAll(w.t, w.tree.Extracted(cachetree.Lib))
		}, offlinebuild.Failed, "go build", "module lookup disabled by GOPROXY=off"},
		"an extracted file was edited": {func(w *world) {
			dir := w.tree.Extracted(cachetree.Lib)
			w.must(os.Chmod(dir, 0o755))
			w.must(os.WriteFile(filepath.Join(dir, "added.go"), []byte("package lib\n"), 0o644))
		}, offlinebuild.Failed, "go mod verify", "dir has been modified"},
		"go.sum is another": {func(w *world) {
			w.edit("go.sum", func(string) string { return "" })
		}, offlinebuild.Failed, "go ", "go.sum"},
		"no package main": {func(w *world) {
			w.edit("main.go", func(s string) string { return strings.Replace(s, "package main", "package notmain", 1) })
		}, offlinebuild.Failed, "go version -m", "package main"},
		"no program": {func(w *world) { w.program = filepath.Join(w.program, "none") }, offlinebuild.Inconclusive, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.damage(w)
			r, out := w.run()
			if r.Outcome != tt.outcome || !strings.HasPrefix(r.Step, tt.step) || !strings.Contains(r.Message, tt.message) {
				t.Errorf("got %+v\n%s", r, out)
			}
			if r.Outcome == offlinebuild.Succeeded && (r.Modules == 0 || !strings.Contains(out, "go mod vendor")) {
				t.Errorf("%+v\n%s", r, out)
			}
		})
	}
}

// TestOutcomeOfTheGoCommand holds that only a go command that ended by itself is held
// against the caches: one that was killed, had no room or is none proves nothing.
func TestOutcomeOfTheGoCommand(t *testing.T) {
	const limit = 4 << 20
	for name, tt := range map[string]struct {
		script        string // of the go command; empty: there is none
		size          int64  // of a file of the program
		outcome       string
		step, message string
	}{
		"it fails":          {"echo 'dir has been modified' >&2; exit 1", 1, offlinebuild.Failed, "go mod verify", "dir has been modified"},
		"it has no room":    {"echo 'write: no space left on device'; exit 1", 1, offlinebuild.Inconclusive, "", "no space left on device"},
		"it is killed":      {"kill -9 $$", 1, offlinebuild.Inconclusive, "", "killed"},
		"there is none":     {"", 1, offlinebuild.Inconclusive, "", "no such file"},
		"a large file":      {"exit 7", limit, offlinebuild.Failed, "go mod verify", ""},
		"a file too large":  {"exit 7", limit + 1, offlinebuild.Inconclusive, "", "has more than 4194304 bytes"},
		"it builds nothing": {"exit 0", 1, offlinebuild.Failed, "go version -m", "the result is no Go program"},
	} {
		t.Run(name, func(t *testing.T) {
			program, command := t.TempDir(), filepath.Join(t.TempDir(), "go")
			file := filepath.Join(program, "main.go")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file, tt.size); err != nil {
				t.Fatal(err)
			}
			if tt.script != "" {
				// The result exists, so that what it is decides.
				script := "#!/bin/sh\nfor last; do if [ \"$out\" = -o ]; then : >\"$last\"; fi; out=$last; done\n" + tt.script + "\n"
				if err := os.WriteFile(command, []byte(script), 0o700); err != nil { //nolint:gosec // is run
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			r, err := agent.Run(t.Context(), agent.Options{Program: program, Go: command, Clock: time.Now, Env: os.Environ(), Stdout: &out})
			if err != nil || r.Outcome != tt.outcome || r.Step != tt.step || !strings.Contains(r.Message, tt.message) {
				t.Errorf("%+v, %v; want %s at %q: %q\n%s", r, err, tt.outcome, tt.step, tt.message, &out)
			}
			ran := strings.HasPrefix(out.String(), "+ go mod verify\n")
			if ran != (tt.size <= limit) || !strings.Contains(out.String(), tt.outcome+": 0 modules, in ") {
				t.Errorf("printed %q", &out)
			}
		})
	}
	// A test that is ended proves nothing either.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := agent.Run(ctx, agent.Options{Program: t.TempDir(), Go: "/bin/false", Clock: time.Now, Stdout: io.Discard}); err != nil || r.Outcome != offlinebuild.Inconclusive {
		t.Errorf("%+v, %v", r, err)
	}
}
