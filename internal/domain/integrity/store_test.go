package integrity_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/testing/cachetree"
)

// athens lays the tree's proxy out as Athens does.
func athens(t *testing.T, tree *cachetree.Tree) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "athens")
	for escaped, m := range map[string]struct{ path, version string }{
		"example.com/lib": {"example.com/lib", "v1.2.0"}, "example.com/!upper/dep": {"example.com/Upper/dep", "v1.3.0"},
	} {
		at := filepath.Join(root, m.path, m.version)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		from := filepath.Join(tree.Proxy, escaped, "@v", m.version)
		for suffix, name := range map[string]string{".mod": "go.mod", ".zip": "source.zip", ".info": m.version + ".info"} {
			data, err := os.ReadFile(from + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(at, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func age(t *testing.T, by time.Duration, names ...string) {
	t.Helper()
	then := time.Now().Add(-by)
	for _, name := range names {
		if err := os.Chtimes(name, then, then); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

func trustOf(t *testing.T, tree *cachetree.Tree) *integrity.Trust {
	t.Helper()
	trust := integrity.NewTrust()
	data, err := os.ReadFile(tree.GoSum())
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.AddGoSum("go.sum", bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return trust
}

func checkStore(t *testing.T, o integrity.Options) integrity.Verdict {
	t.Helper()
	o.Now, o.Settle = time.Now(), time.Millisecond
	v, err := integrity.Check(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func half(b []byte) []byte   { return b[:len(b)/2] }
func damage(b []byte) []byte { b[len(b)/2] ^= 1; return b }
func data(b []byte) []byte   { b[70] ^= 1; return b } // of the first file in a zip
func none([]byte) []byte     { return nil }
func other([]byte) []byte    { return []byte(`{"Version":"v1.1.0","Time":"2024-01-02T03:04:05Z"}`) }
func zeros(b []byte) []byte  { return make([]byte, len(b)) }

func TestStores(t *testing.T) {
	type fault struct {
		name, file string
		change     func([]byte) []byte // nil: removed
		age        time.Duration
		class      integrity.Class
		severity   string
	}
	const hour = time.Hour
	for layout, faults := range map[string][]fault{
		"goproxy": {
			{"flip in zip", "example.com/lib/@v/v1.2.0.zip", data, 0, integrity.Corrupt, "corrupt"},
			{"zip cut", "example.com/lib/@v/v1.2.0.zip", half, 0, integrity.Truncated, "corrupt"},
			{"zip gone is legal", "example.com/lib/@v/v1.2.0.zip", nil, 0, "", ""},
			{"mod altered", "example.com/lib/@v/v1.2.0.mod", damage, 0, integrity.Corrupt, "corrupt"},
			{"mod empty", "example.com/lib/@v/v1.2.0.mod", none, 0, integrity.Truncated, "corrupt"},
			{"info zeros", "example.com/lib/@v/v1.2.0.info", zeros, 0, integrity.Truncated, "recoverable"},
			{"info cut", "example.com/lib/@v/v1.2.0.info", half, 0, integrity.Malformed, "recoverable"},
			{"info of another version", "example.com/lib/@v/v1.2.0.info", other, 0, integrity.Inconsistent, "recoverable"},
			{"list zeros", "example.com/lib/@v/list", zeros, 0, integrity.Malformed, "corrupt"},
		},
		"athens": {
			{"flip in zip", "example.com/lib/v1.2.0/source.zip", data, 0, integrity.Corrupt, "corrupt"},
			{"zip cut with info", "example.com/lib/v1.2.0/source.zip", half, hour, integrity.Truncated, "corrupt"},
			{"mod altered", "example.com/lib/v1.2.0/go.mod", damage, hour, integrity.Corrupt, "corrupt"},
			{"zip gone", "example.com/lib/v1.2.0/source.zip", nil, hour, integrity.Missing, "recoverable"},
			{"info zeros", "example.com/lib/v1.2.0/v1.2.0.info", zeros, hour, integrity.Truncated, "recoverable"},
			{"info of another version", "example.com/lib/v1.2.0/v1.2.0.info", other, hour, integrity.Inconsistent, "recoverable"},
			{"info gone", "example.com/lib/v1.2.0/v1.2.0.info", nil, hour, integrity.Missing, "recoverable"},
			{"info not yet written", "example.com/lib/v1.2.0/v1.2.0.info", nil, 0, integrity.InFlight, "note"},
		},
	} {
		for _, f := range faults {
			t.Run(layout+" "+f.name, func(t *testing.T) {
				tree := cachetree.New(t)
				o := integrity.Options{Store: tree.Proxy, Layout: layout, Trust: trustOf(t, tree)}
				if layout == "athens" {
					o.Store = athens(t, tree)
				}
				if v := checkStore(t, o); v.Verdict != integrity.Intact || v.Recoverable != 0 || v.Counts.Zips < 2 {
					t.Fatalf("good store: %s: %+v, %+v", v.Verdict, v.Examples, v.Counts)
				}
				name := filepath.Join(o.Store, filepath.FromSlash(f.file))
				if f.change == nil {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				} else {
					cachetree.Edit(t, name, f.change)
				}
				siblings, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*"))
				if err != nil {
					t.Fatal(err)
				}
				age(t, f.age, siblings...)
				v := checkStore(t, o)
				want := map[integrity.Class]int{}
				if f.severity == "corrupt" || f.severity == "recoverable" {
					want[f.class] = 1
				}
				if diff := cmp.Diff(want, v.Findings); diff != "" || f.severity == "note" && v.Notes[f.class] != 1 {
					t.Errorf("(-want +got)\n%s notes %v: %+v", diff, v.Notes, v.Examples)
				}
				if (v.Verdict == integrity.OutcomeCorrupt) != (f.severity == "corrupt") {
					t.Errorf("verdict %s", v.Verdict)
				}
			})
		}
	}
}

// A partial zip without its .info is what a full disk leaves; Athens serves it.
func TestAthensCrashState(t *testing.T) {
	tree := cachetree.New(t)
	root := athens(t, tree)
	zip := filepath.Join(root, "example.com/lib/v1.2.0/source.zip")
	cachetree.Edit(t, zip, half)
	info := filepath.Join(filepath.Dir(zip), "v1.2.0.info")
	if err := os.Remove(info); err != nil {
		t.Fatal(err)
	}
	o := integrity.Options{Store: root, Layout: "athens", Trust: trustOf(t, tree)}
	age(t, time.Hour, zip, filepath.Join(filepath.Dir(zip), "go.mod"))
	if v := checkStore(t, o); v.Findings[integrity.Truncated] != 1 || v.Verdict != integrity.OutcomeCorrupt {
		t.Errorf("old: %+v", v)
	}
	age(t, 0, zip)
	if v := checkStore(t, o); v.Verdict != integrity.Intact || v.Notes[integrity.InFlight] == 0 {
		t.Errorf("being stored: %+v", v)
	}
}

// Without trust data, what was seen first is what counts.
func TestStoreFirstSeen(t *testing.T) {
	tree := cachetree.New(t)
	var first bytes.Buffer
	o := integrity.Options{Store: tree.Proxy, Layout: "goproxy", Manifest: &first}
	if v := checkStore(t, o); v.Verdict != integrity.Intact || v.Notes[integrity.Unverifiable] == 0 {
		t.Fatalf("%+v", v)
	}
	baseline, err := integrity.NewBaseline(manifest.NewReader(&first), manifest.Stored)
	if err != nil {
		t.Fatal(err)
	}
	o.Manifest, o.Baseline = nil, baseline
	if v := checkStore(t, o); v.Verdict != integrity.Intact || v.Notes[integrity.Unverifiable] != 0 || v.Counts.Raw == 0 {
		t.Errorf("unchanged: %+v", v)
	}
	// A go.mod is compared by itself: its zip, which has not changed, is not read
	// again for it.
	mod := filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.mod")
	goMod, err := os.ReadFile(mod)
	if err != nil {
		t.Fatal(err)
	}
	cachetree.Edit(t, mod, func(b []byte) []byte { return append(b, "\n// another\n"...) })
	if v := checkStore(t, o); v.Verdict != integrity.OutcomeCorrupt || v.Findings[integrity.Corrupt] != 1 || len(v.Findings) != 1 {
		t.Errorf("another go.mod: %+v", v)
	}
	cachetree.Edit(t, mod, func([]byte) []byte { return goMod })
	files := map[string]string{"go.mod": "module example.com/lib\n\ngo 1.21\n\nrequire example.com/Upper/dep v1.1.0\n", "x.go": "package lib\n"}
	other, err := cachetree.Zip(cachetree.Lib, files)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := checkStore(t, o); v.Findings[integrity.ChecksumMismatch] != 1 {
		t.Errorf("replaced: %+v", v)
	}
}
