package integrity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/testing/cachetree"
)

// publish adds a module version to the tree's proxy and downloads it with the
// real go command, which must accept it.
func publish(t *testing.T, tree *cachetree.Tree, m module.Version, goMod string, zip []byte) {
	t.Helper()
	lay(t, tree, m, goMod, zip)
	if out, err := tree.Go("mod", "download", m.String()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// lay adds a module version to the tree's proxy.
func lay(t *testing.T, tree *cachetree.Tree, m module.Version, goMod string, zip []byte) {
	t.Helper()
	at := filepath.Join(tree.Proxy, m.Path, "@v")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(map[string]any{"Version": m.Version, "Time": "2024-01-02T03:04:05Z"})
	if err != nil {
		t.Fatal(err)
	}
	for suffix, content := range map[string][]byte{".info": info, ".mod": []byte(goMod), ".zip": zip} {
		put(t, filepath.Join(at, m.Version+suffix), content)
	}
}

// verdicts are the results of a full check and of an incremental one, whose
// baseline is the manifest of the full one.
func verdicts(t *testing.T, o integrity.Options, kind manifest.Kind) (full, incremental integrity.Verdict) {
	t.Helper()
	o.Now, o.Settle = time.Now(), time.Millisecond
	var text bytes.Buffer
	o.Manifest = &text
	full, err := integrity.Check(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Manifest = nil
	if o.Baseline, err = integrity.NewBaseline(manifest.NewReader(&text), kind); err != nil {
		t.Fatal(err)
	}
	if incremental, err = integrity.Check(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return full, incremental
}

// TestSameBytesSameVerdict holds that a full check, an incremental one and the
// check of a store judge unchanged files that the go command accepts alike.
func TestSameBytesSameVerdict(t *testing.T) {
	const goMod = "module example.com/odd\n\ngo 1.21\n"
	m := module.Version{Path: "example.com/odd", Version: "v1.0.0"}
	at := m.String() + "/"
	crlf := []byte(strings.ReplaceAll(goMod, "\n", "\r\n"))
	source := zipFile{at + "odd.go", []byte("package odd\n")}
	for name, zip := range map[string][]byte{
		"directory entries":   rawZip(t, zipFile{at, nil}, zipFile{at + "go.mod", []byte(goMod)}, source, zipFile{at + "sub/", nil}, zipFile{at + "sub/x.go", []byte("package sub\n")}),
		"an empty directory":  rawZip(t, zipFile{at + "go.mod", []byte(goMod)}, source, zipFile{at + "empty/", nil}),
		"CRLF in the zip":     rawZip(t, zipFile{at + "go.mod", crlf}, source),
		"mixed line ends":     rawZip(t, zipFile{at + "go.mod", append([]byte("module example.com/odd\r\n"), "\ngo 1.21\n"...)}, source),
		"no go.mod":           rawZip(t, source),
		"no last line end":    rawZip(t, zipFile{at + "go.mod", []byte(strings.TrimSuffix(goMod, "\n"))}, source),
		"a directory twice":   rawZip(t, zipFile{at, nil}, zipFile{at, nil}, zipFile{at + "go.mod", []byte(goMod)}, source, zipFile{at + "sub/", nil}, zipFile{at + "sub/", nil}),
		"dotted capital I":    rawZip(t, zipFile{at + "go.mod", []byte(goMod)}, source, zipFile{at + "i.txt", nil}, zipFile{at + "\u0130.txt", nil}),
		"marked as encrypted": flagged(t, rawZip(t, zipFile{at + "go.mod", []byte(goMod)}, source)),
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			publish(t, tree, m, goMod, zip)
			for where, o := range map[string]integrity.Options{
				"modules": {ModCache: tree.ModCache}, "store": {Store: tree.Proxy, Layout: "goproxy"},
			} {
				kind := manifest.Module
				if where == "store" {
					kind = manifest.Stored
				}
				full, incremental := verdicts(t, o, kind)
				if full.Verdict != integrity.Intact || incremental.Verdict != integrity.Intact || full.Digest != incremental.Digest || len(full.Findings)+len(incremental.Findings) > 0 {
					t.Errorf("%s: full %s %v, incremental %s %v", where, full.Verdict, full.Examples, incremental.Verdict, incremental.Examples)
				}
			}
		})
	}
}

// flagged marks each file in a zip's directory as encrypted, as some programs do. The go command does not look there.
func flagged(t *testing.T, data []byte) []byte {
	t.Helper()
	for at := 0; ; {
		next := bytes.Index(data[at:], []byte("PK\x01\x02"))
		if next < 0 {
			return data
		}
		at += next + 8
		data[at] |= 1
	}
}

// TestKeptAndNotExtracted holds that a zip is not damaged for names that the go
// command does not extract, if something vouches for it: the go command keeps such
// a zip as well, and no other download differs. A zip that nothing vouches for is in
// TestHostileZips.
func TestKeptAndNotExtracted(t *testing.T) {
	m := module.Version{Path: "example.com/odd", Version: "v1.0.0"}
	at := m.String() + "/"
	const goMod = "module example.com/odd\n"
	for name, file := range unextractable {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			entries := []zipFile{{at + "go.mod", []byte(goMod)}, {at + "odd.go", []byte("package odd\n")}}
			for _, f := range file {
				entries = append(entries, zipFile{at + f.name, f.data})
			}
			lay(t, tree, m, goMod, rawZip(t, entries...))
			if out, err := tree.Go("mod", "download", m.String()); err == nil || !strings.Contains(string(out), "unzip") {
				t.Fatalf("%v\n%s", err, out)
			}
			full, incremental := verdicts(t, integrity.Options{ModCache: tree.ModCache}, manifest.Module)
			for _, v := range []integrity.Verdict{full, incremental} {
				if v.Verdict != integrity.Intact || v.Findings[integrity.Malformed] != 1 || v.Recoverable != 1 {
					t.Errorf("%s %v", v.Verdict, v.Examples)
				}
			}
			if full.Digest != incremental.Digest {
				t.Errorf("digests %s and %s", full.Digest, incremental.Digest)
			}
			v, err := integrity.Check(t.Context(), integrity.Options{Store: tree.Proxy, Layout: "goproxy", Now: time.Now(), Settle: time.Millisecond})
			if err != nil || v.Verdict != integrity.OutcomeCorrupt {
				t.Errorf("in a store that nothing vouches for: %s %v, %v", v.Verdict, v.Examples, err)
			}
		})
	}
}

// TestDirectoryEntriesWithoutZip holds that an extracted module is intact if it lacks
// nothing but what only the zip had: entries for directories, which its sum
// counts and which are not extracted as files. An interrupted go clean -modcache
// leaves such a directory.
func TestDirectoryEntriesWithoutZip(t *testing.T) {
	const goMod = "module example.com/odd\n\ngo 1.21\n"
	m := module.Version{Path: "example.com/odd", Version: "v1.0.0"}
	at := m.String() + "/"
	files := []zipFile{{at + "go.mod", []byte(goMod)}, {at + "odd.go", []byte("package odd\n")}, {at + "sub/x.go", []byte("package sub\n")}, {at + "sub/deep/y.go", []byte("package deep\n")}}
	for name, dirs := range map[string][]zipFile{
		"none": nil, "all": {{at, nil}, {at + "sub/", nil}, {at + "sub/deep/", nil}}, "all below the root": {{at + "sub/", nil}, {at + "sub/deep/", nil}}, "one": {{at + "sub/deep/", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			zip := rawZip(t, append(dirs, files...)...)
			publish(t, tree, m, goMod, zip)
			file := filepath.Join(t.TempDir(), "zip")
			put(t, file, zip)
			sum, err := dirhash.HashZip(file, dirhash.Hash1)
			if err != nil {
				t.Fatal(err)
			}
			trust := integrity.NewTrust()
			if err := trust.AddGoSum("go.sum", strings.NewReader(m.Path+" "+m.Version+" "+sum+"\n")); err != nil {
				t.Fatal(err)
			}
			record := filepath.Join(tree.ModCache, "cache", "download", m.Path, "@v", m.Version)
			check := func() integrity.Verdict {
				t.Helper()
				v, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, Trust: trust, Now: time.Now(), Settle: time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			for _, gone := range []string{".zip", ".ziphash"} {
				if err := os.Remove(record + gone); err != nil {
					t.Fatal(err)
				}
				if v := check(); v.Verdict != integrity.Intact || v.Counts.Proven == 0 {
					t.Errorf("without %s: %s, %d proven, %+v", gone, v.Verdict, v.Counts.Proven, v.Examples)
				}
			}
			source := filepath.Join(tree.ModCache, m.String(), "sub", "x.go")
			if err := os.Chmod(source, 0o600); err != nil {
				t.Fatal(err)
			}
			put(t, source, []byte("package sub // other\n"))
			if v := check(); v.Verdict != integrity.OutcomeCorrupt {
				t.Errorf("with another source: %s", v.Verdict)
			}
		})
	}
}

// TestOldTemporaryDirectory holds that a directory into which a go command before
// 1.16 extracted a module when it was killed is no module: none reads it.
func TestOldTemporaryDirectory(t *testing.T) {
	tree := cachetree.New(t)
	put(t, filepath.Join(tree.ModCache, "example.com/left@v1.0.0.tmp-123456789/left.go"), []byte("package left\n"))
	v, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, Now: time.Now(), Settle: time.Millisecond})
	if err != nil || v.Verdict != integrity.Intact || v.Notes[integrity.Stray] != 1 {
		t.Errorf("%s %v %v, %v", v.Verdict, v.Notes, v.Examples, err)
	}
}

// TestMadeUpGoMod holds that the .mod of a version whose zip has no go.mod was
// made up, and requires nothing.
func TestMadeUpGoMod(t *testing.T) {
	m := module.Version{Path: "example.com/odd", Version: "v1.0.0"}
	const goMod = "module example.com/odd\n"
	for altered, want := range map[string]integrity.Outcome{
		"module example.com/odd // made up":            integrity.Intact,
		goMod + "\ngo 1.21\n":                          integrity.Intact,
		goMod + "\nrequire example.com/other v1.0.0\n": integrity.OutcomeCorrupt,
		goMod + "\nrequire (\n":                        integrity.OutcomeCorrupt,
	} {
		tree := cachetree.New(t)
		publish(t, tree, m, goMod, rawZip(t, zipFile{m.String() + "/odd.go", []byte("package odd\n")}))
		put(t, filepath.Join(tree.ModCache, "cache/download/example.com/odd/@v/v1.0.0.mod"), []byte(altered))
		put(t, filepath.Join(tree.Proxy, "example.com/odd/@v/v1.0.0.mod"), []byte(altered))
		for where, o := range map[string]integrity.Options{"modules": {ModCache: tree.ModCache}, "store": {Store: tree.Proxy, Layout: "goproxy"}} {
			o.Now, o.Settle = time.Now(), time.Millisecond
			v, err := integrity.Check(t.Context(), o)
			if err != nil || v.Verdict != want {
				t.Errorf("%q, %s: %s %v, %v", altered, where, v.Verdict, v.Examples, err)
			}
		}
	}
}

// TestModesOfExtractedFiles holds that root, which may read everything, finds what
// no other user may read: files that cannot be read, and directories that cannot be
// listed or not be searched, the module's own among them.
func TestModesOfExtractedFiles(t *testing.T) {
	m := module.Version{Path: "example.com/odd", Version: "v1.0.0"}
	for _, tt := range []struct {
		path string
		mode os.FileMode
	}{
		{"odd.go", 0}, {"sub/sub.go", 0o200},
		{"sub", 0o600}, {"sub", 0o300}, {".", 0o600}, {".", 0o300},
	} {
		path, mode := tt.path, tt.mode
		tree := cachetree.New(t)
		at := m.String() + "/"
		publish(t, tree, m, "module example.com/odd\n", rawZip(t, zipFile{at + "go.mod", []byte("module example.com/odd\n")},
			zipFile{at + "odd.go", []byte("package odd\n")}, zipFile{at + "sub/sub.go", []byte("package sub\n")}))
		file := filepath.Join(tree.ModCache, m.String(), path)
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		full, incremental := verdicts(t, integrity.Options{ModCache: tree.ModCache}, manifest.Module)
		for _, v := range []integrity.Verdict{full, incremental} {
			if v.Verdict != integrity.OutcomeCorrupt || v.Findings[integrity.BadMode] != 1 {
				t.Errorf("%s %04o: %s %v", path, mode, v.Verdict, v.Examples)
			}
		}
		if err := os.Chmod(file, 0o755); err != nil { //nolint:gosec // to remove it
			t.Fatal(err)
		}
	}
}

// TestEmptyGoModSum holds that a sum which an old go command recorded for the
// go.mod of a module without its own is skipped, as the go command does
// (emptyGoModHash in cmd/go/internal/modfetch).
func TestEmptyGoModSum(t *testing.T) {
	tree := cachetree.New(t)
	trust := trustOf(t, tree)
	const line = "example.com/lib v1.2.0/go.mod h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=\n"
	if err := trust.AddGoSum("old/go.sum", strings.NewReader(line)); err != nil {
		t.Fatal(err)
	}
	old := integrity.NewTrust()
	if err := old.AddGoSum("old/go.sum", strings.NewReader(line)); err != nil {
		t.Fatal(err)
	}
	for name, trust := range map[string]*integrity.Trust{"beside the right one": trust, "alone": old} {
		full, incremental := verdicts(t, integrity.Options{ModCache: tree.ModCache, Trust: trust}, manifest.Module)
		if full.Verdict != integrity.Intact || incremental.Verdict != integrity.Intact {
			t.Errorf("%s: full %s %+v, incremental %s", name, full.Verdict, full.Examples, incremental.Verdict)
		}
	}
}

// What a refused download leaves is no module version.
func TestLockIsNoVersion(t *testing.T) {
	mod := t.TempDir()
	at := filepath.Join(mod, "cache", "download", "example.com", "m", "@v")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v0.17.0.lock", "v0.17.0.zip486183284.tmp"} {
		if err := os.WriteFile(filepath.Join(at, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, err := integrity.Check(t.Context(), integrity.Options{ModCache: mod, Now: time.Now()})
	if err != nil || v.Verdict != integrity.Intact || v.Counts != (integrity.Counts{}) {
		t.Errorf("%v: %s: %+v", err, v.Message, v.Counts)
	}
}
