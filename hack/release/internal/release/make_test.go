package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMake builds a release from a small repository with the folders of this
// one, in two places: neither the place nor the time is in any file.
func TestMake(t *testing.T) {
	// Other platforms would be built alike, and take a minute.
	operators, plugins := operatorPlatforms, pluginPlatforms
	t.Cleanup(func() { operatorPlatforms, pluginPlatforms = operators, plugins })
	operatorPlatforms, pluginPlatforms = []string{"linux/amd64"}, []string{"linux/amd64"}
	one, two := made(t), made(t)
	names, err := one.names()
	if err != nil || len(names) < 13 {
		t.Fatalf("%v: %v", names, err)
	}
	for _, name := range names {
		if !bytes.Equal(one.read(t, name), two.read(t, name)) {
			t.Errorf("%s differs between two builds", name)
		}
	}
	if notes := string(one.read(t, "RELEASE_NOTES.md")); !strings.HasSuffix(notes, "first\n") {
		t.Errorf("notes %q", notes)
	}
	manager := filepath.Join(t.TempDir(), "manager")
	program := extracted(t, one.read(t, "gocache-operator_v0.1.0_linux_amd64.tar.gz"), "manager")
	if err := os.WriteFile(manager, program, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), manager).CombinedOutput() //nolint:gosec // built above
	if fields := strings.Fields(string(output)); err != nil || len(fields) != 2 || fields[0] != "v0.1.0" || len(fields[1]) != 40 {
		t.Errorf("the program has version and commit %q: %v", output, err)
	}
}

// extracted is one file of an archive.
func extracted(t *testing.T, archive []byte, name string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("find %s: %v", name, err)
		}
		if h.Name == name {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
}

// made builds a release from a new repository. Its commit is always the same.
func made(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(root, "config"))); err != nil {
		t.Fatal(err)
	}
	program := "package main\n\nimport \"gocache.dev/operator/internal/domain/version\"\n\nfunc main() { println(version.Get()) }\n"
	files := map[string]string{
		"go.mod": "module gocache.dev/operator\n\ngo 1.26\n", "go.sum": "", "LICENSE": "licence\n",
		"CHANGELOG.md":                        "## [Unreleased]\n\n## [0.1.0] - 2026-01-01\n\nfirst\n\n## [0.0.1]\n\nolder\n",
		"internal/domain/version/version.go":  "package version\n\nvar version, commit string\n\nfunc Get() string { return version + \" \" + commit }\n",
		"internal/cmd/" + plugin + "/main.go": program,
	}
	for _, p := range operatorPrograms {
		files[p.folder+"/main.go"] = program
	}
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "one"}, {"tag", "v0.1.0"}} {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "core.fileMode=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	certificates := filepath.Join(t.TempDir(), "certificates")
	if err := os.WriteFile(certificates, []byte("certificates"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Root: dir, Out: filepath.Join(t.TempDir(), "out"), Version: "v0.1.0", Repository: "registry.example.com/operator", URL: "https://example.com/v0.1.0", Certificates: certificates}
	if err := Make(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return o
}
