package warm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/usage"
	"gocache.dev/operator/internal/domain/warmup"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files makes a directory with files.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		name = filepath.Join(dir, name)
		must(t, errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)))
	}
	return dir
}

// scripted is a go command that is a script, and what it was called with.
func scripted(t *testing.T, script string) (g *goCommand, calls func() string) {
	t.Helper()
	dir := t.TempDir()
	command, seen := filepath.Join(dir, "go"), filepath.Join(dir, "seen")
	must(t, os.WriteFile(command, []byte("#!/bin/sh\necho \"$*\" >>'"+seen+"'\n"+script+"\n"), 0o700)) //nolint:gosec // is run
	return &goCommand{path: command, dir: dir, env: os.Environ(), out: &bytes.Buffer{}}, func() string {
		text, err := os.ReadFile(seen)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
}

// TestEndOfOutput holds what of the output of a command is in its error: the last lines, and
// at most so many bytes.
func TestEndOfOutput(t *testing.T) {
	lines := func(from, to int) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf("line %d", i))
		}
		return strings.Join(all, "\n")
	}
	for name, tt := range map[string]struct {
		writes []string
		want   string
	}{
		"nothing":          {nil, ""},
		"a line":           {[]string{"\n", "a ", "line\n", "\n"}, "a line"},
		"25 lines":         {[]string{lines(0, 25) + "\n"}, lines(0, 25)},
		"26 lines":         {[]string{lines(0, 26) + "\n"}, lines(1, 26)},
		"as many bytes":    {[]string{strings.Repeat("x", 2000), strings.Repeat("y", 1000)}, strings.Repeat("x", 2000) + strings.Repeat("y", 1000)},
		"a byte more":      {[]string{strings.Repeat("x", 2001), strings.Repeat("y", 1000)}, strings.Repeat("x", 2000) + strings.Repeat("y", 1000)},
		"much more":        {[]string{strings.Repeat("x", 9000), strings.Repeat("y", 10)}, strings.Repeat("x", 2990) + strings.Repeat("y", 10)},
		"much, in pieces":  {slices.Repeat([]string{strings.Repeat("x", 999), "\n"}, 20), "\n" + strings.Repeat("x", 999) + "\n" + strings.Repeat("x", 999) + "\n" + strings.Repeat("x", 999)},
		"blank at the end": {[]string{"text", strings.Repeat(" ", 2000)}, "text"},
	} {
		var last tail
		for _, text := range tt.writes {
			if n, err := last.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			if len(last.buf) > 2*tailBytes+len(text) {
				t.Errorf("%s: %d bytes are kept", name, len(last.buf))
			}
		}
		if got := last.lines(); got != tt.want {
			t.Errorf("%s: %d bytes: %.80q, want %d: %.80q", name, len(got), got, len(tt.want), tt.want)
		}
	}
}

// TestCommands holds what is printed of a command, and what its error names.
func TestCommands(t *testing.T) {
	g, calls := scripted(t, "echo out; echo err >&2; [ $1 = good ]")
	out := &bytes.Buffer{}
	g.out = out
	if err := g.run(t.Context(), "good", "one"); err != nil || out.String() != "+ go good one\nout\nerr\n" || calls() != "good one\n" {
		t.Errorf("%v, printed %q", err, out)
	}
	if err := g.run(t.Context(), "bad", "one", "two"); err == nil || err.Error() != "go bad one: exit status 1\nout\nerr" {
		t.Errorf("%v", err)
	}
	if err := g.run(t.Context(), "bad"); err == nil || !strings.HasPrefix(err.Error(), "go bad: exit status 1") {
		t.Errorf("%v", err)
	}
	if text, err := g.output(t.Context(), "good", "one"); err != nil || text != "out" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := g.output(t.Context(), "bad", "one"); err == nil || err.Error() != "go bad: exit status 1\nerr\n" || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	g.path += ".none"
	if _, err := g.output(t.Context(), "good"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "go good: ") {
		t.Errorf("no command: %v", err)
	}
}

// TestIdentify holds what is read of a toolchain, and which part of it is missing.
func TestIdentify(t *testing.T) {
	root := files(t, map[string]string{"bin/go": "the go command", "tool/compile": "the compiler"})
	env := func(goroot, tool string) string {
		return `case $1 in version) echo go version go1.26.8 linux/amd64;; *) echo '{"GOROOT":"` + goroot + `","GOTOOLDIR":"` + tool + `","GOOS":"linux","GOARCH":"amd64","GOFLAGS":"-x","CGO_ENABLED":"1"}';; esac`
	}
	hash := func(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }
	g, _ := scripted(t, env(root, filepath.Join(root, "tool")))
	got, err := g.identify(t.Context())
	if err != nil || got.GoVersion != "go1.26.8 linux/amd64" || got.GOOS != "linux" || got.GOARCH != "amd64" || got.GOFLAGS != "-x" || got.CGOEnabled != "1" || got.GoSHA256 != hash("the go command") || got.CompileSHA256 != hash("the compiler") {
		t.Errorf("%+v, %v", got, err)
	}
	for script, want := range map[string]string{
		"exit 1": "go version: ", "[ $1 = version ]": "go env: exit", "echo x": "go env: invalid character", env("/none", root): "identifying the go command: ", env(root, "/none"): "identifying the compiler: ",
	} {
		g, _ := scripted(t, script)
		if got, err := g.identify(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) || got != nil {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}

// TestBuildCommands holds that the standard library is built by a command of its own.
func TestBuildCommands(t *testing.T) {
	for packages, want := range map[string]string{
		"": "", "std": "build -v -f std\n", "a b": "build -v -f -o /dev/null a b\n", "a std b": "build -v -f std\nbuild -v -f -o /dev/null a b\n",
	} {
		g, calls := scripted(t, "")
		if err := g.build(t.Context(), []string{"-v"}, []string{"-f"}, strings.Fields(packages)); err != nil || calls() != want {
			t.Errorf("%q: %q, %v", packages, calls(), err)
		}
	}
	for _, packages := range []string{"std a", "a"} {
		g, calls := scripted(t, "exit 1")
		if err := g.build(t.Context(), nil, nil, strings.Fields(packages)); err == nil || strings.Count(calls(), "\n") != 1 {
			t.Errorf("%q: %q, %v", packages, calls(), err)
		}
	}
}

// TestImportable holds which packages can be imported from another module.
func TestImportable(t *testing.T) {
	for p, want := range map[string]bool{
		"fmt": true, "example.com/a": true, "runtime": true, "runtime/debug": true, "example.com/race": true, "x/builtin": true, "internals/x": true, "x/vendor": true,
		"vendor/x": false, "internal/x": false, "a/internal": false, "a/internal/b": false, "runtime/race": false, "runtime/msan": false, "runtime/asan": false, "runtime/cgo": false, "builtin": false, "plugin": false,
	} {
		if got := importable(p); got != want {
			t.Errorf("%s: %t", p, got)
		}
	}
}

// TestCounter holds which lines of a build count as a compilation, in whatever pieces they arrive.
func TestCounter(t *testing.T) {
	const compiles = "/go/pkg/tool/linux_amd64/compile -o x\n"
	for text, want := range map[string]int64{
		"": 0, compiles: 1, compiles + compiles: 2, "\"/go/tool/compile\" -o\n": 1, "C:/go/compile.exe -o\n": 1, "compile -o x\n": 0, "/go/compile\n": 0, "/go/link -o x\n": 0, "echo /go/compile -o\n": 0,
		"/go/compile -o": 0, strings.Repeat("x", 5000) + "/compile -o\n" + compiles: 1, strings.Repeat("x", 4096-10) + "/compile -o\n": 1, strings.Repeat("x", 4096-8) + "/compile -o\n": 0,
	} {
		for _, size := range []int{1, 7, len(text) + 1} {
			c := &counter{}
			for rest := text; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				part := rest[:min(size, len(rest))]
				if n, err := c.Write([]byte(part)); n != len(part) || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
			if c.compiled != want {
				t.Errorf("%.60q in pieces of %d: %d, want %d", text, size, c.compiled, want)
			}
		}
	}
}

// TestSourceFiles holds what is copied of a source, and what is refused.
func TestSourceFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		content  map[string]string
		packages string
		want     string // in the error; empty: it is copied
	}{
		"all":                    {map[string]string{"go.mod": "m", "go.sum": "s", "packages": "a b # c\n\n# d\n\te/..."}, "a b e/...", ""},
		"without a go.sum":       {map[string]string{"go.mod": "m"}, "", ""},
		"without a go.mod":       {map[string]string{"go.sum": "s"}, "", "no such file"},
		"a go.sum that is none":  {map[string]string{"go.mod": "m", "go.sum/x": ""}, "", "go.sum: not a regular file of at most 33554432 bytes"},
		"packages that are none": {map[string]string{"go.mod": "m", "packages/x": ""}, "", "packages: not a regular file"},
		"a flag":                 {map[string]string{"go.mod": "m", "packages": "a -toolexec=x"}, "", `"-toolexec=x" is a flag, not a package`},
	} {
		to := filepath.Join(t.TempDir(), "to")
		got, err := copySource(files(t, tt.content), to)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || strings.Join(got, " ") != tt.packages {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		for _, file := range []string{"go.mod", "go.sum"} {
			if text, err := os.ReadFile(filepath.Join(to, file)); tt.want == "" && (string(text) != tt.content[file] || err != nil && tt.content[file] != "") {
				t.Errorf("%s: %s: %q, %v", name, file, text, err)
			}
		}
	}
	dir := files(t, map[string]string{"large": "", "small": "", "file": ""})
	must(t, errors.Join(os.Truncate(filepath.Join(dir, "large"), 32<<20+1), os.Truncate(filepath.Join(dir, "small"), 32<<20)))
	if data, err := readSmall(filepath.Join(dir, "small")); err != nil || len(data) != 32<<20 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := readSmall(filepath.Join(dir, "large")); err == nil {
		t.Error("a file that is too large is read")
	}
	if _, err := copySource(dir, filepath.Join(dir, "file", "x")); err == nil {
		t.Error("a directory below a file")
	}
}

// TestLocalReplacements holds how modules are left out that a go.mod replaces by directories.
func TestLocalReplacements(t *testing.T) {
	for name, tt := range map[string]struct {
		mod       string
		dropped   string
		elsewhere bool
		lines     []string
	}{
		"none":        {"module m\n\nrequire a.test/a v1.0.0\n", "", false, nil},
		"a version":   {"module m\n\nreplace a.test/a => b.test/b v1.0.0\n", "", false, nil},
		"a directory": {"module m\n\nreplace a.test/a => ../a\n", "a.test/a", true, []string{"replace a.test/a => ./dropped-0"}},
		"two and a version": {"module m\n\nreplace a.test/a v1.0.0 => ../a\nreplace c.test/c => d.test/d v1.0.0\nreplace b.test/b => /b\n", "a.test/a b.test/b", true,
			[]string{"a.test/a v1.0.0 => ./dropped-0", "c.test/c => d.test/d v1.0.0", "b.test/b => ./dropped-1"}},
		"no go.mod": {"require (\n", "", true, nil},
	} {
		dir := files(t, map[string]string{"go.mod": tt.mod})
		dropped, err := dropLocal(dir)
		text, readErr := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err = errors.Join(err, readErr); err != nil || strings.Join(dropped, " ") != tt.dropped || tt.dropped == "" && string(text) != tt.mod {
			t.Errorf("%s: %v, %v: %s", name, dropped, err, text)
		}
		for _, line := range tt.lines {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: lacks %q: %s", name, line, text)
			}
		}
		for i, module := range dropped {
			if stub, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("dropped-%d", i), "go.mod")); err != nil || string(stub) != "module "+module+"\n" {
				t.Errorf("%s: %q, %v", name, stub, err)
			}
		}
		if got := leadsElsewhere([]byte(tt.mod)); got != tt.elsewhere {
			t.Errorf("%s: leads elsewhere: %t", name, got)
		}
	}
	if _, err := dropLocal(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a go.mod: %v", err)
	}
	occupied := files(t, map[string]string{"go.mod": "module m\n\nreplace a.test/a => ../a\n", "dropped-0": ""})
	if _, err := dropLocal(occupied); err == nil {
		t.Error("a file in the place of a module")
	}
}

// TestGoSumOfTheSource holds that builds see the go.sum of the source, and what is noted of
// lines that a download has added.
func TestGoSumOfTheSource(t *testing.T) {
	for name, tt := range map[string]struct {
		source, dir map[string]string
		note, left  string
	}{
		"nothing added":   {map[string]string{"go.sum": "a\n"}, map[string]string{"go.sum": "a\n"}, "", "a\n"},
		"two lines":       {map[string]string{"go.sum": "a\n"}, map[string]string{"go.sum": "a\nb\nc\n"}, "go.sum lacks 2 lines for modules of go.mod", "a\n"},
		"no go.sum":       {nil, map[string]string{"go.sum": "b\n"}, "go.sum lacks 1 lines for modules of go.mod", ""},
		"none made":       {map[string]string{"go.sum": "a\n"}, nil, "", ""},
		"neither has one": {nil, nil, "", ""},
	} {
		dir := files(t, tt.dir)
		note, err := restoreGoSum(files(t, tt.source), dir)
		left, _ := os.ReadFile(filepath.Join(dir, "go.sum"))
		if err != nil || note != tt.note || string(left) != tt.left {
			t.Errorf("%s: %q, %v, left %q", name, note, err, left)
		}
	}
	for name, dirs := range map[string][2]map[string]string{"of the source": {{"go.sum/x": ""}, {"go.sum": ""}}, "of the copy": {{"go.sum": ""}, {"go.sum/x": ""}}} {
		if _, err := restoreGoSum(files(t, dirs[0]), files(t, dirs[1])); err == nil {
			t.Errorf("a go.sum %s that is a directory", name)
		}
	}
}

// TestRequiredPackages holds what is built of module files that come with no list.
func TestRequiredPackages(t *testing.T) {
	const mod = "module m\n\nrequire (\n\ta.test/a v1.0.0\n\tb.test/b v1.0.0 // indirect\n)\n\ntool c.test/c/cmd\n"
	g, calls := scripted(t, "printf 'a a.test/a\\nmain a.test/a/cmd\\na a.test/a/internal/x\\nmain c.test/c/cmd\\n\\n'")
	must(t, os.WriteFile(filepath.Join(g.dir, "go.mod"), []byte(mod), 0o600))
	got, err := required(t.Context(), g, []string{"-cover", "-x"})
	if err != nil || strings.Join(got, " ") != "std a.test/a c.test/c/cmd" || !strings.HasPrefix(calls(), "list -e -f ") || !strings.HasSuffix(calls(), " -x a.test/a/... c.test/c/cmd\n") {
		t.Errorf("%v, %v, called with %s", got, err, calls())
	}
	g, calls = scripted(t, "exit 1")
	must(t, os.WriteFile(filepath.Join(g.dir, "go.mod"), []byte("module m\n\nrequire b.test/b v1.0.0 // indirect\n"), 0o600))
	if got, err := required(t.Context(), g, nil); err != nil || strings.Join(got, " ") != "std" || calls() != "" {
		t.Errorf("nothing direct: %v, %v", got, err)
	}
	must(t, os.WriteFile(filepath.Join(g.dir, "go.mod"), []byte(mod), 0o600))
	if _, err := required(t.Context(), g, nil); err == nil {
		t.Error("a list that fails")
	}
	must(t, os.WriteFile(filepath.Join(g.dir, "go.mod"), []byte("require (\n"), 0o600))
	if _, err := required(t.Context(), g, nil); err == nil {
		t.Error("a go.mod that is none")
	}
	must(t, os.Remove(filepath.Join(g.dir, "go.mod")))
	if _, err := required(t.Context(), g, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no go.mod: %v", err)
	}
}

// TestImports holds which packages are recorded in the place of those of a repository.
func TestImports(t *testing.T) {
	for name, tt := range map[string]struct {
		source record.Source
		list   string
		want   string
		keeps  bool
	}{
		"a go.mod":         {record.Source{record.GoMod: []byte("module m\n"), record.GoSum: nil}, "fmt\n\na.test/a\na.test/a [m.test]\ninternal/x", "fmt a.test/a", true},
		"no imports":       {record.Source{record.GoMod: []byte("module m\n")}, "", "unsafe", true},
		"leads elsewhere":  {record.Source{record.GoMod: []byte("module m\n\nreplace a => ../a\n"), record.GoSum: nil}, "fmt", "fmt", false},
		"without a go.mod": {record.Source{record.GoSum: nil}, "fmt", "fmt", false},
	} {
		g, calls := scripted(t, "printf '"+strings.ReplaceAll(tt.list, "\n", "\\n")+"'")
		got, err := imports(t.Context(), g, tt.source, []string{"-covermode=set", "-x"}, []string{"./..."})
		_, kept := tt.source[record.GoMod]
		if err != nil || strings.Join(got, " ") != tt.want || kept != tt.keeps || !strings.HasSuffix(calls(), " -x ./...\n") || strings.Contains(calls(), ".Module.Main") != tt.keeps {
			t.Errorf("%s: %v, %v, called with %s", name, got, err, calls())
		}
		if _, kept := tt.source[record.GoSum]; kept && !tt.keeps {
			t.Errorf("%s: go.sum is kept", name)
		}
	}
	g, _ := scripted(t, "exit 1")
	if _, err := imports(t.Context(), g, record.Source{}, nil, nil); err == nil {
		t.Error("a list that fails")
	}
}

// TestImporter holds which program is vetted and tested in the place of packages of other
// modules, and that it is the same file for the same packages.
func TestImporter(t *testing.T) {
	g, calls := scripted(t, "printf 'a.test/a\\nruntime/cgo\\nb.test/b\\n'")
	pattern, err := importer(t.Context(), g, []string{"-cover", "-x"}, []string{"a", "b"})
	program := filepath.Join(g.dir, "gocache-imports", "imports.go")
	text, readErr := os.ReadFile(program)
	if err = errors.Join(err, readErr); err != nil || pattern != "./gocache-imports" || string(text) != "package main\n\nimport _ \"a.test/a\"\nimport _ \"b.test/b\"\n\nfunc main() { println() }\n" || !strings.HasPrefix(calls(), "list -x -f ") {
		t.Errorf("%q, %v, %s, called with %s", pattern, err, text, calls())
	}
	first, err := os.Stat(program)
	must(t, err)
	if _, err := importer(t.Context(), g, nil, nil); err != nil {
		t.Error(err)
	}
	again, err := os.Stat(program)
	if err != nil || !again.ModTime().Equal(first.ModTime()) || first.ModTime().After(time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("made at %s, then %v, %v", first.ModTime(), again, err)
	}
	for script, fails := range map[string]bool{"echo internal/x": false, "": false, "exit 1": true} {
		g, _ := scripted(t, script)
		if pattern, err := importer(t.Context(), g, nil, nil); pattern != "" || (err != nil) != fails {
			t.Errorf("%q: %q, %v", script, pattern, err)
		}
	}
	g, _ = scripted(t, "echo fmt")
	must(t, os.WriteFile(filepath.Join(g.dir, "gocache-imports"), nil, 0o600))
	if _, err := importer(t.Context(), g, nil, nil); err == nil {
		t.Error("a file in its place")
	}
}

// TestCredentialsOfTheProxy holds which credentials a netrc file can express, and that no
// error contains one.
func TestCredentialsOfTheProxy(t *testing.T) {
	for name, tt := range map[string]struct {
		proxy string
		keys  map[string]string
		want  string // of the file, or in the error
		fails bool
	}{
		"good":           {"https://proxy.test:8443/x", map[string]string{"username": "ci", "password": "s3cret"}, "machine proxy.test login ci password s3cret\nmachine proxy.test:8443 login ci password s3cret\n", false},
		"plain http":     {"http://proxy.test", map[string]string{"username": "ci", "password": "s3cret"}, "is no https URL", true},
		"no host":        {"https:///x", map[string]string{"username": "ci", "password": "s3cret"}, "is no https URL", true},
		"no URL":         {"https://%zz", map[string]string{"username": "ci", "password": "s3cret"}, "is no https URL", true},
		"no password":    {"https://proxy.test", map[string]string{"username": "ci"}, "the credentials of the module proxy: ", true},
		"an empty one":   {"https://proxy.test", map[string]string{"username": "ci", "password": ""}, "the password is empty or contains white space", true},
		"with a space":   {"https://proxy.test", map[string]string{"username": "s3cret x", "password": "x"}, "the username is empty or contains white space", true},
		"with a newline": {"https://proxy.test", map[string]string{"username": "ci", "password": "s3cret\n"}, "the password is empty or contains white space", true},
	} {
		dir := t.TempDir()
		file, err := writeNetrc(dir, tt.proxy, files(t, tt.keys))
		if (err != nil) != tt.fails || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(file); !tt.fails && (err != nil || string(text) != tt.want || file != filepath.Join(dir, "netrc")) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := writeNetrc(filepath.Join(t.TempDir(), "none"), "https://proxy.test", files(t, map[string]string{"username": "ci", "password": "x"})); err == nil || !strings.HasPrefix(err.Error(), "write the credentials of the module proxy: ") {
		t.Errorf("no directory: %v", err)
	}
}

// TestRecordedBuilds holds that a record gives the go command no flags that a warm-up does not
// have.
func TestRecordedBuilds(t *testing.T) {
	b, err := recordedBuild(record.Source{record.Flags: []byte("-race\n\n-tags=x\n"), record.Environ: []byte("CGO_ENABLED=1\nGOARCH=arm64\n")})
	if err != nil || strings.Join(b.Flags, " ") != "-race -tags=x" || len(b.Env) != 2 || b.Env["GOARCH"] != "arm64" {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := recordedBuild(record.Source{record.Flags: []byte("-toolexec=x\n")}); err == nil || !strings.HasPrefix(err.Error(), "the record of the last warm-up: ") {
		t.Errorf("%v", err)
	}
	if got := strings.Join(uncovered([]string{"-cover", "-x", "-coverpkg=a", "-race"}), " "); got != "-x -race" {
		t.Errorf("without coverage: %s", got)
	}
}

// TestResults holds what becomes of the notes and errors of a source.
func TestResults(t *testing.T) {
	errOne := errors.New("one\nline")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r := &result{}
	if err := errors.Join(r.noted(t.Context(), nil), r.noted(t.Context(), errOne), r.noted(t.Context(), errOne)); err != nil {
		t.Error(err)
	}
	if err := r.noted(ended, errOne); !errors.Is(err, errOne) {
		t.Errorf("after the end: %v", err)
	}
	r.note("two")
	if got := r.report(); got.Failed || strings.Count(got.Message, "one") != 1 || !strings.HasSuffix(got.Message, "; two") || got.Reason != "" {
		t.Errorf("%+v", got)
	}
	r.fail(errors.New("a.test/a requires go >= 1.99 (running go 1.26.8)"))
	if got := r.report(); !got.Failed || strings.Contains(got.Message, "two") || got.Reason != warmup.ToolchainTooOld {
		t.Errorf("%+v", got)
	}
	r = &result{}
	r.fail(errors.New("other"))
	if got := r.report(); !got.Failed || got.Reason != "" || got.Message != "other" {
		t.Errorf("%+v", got)
	}
	if got := seconds(1249 * time.Millisecond); got != 1.2 {
		t.Errorf("%f", got)
	}
	if err := (&target{}).named(errOne); err != errOne {
		t.Errorf("%v", err)
	}
	if err := (&target{name: "d"}).named(errOne); err.Error() != "d: one\nline" || !errors.Is(err, errOne) {
		t.Errorf("%v", err)
	}
}

// TestPlaces holds where a warm-up works, and what of its environment is its own.
func TestPlaces(t *testing.T) {
	for name, tt := range map[string]struct {
		o     Options
		want  string
		keeps bool
	}{
		"of a volume":      {Options{ModCache: "/v/mod", BuildCache: "/v/build"}, "/v /v/mod /v/build", true},
		"with a slash":     {Options{ModCache: "/v/mod/", BuildCache: "/v/build"}, "/v /v/mod /v/build", true},
		"a named root":     {Options{ModCache: "/v/a/mod", BuildCache: "/v/build", Root: "/v"}, "/v /v/a/mod /v/build", true},
		"builds elsewhere": {Options{ModCache: "/v/mod", BuildCache: "/tmp/build"}, "/v /v/mod /tmp/build", false},
	} {
		if err := tt.o.absolute(); err != nil || tt.o.Root+" "+tt.o.ModCache+" "+tt.o.BuildCache != tt.want {
			t.Errorf("%s: %+v, %v", name, tt.o, err)
		}
		if got := (&warming{Options: tt.o}).keepsBuilds(); got != tt.keeps {
			t.Errorf("%s: keeps builds: %t", name, got)
		}
	}
	w := &warming{Options: Options{ModCache: "/v/mod", BuildCache: "/v/build", Env: []string{"GOENV=x", "HOME=", "GOTOOLCHAIN=auto", "GOTOOLCHAIN=go1.26.8"}}}
	env := w.env("/t")
	for name, want := range map[string]string{"GOMODCACHE": "/v/mod", "GOCACHE": "/v/build", "GOTMPDIR": "/t", "GOWORK": "off", "GOENV": "x", "GOTOOLCHAIN": "go1.26.8", "HOME": "/t", "GOPATH": "/t/gopath", "NONE": ""} {
		if got := lookup(env, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := lookup([]string{"A=first"}, "A"); got != "first" {
		t.Errorf("the first variable: %q", got)
	}
	t.Setenv("TMPDIR", t.TempDir())
	first, err := w.private()
	must(t, err)
	second, err := w.private()
	if err != nil || first == second || !strings.HasPrefix(second, filepath.Join(os.TempDir(), "gocache-warm-")) {
		t.Errorf("%s, then %s, %v", first, second, err)
	}
	must(t, os.Remove(first))
	if again, err := w.private(); err != nil || again != first {
		t.Errorf("%s, and later %s, %v", first, again, err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if _, err := w.private(); err == nil {
		t.Error("no place")
	}
	w.BuildCache = files(t, map[string]string{"00/x-a": "", "ff/y-a": "", "ff/y-d": "", "0a/z": "", "xx/q-a": ""})
	if n := w.entries(); n != 2 {
		t.Errorf("%d entries", n)
	}
	g := goCommand{env: []string{"GOFLAGS=-x", "A=1"}, dir: "/a"}
	in := g.in(&target{dir: "/b", env: []string{"A=2"}}, warmup.Build{Env: map[string]string{"B": "3"}})
	if in.dir != "/b" || g.dir != "/a" || lookup(in.env, "A") != "2" || lookup(in.env, "B") != "3" || lookup(in.env, "GOFLAGS") != "-x -buildvcs=false" || lookup(g.in(&target{}, warmup.Build{}).env, "A") != "1" {
		t.Errorf("%+v", in)
	}
}

// TestUses holds when a version counts as used: with this warm-up if its go.sum files name it,
// else as recorded before, or when it was downloaded.
func TestUses(t *testing.T) {
	const sum = " h1:wD1iMyu54b00i1n3tD5IapKBSchONdG5ElqMgdlKRxI=\n"
	began := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	version := func(name string) module.Version {
		return module.Version{Path: "example.com/" + name, Version: "v1.0.0"}
	}
	content := map[string]string{}
	for _, name := range []string{"old", "future", "undated", "recorded", "named", "gomod"} {
		for _, kind := range []string{"zip", "mod"} {
			content["cache/download/example.com/"+name+"/@v/v1.0.0."+kind] = ""
		}
	}
	content["cache/download/example.com/bare/@v/v1.0.0.mod"] = ""
	dir := files(t, content)
	for name, made := range map[string]time.Time{"old": began.Add(-time.Hour), "future": began.Add(time.Hour), "undated": time.Unix(0, 0), "recorded": began.Add(-time.Hour), "named": began.Add(-time.Hour), "gomod": began.Add(-time.Hour), "bare": began.Add(-time.Hour)} {
		for _, kind := range []string{"zip", "mod"} {
			name := filepath.Join(dir, "cache", "download", "example.com", name, "@v", "v1.0.0."+kind)
			if err := os.Chtimes(name, made, made); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	u := newUse(began.Add(123))
	sums := files(t, map[string]string{"go.sum": "example.com/named v1.0.0" + sum + "example.com/gomod v1.0.0/go.mod" + sum})
	must(t, u.modules(filepath.Join(sums, "go.sum"), filepath.Join(sums, "none")))
	if err := u.modules(sums); err == nil {
		t.Error("a go.sum that is a directory")
	}
	before := usage.Use{Contents: began.Add(-48 * time.Hour), GoMod: began.Add(-24 * time.Hour)}
	got, err := u.versions(dir, &usage.Record{Modules: map[module.Version]usage.Use{version("recorded"): before}})
	must(t, err)
	earlier, just := began.Add(-time.Hour), began.Add(-time.Second)
	for name, want := range map[string]usage.Use{
		"old": {Contents: earlier, GoMod: earlier}, "future": {Contents: just, GoMod: just}, "undated": {Contents: just, GoMod: just}, "recorded": before,
		"named": {Contents: began, GoMod: began}, "gomod": {Contents: earlier, GoMod: began}, "bare": {GoMod: earlier},
	} {
		if use := got[version(name)]; !use.Contents.Equal(want.Contents) || !use.GoMod.Equal(want.GoMod) {
			t.Errorf("%s: %+v, want %+v", name, use, want)
		}
	}
	if len(got) != 7 {
		t.Errorf("%d versions", len(got))
	}
	if _, err := u.versions(filepath.Join(dir, "none"), &usage.Record{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no module cache: %v", err)
	}
}
