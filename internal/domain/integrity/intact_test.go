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

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/testing/cachetree"
)

// publish adds a module version to the tree's proxy and downloads it with the
// real go command, which must accept it.
func publish(t *testing.T, tree *cachetree.Tree, m module.Version, goMod string, zip []byte) {
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
	if out, err := tree.Go("mod", "download", m.String()); err != nil {
		t.Fatalf("%v\n%s", err, out)
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
		"directory entries":  rawZip(t, zipFile{at, nil}, zipFile{at + "go.mod", []byte(goMod)}, source, zipFile{at + "sub/", nil}, zipFile{at + "sub/x.go", []byte("package sub\n")}),
		"an empty directory": rawZip(t, zipFile{at + "go.mod", []byte(goMod)}, source, zipFile{at + "empty/", nil}),
		"CRLF in the zip":    rawZip(t, zipFile{at + "go.mod", crlf}, source),
		"mixed line ends":    rawZip(t, zipFile{at + "go.mod", append([]byte("module example.com/odd\r\n"), "\ngo 1.21\n"...)}, source),
		"no go.mod":          rawZip(t, source),
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
