package offlinebuild_test

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agent "gocache.dev/operator/internal/agent/offlinebuild"
	"gocache.dev/operator/internal/domain/offlinebuild"
	"gocache.dev/operator/internal/testing/cachetree"
)

// fake are options with a script as the go command, which links a program that there is: it
// notes its steps in the file $SEEN.
func fake(t *testing.T, binary, script string) (o agent.Options, seen string) {
	t.Helper()
	program, dir := t.TempDir(), t.TempDir()
	seen = filepath.Join(dir, "seen")
	text := "#!/bin/sh\nSEEN='" + seen + "'\necho \"$1 $2\" >>\"$SEEN\"\ncase \"$1 $2\" in 'build -mod=readonly') ln -s '" + binary + "' \"$4\";; esac\n" + script + "\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "go"), []byte(text), 0o700), os.WriteFile(filepath.Join(program, "main.go"), nil, 0o600)); err != nil { //nolint:gosec // is run
		t.Fatal(err)
	}
	return agent.Options{Program: program, Go: filepath.Join(dir, "go"), Clock: time.Now, Env: os.Environ(), Stdout: &bytes.Buffer{}}, seen
}

// linked is a program, and its modules as "go list" prints them.
func linked(t *testing.T) (binary string, modules []string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "binary")
	if out, err := cachetree.New(t).Go("build", "-o", binary, "."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil || len(info.Deps) < 2 {
		t.Fatalf("a program of %v, %v", info, err)
	}
	for _, dep := range info.Deps {
		modules = append(modules, dep.Path+" "+dep.Version)
	}
	return binary, modules
}

// TestSteps holds which steps a test has, that each that fails is named, and that what was
// linked is what go.mod resolves to.
func TestSteps(t *testing.T) {
	binary, deps := linked(t)
	list := func(all []string) string {
		return "case $1 in list) echo '" + strings.Join(all, "\n") + "'; exit;; esac\n"
	}
	const all, vendor = "mod verify\nbuild -mod=readonly\nlist -mod=readonly\n", "mod vendor\n"
	for name, tt := range map[string]struct {
		script  string
		vendor  bool
		want    offlinebuild.Report
		ran     string
		message string // a part of it
	}{
		"it succeeds":         {list(deps), false, offlinebuild.Report{Outcome: offlinebuild.Succeeded, Modules: int64(len(deps))}, all, ""},
		"with vendor":         {list(deps), true, offlinebuild.Report{Outcome: offlinebuild.Succeeded, Modules: int64(len(deps))}, all + vendor, ""},
		"vendor fails":        {list(deps) + "if [ $2 = vendor ]; then echo no >&2; exit 1; fi", true, offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go mod vendor", Modules: int64(len(deps))}, all + vendor, "no"},
		"list fails":          {"if [ $1 = list ]; then echo on its output; echo no >&2; exit 1; fi", true, offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go list"}, all, "no\non its output"},
		"build fails":         {"if [ $1 = build ]; then exit 3; fi", true, offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go build"}, "mod verify\nbuild -mod=readonly\n", ""},
		"verify fails":        {"exit 1", true, offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go mod verify"}, "mod verify\n", ""},
		"the first is others": {list(deps[1:]), true, offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go version -m"}, all, "the program was linked with " + deps[0] + ", which is not what go.mod resolves to"},
		"the last is others":  {list(deps[:len(deps)-1]), true, offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go version -m", Modules: int64(len(deps) - 1)}, all, "linked with " + deps[len(deps)-1]},
	} {
		o, seen := fake(t, binary, tt.script)
		o.Vendor = tt.vendor
		r, err := agent.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ran, err := os.ReadFile(seen)
		if err != nil || string(ran) != tt.ran {
			t.Errorf("%s: ran %q, %v, want %q", name, ran, err, tt.ran)
		}
		if !strings.Contains(r.Message, tt.message) || tt.message == "" && r.Message != "" {
			t.Errorf("%s: %q, want %q", name, r.Message, tt.message)
		}
		if r.Message, r.DurationSeconds = "", 0; r != tt.want {
			t.Errorf("%s: %+v, want %+v", name, r, tt.want)
		}
	}
}

// TestFormats holds what is printed, how the duration is measured, and that a report which
// cannot be written is an error.
func TestFormats(t *testing.T) {
	run := func(change func(*agent.Options)) (offlinebuild.Report, string, error) {
		o, _ := fake(t, "", "echo nothing works >&2; exit 1")
		now := time.Unix(1e9, 0)
		o.Clock = func() time.Time { now = now.Add(1_250_400 * time.Microsecond); return now }
		change(&o)
		r, err := agent.Run(t.Context(), o)
		text := ""
		if b, ok := o.Stdout.(*bytes.Buffer); ok {
			text = b.String()
		}
		return r, text, err
	}
	want := offlinebuild.Report{Outcome: offlinebuild.Failed, Step: "go mod verify", Message: "nothing works", DurationSeconds: 1.25}
	r, text, err := run(func(*agent.Options) {})
	if err != nil || r != want || text != "+ go mod verify\nnothing works\nFailed: 0 modules, in 1.2 s\nnothing works\n" {
		t.Errorf("%+v, %v, printed %q", r, err, text)
	}
	r, text, err = run(func(o *agent.Options) { o.JSON = true })
	line, _ := strings.CutPrefix(text, "+ go mod verify\nnothing works\n")
	var printed offlinebuild.Report
	if jsonErr := json.Unmarshal([]byte(line), &printed); err != nil || jsonErr != nil || r != want || printed != want {
		t.Errorf("%+v, %v, printed %q", r, err, text)
	}
	for _, json := range []bool{true, false} {
		if _, _, err := run(func(o *agent.Options) { o.Stdout, o.JSON = broken{}, json }); !errors.Is(err, errBroken) {
			t.Errorf("an output that takes nothing: %v", err)
		}
	}
	if _, _, err := run(func(o *agent.Options) { o.TerminationLog = filepath.Join(t.TempDir(), "none", "log") }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a log in no directory: %v", err)
	}
}

// broken is an output that takes nothing.
type broken struct{}

var errBroken = errors.New("the output is closed")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// TestCopiedFiles holds what of a program is copied: regular files, and what links name. What
// cannot be read proves nothing against the caches.
func TestCopiedFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(program string) error
		outcome string
		want    string // what is copied, or the message
	}{
		"files": {func(program string) error {
			return errors.Join(os.MkdirAll(filepath.Join(program, "a", "b"), 0o700), os.WriteFile(filepath.Join(program, "a", "b", "x.go"), nil, 0o600),
				os.Symlink("a/b/x.go", filepath.Join(program, "linked.go")), os.Symlink("a", filepath.Join(program, "directory")))
		}, offlinebuild.Failed, "linked.go\nmain.go"},
		"a link to nowhere": {func(program string) error { return os.Symlink("none", filepath.Join(program, "a")) }, offlinebuild.Inconclusive, "copying the program: stat "},
	} {
		o, _ := fake(t, "", "ls >&2; exit 1")
		if err := tt.prepare(o.Program); err != nil {
			t.Fatal(err)
		}
		r, err := agent.Run(t.Context(), o)
		if err != nil || r.Outcome != tt.outcome || !strings.HasPrefix(r.Message, tt.want) || tt.outcome == offlinebuild.Failed && r.Message != tt.want {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	o, _ := fake(t, "", "exit 1")
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if r, err := agent.Run(t.Context(), o); err != nil || r.Outcome != offlinebuild.Inconclusive || !strings.HasPrefix(r.Message, "making a private directory: ") {
		t.Errorf("no place for a copy: %+v, %v", r, err)
	}
}
