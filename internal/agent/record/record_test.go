package record_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/usage"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file below the records of a volume.
func put(t *testing.T, root, name, content string) {
	t.Helper()
	name = filepath.Join(root, record.Dir, name)
	must(t, os.MkdirAll(filepath.Dir(name), 0o700))
	must(t, os.WriteFile(name, []byte(content), 0o600))
}

// link makes a record a symbolic link to a file outside of the records.
func link(t *testing.T, root, name, content string) {
	t.Helper()
	outside := filepath.Join(root, "outside")
	must(t, os.WriteFile(outside, []byte(content), 0o600))
	must(t, os.MkdirAll(filepath.Join(root, record.Dir), 0o700))
	must(t, os.Symlink(outside, filepath.Join(root, record.Dir, name)))
}

// files are the names of what lies beside the caches of a volume.
func files(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	must(t, fs.WalkDir(os.DirFS(filepath.Join(root, record.Dir)), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, name)
		}
		return err
	}))
	return all
}

func TestToolchain(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"go1.26.7", "go1.26.8"} {
		want := integrity.Toolchain{GoVersion: version, GoSHA256: "aa", CompileSHA256: "bb", GOOS: "linux", GOARCH: "arm64", GOFLAGS: "-trimpath", CGOEnabled: "0"}
		must(t, record.WriteToolchain(root, &want))
		got, err := record.ReadToolchain(root)
		if err != nil || *got != want {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
	if all := files(t, root); len(all) != 1 {
		t.Errorf("left %v", all)
	}
	info, err := os.Stat(filepath.Join(root, record.Dir, "toolchain.json"))
	if err != nil || info.Mode() != 0o664 {
		t.Errorf("mode %v, %v: the volume's group has to replace it", info.Mode(), err)
	}
}

func TestReadToolchainRefuses(t *testing.T) {
	const limit = 64 << 10
	padded := func(n int) string { return `{"goVersion":"go1.26.8"` + strings.Repeat(" ", n-24) + `}` }
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, root string)
		want    error  // in the chain
		text    string // in the message
	}{
		"none":              {func(*testing.T, string) {}, fs.ErrNotExist, ""},
		"not JSON":          {func(t *testing.T, root string) { put(t, root, "toolchain.json", "go1.26.8") }, nil, "invalid character"},
		"cut":               {func(t *testing.T, root string) { put(t, root, "toolchain.json", `{"goVersion":`) }, io.ErrUnexpectedEOF, "toolchain.json"},
		"a link":            {func(t *testing.T, root string) { link(t, root, "toolchain.json", "{}") }, nil, "not a small regular file"},
		"a byte too large":  {func(t *testing.T, root string) { put(t, root, "toolchain.json", padded(limit+1)) }, nil, "not a small regular file"},
		"the volume's root": {func(t *testing.T, root string) { must(t, os.Remove(root)) }, fs.ErrNotExist, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "volume")
			must(t, os.Mkdir(root, 0o700))
			tt.prepare(t, root)
			got, err := record.ReadToolchain(root)
			if err == nil || got != nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("read %+v, %v; want %v, %q", got, err, tt.want, tt.text)
			}
		})
	}
	root := t.TempDir()
	put(t, root, "toolchain.json", padded(limit))
	if got, err := record.ReadToolchain(root); err != nil || got.GoVersion != "go1.26.8" {
		t.Errorf("a file of exactly the limit: %+v, %v", got, err)
	}
}

func TestUsage(t *testing.T) {
	root := t.TempDir()
	if u, err := record.ReadUsage(root); u != nil || !errors.Is(err, record.ErrNoUsage) {
		t.Errorf("a new volume: %v, %v; want ErrNoUsage", u, err)
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := &usage.Record{Began: began, Ended: began.Add(time.Minute), Modules: map[module.Version]usage.Use{
		{Path: "example.com/a", Version: "v1.0.0"}: {Contents: began, GoMod: began.Add(time.Second)},
		{Path: "example.com/b", Version: "v1.0.0"}: {GoMod: began},
	}}
	must(t, record.WriteUsage(root, want))
	got, err := record.ReadUsage(root)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	temporary, err := os.ReadFile(filepath.Join(root, record.Dir, "usage"))
	must(t, err)
	for name, prepare := range map[string]func(root string){
		"cut":    func(root string) { put(t, root, "usage", string(temporary[:len(temporary)-3])) },
		"a link": func(root string) { link(t, root, "usage", string(temporary)) },
	} {
		root := t.TempDir()
		prepare(root)
		if u, err := record.ReadUsage(root); u != nil || err == nil || errors.Is(err, record.ErrNoUsage) {
			t.Errorf("%s: %v, %v: a record that cannot be used is not the same as none", name, u, err)
		}
	}
	if _, err := record.ReadUsage(filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, record.ErrNoUsage) {
		t.Errorf("no volume: %v", err)
	}
}

func TestSources(t *testing.T) {
	root := t.TempDir()
	if s, err := record.ReadSources(root); s != nil || err != nil {
		t.Errorf("a new volume: %v, %v", s, err)
	}
	// A writer that died left this; it belongs to no warm-up.
	put(t, root, ".new-warmed/0/go.mod", "module half\n")
	for _, want := range [][]record.Source{ // each replaces the one before, which has more
		{{record.GoMod: []byte("module a\n"), record.GoSum: []byte("sum\n"), record.Packages: []byte("./...\n")}, {record.GoMod: []byte("module b\n")}, {record.Packages: []byte("cmp\n")}},
		{{record.GoMod: []byte("module c\n")}},
		nil,
	} {
		must(t, record.WriteSources(root, want))
		got, err := record.ReadSources(root)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%d sources: %v\n%s", len(want), err, diff)
		}
	}
	if all := files(t, root); len(all) != 0 {
		t.Errorf("without sources there is left %v", all)
	}
}

func TestReadSourcesRefuses(t *testing.T) {
	const limit = 32 << 20
	sized := func(n int64) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			put(t, root, "warmed/0/go.sum", "")
			must(t, os.Truncate(filepath.Join(root, record.Dir, "warmed/0/go.sum"), n))
		}
	}
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, root string)
		fails   bool
	}{
		"exactly the limit": {sized(limit), false},
		"a byte too large":  {sized(limit + 1), true},
		"a directory": {func(t *testing.T, root string) {
			put(t, root, "warmed/0/go.mod/x", "")
		}, true},
		"a file for a source": {func(t *testing.T, root string) { put(t, root, "warmed/0", "") }, true},
		"a link": {func(t *testing.T, root string) {
			put(t, root, "warmed/0/go.mod", "")
			must(t, os.Symlink("go.mod", filepath.Join(root, record.Dir, "warmed/0/go.sum")))
		}, true},
		"a second source that is bad": {func(t *testing.T, root string) {
			put(t, root, "warmed/0/go.mod", "")
			put(t, root, "warmed/1/go.mod/x", "")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			tt.prepare(t, root)
			if got, err := record.ReadSources(root); (err != nil) != tt.fails || tt.fails && got != nil {
				t.Errorf("%d sources, %v; want an error: %t", len(got), err, tt.fails)
			}
		})
	}
	if _, err := record.ReadSources(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no volume: %v", err)
	}
}

// A manifest is stored complete or not at all: one whose writer fails leaves
// the manifest before it.
func TestWriteManifest(t *testing.T) {
	root := t.TempDir()
	name := record.ManifestPath(root)
	if name != filepath.Join(root, ".gocache", "manifest.zst") {
		t.Errorf("%s: operators of other releases look for .gocache/manifest.zst", name)
	}
	var digest string
	must(t, record.WriteManifest(name, func(w io.Writer) (err error) {
		digest, err = manifest.NewWriter(w).Close()
		return err
	}))
	check := func(when string) {
		t.Helper()
		r, file, err := manifest.Open(name)
		must(t, err)
		defer func() { _ = file.Close() }()
		if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Digest() != digest {
			t.Errorf("%s: %v, digest %s, want %s", when, err, r.Digest(), digest)
		}
	}
	check("written")
	full := errors.New("no space")
	err := record.WriteManifest(name, func(w io.Writer) error {
		_, err := io.WriteString(w, "half of it")
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), name) {
		t.Errorf("a writer that fails: %v", err)
	}
	check("after a writer that failed")
	if all := files(t, root); len(all) != 1 {
		t.Errorf("left %v", all)
	}
}

// What cannot be written is reported with the name of the file.
func TestWriteFails(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"toolchain.json", "usage", "warmed/x"} {
		put(t, root, name+"/x", "") // a directory that is not empty, in its place
	}
	must(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	bad := filepath.Join(root, "file")
	for name, err := range map[string]error{
		"toolchain":         record.WriteToolchain(root, &integrity.Toolchain{}),
		"usage":             record.WriteUsage(root, &usage.Record{}),
		"toolchain, a file": record.WriteToolchain(bad, &integrity.Toolchain{}),
		"usage, a file":     record.WriteUsage(bad, &usage.Record{}),
		"sources, a file":   record.WriteSources(bad, []record.Source{{record.GoMod: nil}}),
		"an unknown name":   record.WriteSources(root, []record.Source{{strings.Repeat("x", 300): nil}}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var syntax *json.SyntaxError
	put(t, bad+"2", "toolchain.json", "{]")
	if _, err := record.ReadToolchain(bad + "2"); !errors.As(err, &syntax) {
		t.Errorf("damaged: %v", err)
	}
}

// TestLeftovers holds that what a writer that was killed left of a record is removed when
// the record is written again, and that the file of another record that is being written
// stays.
func TestLeftovers(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, record.Dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{".new-1": false, ".new-manifest.zst-12": false, ".new-usage.json-12": true}
	for name := range left {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := record.Seal(t.Context(), root, integrity.Options{}); err != nil {
		t.Fatal(err)
	}
	for name, stays := range left {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(record.ManifestPath(root)); err != nil {
		t.Error(err)
	}
}
