package integrity_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// removing removes what findings name from a store, and counts them.
func removing(t *testing.T, root string, n *int) func([]integrity.Finding) error {
	t.Helper()
	return func(found []integrity.Finding) error {
		for _, f := range found {
			*n++
			for _, name := range f.Remove {
				if err := os.RemoveAll(filepath.Join(root, filepath.FromSlash(name))); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// TestWithdrawn holds that what is wrong in a store goes, entry by entry, and
// that the verdict is of what is left.
func TestWithdrawn(t *testing.T) {
	for name, tt := range map[string]struct {
		layout, file string
		change       func([]byte) []byte
		gone, kept   []string
	}{
		"archive": {"goproxy", "example.com/lib/@v/v1.2.0.zip", data, []string{"example.com/lib/@v/v1.2.0.zip"},
			[]string{"example.com/lib/@v/v1.2.0.mod", "example.com/lib/@v/v1.2.0.info", "example.com/!upper/dep/@v/v1.3.0.zip"}},
		"go.mod": {"goproxy", "example.com/lib/@v/v1.2.0.mod", damage, []string{"example.com/lib/@v/v1.2.0.mod"},
			[]string{"example.com/lib/@v/v1.2.0.zip"}},
		"info": {"goproxy", "example.com/lib/@v/v1.2.0.info", half, []string{"example.com/lib/@v/v1.2.0.info"},
			[]string{"example.com/lib/@v/v1.2.0.zip"}},
		"list": {"goproxy", "example.com/lib/@v/list", zeros, []string{"example.com/lib/@v/list"}, []string{"example.com/lib/@v/v1.2.0.zip"}},
		"a version of Athens, as a whole": {"athens", "example.com/lib/v1.2.0/source.zip", half, []string{"example.com/lib/v1.2.0"},
			[]string{"example.com/Upper/dep/v1.3.0/source.zip"}},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			o := integrity.Options{Store: tree.Proxy, Layout: tt.layout, Trust: trustOf(t, tree)}
			if tt.layout == "athens" {
				o.Store = athens(t, tree)
			}
			n := 0
			o.Withdraw = removing(t, o.Store, &n)
			cachetree.Edit(t, filepath.Join(o.Store, filepath.FromSlash(tt.file)), tt.change)
			v := checkStore(t, o)
			if v.Verdict != integrity.Intact || v.Withdrawn != 1 || n != 1 || len(v.WithdrawnExamples) != 1 || !strings.Contains(v.Message, "withdrew 1") || v.Corrupt+v.Recoverable+v.Unreadable != 0 {
				t.Errorf("%s, withdrawn %d %+v: %s: %+v", v.Verdict, v.Withdrawn, v.WithdrawnExamples, v.Message, v.Examples)
			}
			for _, f := range tt.gone {
				if _, err := os.Lstat(filepath.Join(o.Store, f)); err == nil {
					t.Errorf("%s is still there", f)
				}
			}
			for _, f := range tt.kept {
				if _, err := os.Lstat(filepath.Join(o.Store, f)); err != nil {
					t.Error(err)
				}
			}
			if v := checkStore(t, o); v.Verdict != integrity.Intact || v.Withdrawn != 0 {
				t.Errorf("the next check: %s, withdrew %d", v.Verdict, v.Withdrawn)
			}
		})
	}
}

// forged puts an intact archive of other content into a store.
func forged(t *testing.T, root string) {
	t.Helper()
	other, err := cachetree.Zip(cachetree.Lib, map[string]string{"go.mod": "module example.com/lib\n\ngo 1.21\n", "x.go": "package lib\n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "example.com/lib/@v/v1.2.0.zip"), other, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWhatComesBack holds that content which the server fetches again, as wrong
// as before, is no evidence against the store: it is the upstream's. Damage that comes
// back is the volume's.
func TestWhatComesBack(t *testing.T) {
	tree := cachetree.New(t)
	again := func(spoil func()) func([]integrity.Finding) error {
		n := 0
		remove := removing(t, tree.Proxy, &n)
		return func(found []integrity.Finding) error {
			err := remove(found)
			spoil()
			return err
		}
	}
	zip := filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip")
	intact, err := os.ReadFile(zip)
	if err != nil {
		t.Fatal(err)
	}
	o := integrity.Options{Store: tree.Proxy, Layout: "goproxy", Trust: trustOf(t, tree)}
	forged(t, tree.Proxy)
	o.Withdraw = again(func() { forged(t, tree.Proxy) })
	v := checkStore(t, o)
	if v.Verdict != integrity.Inconclusive || v.Withdrawn == 0 || v.WithdrawnExamples[0].Class != integrity.ChecksumMismatch || !strings.Contains(v.Examples[0].Detail, "again after it was withdrawn") {
		t.Errorf("contradiction that comes back: %s, %+v, %+v", v.Verdict, v.WithdrawnExamples, v.Examples)
	}
	truncate := func() {
		if err := os.WriteFile(zip, intact[:len(intact)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	truncate()
	o.Withdraw = again(truncate)
	if v := checkStore(t, o); v.Verdict != integrity.OutcomeCorrupt || v.Findings[integrity.Truncated] == 0 {
		t.Errorf("damage that comes back: %s, %+v", v.Verdict, v.Examples)
	}
	o.Withdraw = func([]integrity.Finding) error { return errors.New("read-only file system") }
	if v := checkStore(t, o); v.Verdict != integrity.OutcomeCorrupt || v.Withdrawn != 0 || !strings.Contains(v.Examples[0].Detail, "read-only file system") {
		t.Errorf("damage that cannot be removed: %s, %+v", v.Verdict, v.Examples)
	}
}

// TestBroadDamage holds that nothing is removed when the volume must be at
// fault, and that few damaged versions, or a small part of many, are no such
// case.
func TestBroadDamage(t *testing.T) {
	for _, tt := range []struct {
		all, damaged int
		verdict      integrity.Outcome
	}{{60, 51, integrity.OutcomeCorrupt}, {60, 50, integrity.Intact}, {520, 51, integrity.Intact}, {500, 51, integrity.OutcomeCorrupt}} {
		root := filepath.Join(t.TempDir(), "modules")
		dir := filepath.Join(root, "example.com/lib/@v")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range tt.all {
			m := module.Version{Path: "example.com/lib", Version: fmt.Sprintf("v1.0.%d", i)}
			zip, err := cachetree.Zip(m, map[string]string{"go.mod": "module example.com/lib\n", "x.go": "package lib\n"})
			if err != nil {
				t.Fatal(err)
			}
			if i < tt.damaged {
				zip = half(zip)
			}
			if err := os.WriteFile(filepath.Join(dir, m.Version+".zip"), zip, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		v := checkStore(t, integrity.Options{Store: root, Layout: "goproxy", Withdraw: removing(t, root, &n)})
		if v.Verdict != tt.verdict || v.Verdict == integrity.OutcomeCorrupt && (n != 0 || !strings.Contains(v.Message, "the volume is at fault")) ||
			v.Verdict == integrity.Intact && n != tt.damaged {
			t.Errorf("%d of %d damaged: %s, removed %d: %s", tt.damaged, tt.all, v.Verdict, n, v.Message)
		}
	}
}

// TestAsFetched holds that the go.mod beside an archive may differ from the one
// in it where no record defines which is right: the go command takes both.
func TestAsFetched(t *testing.T) {
	m := module.Version{Path: "example.com/crlf", Version: "v1.0.0"}
	zip, err := cachetree.Zip(m, map[string]string{"go.mod": "module example.com/crlf\r\n", "x.go": "package crlf\n"})
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "modules")
	dir := filepath.Join(root, "example.com/crlf/@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]integrity.Outcome{"module example.com/crlf\n": integrity.Intact, "module example.com/evil\n": integrity.OutcomeCorrupt} {
		for ext, content := range map[string]string{".zip": string(zip), ".mod": text} {
			if err := os.WriteFile(filepath.Join(dir, "v1.0.0"+ext), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if v := checkStore(t, integrity.Options{Store: root, Layout: "goproxy"}); v.Verdict != want {
			t.Errorf("%q: %s: %+v", text, v.Verdict, v.Examples)
		}
	}
}
