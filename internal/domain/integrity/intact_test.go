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
