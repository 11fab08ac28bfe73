package warm_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// unlinked is a package of the standard library that no program of a module can import:
// of empty caches it is compiled in no time, without all that a program is linked from.
const unlinked = "internal/goarch"

// A warm-up never vouches for what another process left on the volume: what the
// last writer did not leave is removed before the go command can use it, also
// when the manifest to compare with is gone. A warm-up that fails records
// what it leaves.
func TestWarmOfUnsealed(t *testing.T) {
	tree := cachetree.New(t)
	source := configMap(t, map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": unlinked})
	o := options(t, tree, source)
	first := run(t, o)
	if first.Outcome != warmup.Succeeded || first.ManifestDigest == "" {
		t.Fatalf("%+v", first)
	}
	action := cachetree.ActionOf(t, tree)
	intact := read(t, action)
	planted := filepath.Join(tree.BuildCache, "00", strings.Repeat("00ab", 16)+"-a")
	plant := func() {
		t.Helper()
		fields := strings.Fields(intact)
		entry := strings.Replace(intact, fields[1], strings.Repeat("00ab", 16), 1)
		if err := os.WriteFile(planted, []byte(entry), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plant()
	o.Sealed = first.ManifestDigest
	second := run(t, o)
	if _, err := os.Stat(planted); second.Outcome != warmup.Succeeded || !os.IsNotExist(err) || !strings.Contains(second.Message, "did not leave") {
		t.Errorf("%+v, %v", second, err)
	}
	if read(t, action) != intact {
		t.Error("an entry that the writer left was changed")
	}

	plant()
	if err := os.Remove(record.ManifestPath(tree.Root)); err != nil {
		t.Fatal(err)
	}
	o.Sealed = second.ManifestDigest
	third := run(t, o)
	if _, err := os.Stat(planted); third.Outcome != warmup.Succeeded || !os.IsNotExist(err) || !strings.Contains(third.Message, "emptied the caches") {
		t.Errorf("%+v, %v", third, err)
	}

	o.Sealed = third.ManifestDigest
	o.Sources = moduleFiles(configMap(t, map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib/none"}))
	failed := run(t, o)
	v, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache})
	if err != nil || failed.Outcome != warmup.Failed || failed.ManifestDigest != v.Digest {
		t.Errorf("%+v, %v: want digest %s", failed, err, v.Digest)
	}
	o.ExpectGo = "1.2"
	if r := run(t, o); r.Outcome != warmup.Failed || r.ManifestDigest != o.Sealed {
		t.Errorf("nothing was written: %+v", r)
	}
}

// TestWarmOfUnvouched holds that a warm-up begins with empty caches if no writer
// has recorded what it left in them, as after a first one that was killed: it
// never vouches for what another process may have put there.
func TestWarmOfUnvouched(t *testing.T) {
	tree := cachetree.New(t)
	source := configMap(t, map[string]string{"go.mod": "module example.com/main\n\ngo 1.21\n", "packages": unlinked})
	o := options(t, tree, source)
	o.NeverSealed = true
	before := cachetree.ActionOf(t, tree) // of a process that recorded nothing
	r := run(t, o)
	if r.Outcome != warmup.Succeeded || !strings.Contains(r.Message, "emptied the caches: no writer has recorded") || r.Modules != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(before); !os.IsNotExist(err) {
		t.Errorf("an entry of another process is sealed: %v", err)
	}
	o.NeverSealed, o.Sealed = false, r.ManifestDigest
	if r := run(t, o); r.Outcome != warmup.Succeeded || r.Message != "" {
		t.Errorf("the next one: %+v", r)
	}
}

// TestStop holds that a warm-up that takes too long records what it has done and
// fails, so that the next one continues from there.
func TestStop(t *testing.T) {
	tree := cachetree.New(t)
	stop, released := make(chan time.Time, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case stop <- time.Time{}:
		default:
		}
		<-released
	}))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(released) })
	o := options(t, tree, configMap(t, map[string]string{"go.mod": "module example.com/main\n\ngo 1.21\n", "packages": "unsafe"}))
	o.Sources = append(o.Sources, moduleFiles(configMap(t, map[string]string{
		"go.mod": "module example.com/other\n\ngo 1.21\n\nrequire example.com/slow v1.0.0\n", "packages": "unsafe",
	}))...)
	o.Stop, o.Env = stop, append(o.Env, "GOPROXY="+slow.URL)
	r := run(t, o)
	v, err := integrity.Check(t.Context(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache})
	if err != nil || r.Outcome != warmup.Failed || r.ManifestDigest != v.Digest || r.BuildEntries == 0 || !strings.HasPrefix(r.Message, "stopped before the deadline") {
		t.Errorf("%+v, %v: want digest %s", r, err, v.Digest)
	}
	o.Sealed, o.Stop, o.Sources = r.ManifestDigest, nil, o.Sources[:1]
	if next := run(t, o); next.Outcome != warmup.Succeeded || next.BuildEntries < r.BuildEntries || next.Message != "" {
		t.Errorf("the next one: %+v", next)
	}
}

// scriptedGo is a go command that runs a shell script before the real one.
func scriptedGo(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "go")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\nexec go \"$@\"\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return name
}

// TestWarmOfCorruptEntry holds that the go command never starts on an entry that the
// check before it found corrupt, and that the report counts what was removed.
func TestWarmOfCorruptEntry(t *testing.T) {
	tree := cachetree.New(t)
	files := map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib"}
	o := options(t, tree, configMap(t, files))
	first := run(t, o)
	archive := cachetree.Archive(t, tree)
	intact := read(t, archive)
	spoil := func() {
		t.Helper()
		cachetree.Edit(t, archive, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
	spoil()
	o.Sealed = first.ManifestDigest
	started, rotten := filepath.Join(t.TempDir(), "started"), filepath.Join(t.TempDir(), "rotten")
	if err := os.WriteFile(rotten, []byte(read(t, archive)), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Go = scriptedGo(t, `[ "$1" != build ] || ! cmp -s `+rotten+` `+archive+` || touch `+started)
	second := run(t, o)
	if second.Outcome != warmup.Succeeded || second.CorruptRemoved != 1 || !strings.Contains(second.Message, "corrupt") || second.ManifestDigest != first.ManifestDigest || read(t, archive) != intact {
		t.Errorf("%+v, want the digest %s", second, first.ManifestDigest)
	}
	if _, err := os.Stat(started); !os.IsNotExist(err) {
		t.Errorf("the go command was started on the corrupt entry: %v", err)
	}

	spoil()
	files["packages"] = "example.com/lib/none"
	o.Sources = moduleFiles(configMap(t, files))
	if r := run(t, o); r.Outcome != warmup.Failed || r.CorruptRemoved != 1 || !strings.Contains(r.Summary(), "corrupt") {
		t.Errorf("a warm-up that fails: %+v", r)
	}
}

// TestNoDigestOfCorrupt holds that a warm-up that leaves a corrupt entry vouches for
// nothing: it reports no digest, and the manifest of the last writer stays, so that the
// next warm-up removes what this one may have derived from the entry.
func TestNoDigestOfCorrupt(t *testing.T) {
	tree := cachetree.New(t)
	files := map[string]string{"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib"}
	o := options(t, tree, configMap(t, files))
	first := run(t, o)
	archive := cachetree.Archive(t, tree)
	rotten := filepath.Join(t.TempDir(), "rotten")
	data := []byte(read(t, archive))
	data[len(data)/2] ^= 1
	if err := os.WriteFile(rotten, data, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Sealed = first.ManifestDigest
	o.Go = scriptedGo(t, `[ "$1" != build ] || cat `+rotten+` >`+archive)
	for packages, want := range map[string]string{"example.com/lib": warmup.Corrupt, "example.com/lib/none": warmup.Failed} {
		files["packages"] = packages
		o.Sources = moduleFiles(configMap(t, files))
		if r := run(t, o); r.Outcome != want || r.ManifestDigest != "" || !strings.Contains(r.Summary(), "corrupt") {
			t.Errorf("%s: %+v", packages, r)
		}
	}
	o.Go = "go"
	if r := run(t, o); strings.Contains(r.Summary(), "emptied the caches") || r.CorruptRemoved != 1 {
		t.Errorf("the next one: %+v", r)
	}
}
