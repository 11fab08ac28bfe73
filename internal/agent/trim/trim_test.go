package trim_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func intact(t *testing.T, tree *cachetree.Tree) integrity.Verdict {
	t.Helper()
	v, err := integrity.Check(context.Background(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != integrity.Intact || v.Recoverable > 0 {
		t.Fatalf("%s: %+v", v.Verdict, v.Examples)
	}
	return v
}

// A plan is approved by its digest; applied, the cache is within its bound,
// intact, and still builds the same binary.
func TestBuildCache(t *testing.T) {
	tree := cachetree.New(t)
	want, out, err := tree.Build()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	later := time.Now().Add(24 * time.Hour)
	o := trim.Options{BuildCache: tree.BuildCache, MaxSize: 4 << 20, MinAge: 2 * time.Hour, PlanOnly: true, Clock: func() time.Time { return later }}
	plan, err := trim.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Applied || plan.Build.Entries == 0 || plan.Build.Bytes == 0 {
		t.Fatalf("plan: %+v", plan.Build)
	}
	o.PlanOnly, o.AsOf, o.Approved = false, plan.AsOf, "sha256:other"
	if _, err := trim.Run(context.Background(), o); !errors.Is(err, trim.ErrChanged) {
		t.Fatalf("another plan was applied: %v", err)
	}
	o.Approved = plan.Digest
	done, err := trim.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if done.Build.Removed != plan.Build.Entries+plan.Build.Outputs {
		t.Errorf("removed %d, planned %d and %d", done.Build.Removed, plan.Build.Entries, plan.Build.Outputs)
	}
	intact(t, tree)
	again, err := trim.Run(context.Background(), trim.Options{BuildCache: tree.BuildCache, MaxSize: 4 << 20, PlanOnly: true, Clock: o.Clock})
	if err != nil || again.Build.BeforeBytes > 4<<20 || again.Build.Entries != 0 {
		t.Errorf("after the trim: %+v, %v", again.Build, err)
	}
	if got, out, err := tree.Build(); err != nil || got != want {
		t.Errorf("build after the trim: %s, want %s: %v\n%s", got, want, err, out)
	}
}

// What was used since the plan was made stays.
func TestSparesWhatIsUsed(t *testing.T) {
	tree := cachetree.New(t)
	later := time.Now().Add(24 * time.Hour)
	o := trim.Options{BuildCache: tree.BuildCache, MaxSize: 1, MinAge: 2 * time.Hour, AsOf: later, Clock: func() time.Time { return later }}
	used := cachetree.ActionOf(t, tree)
	if err := os.Chtimes(used, later, later); err != nil {
		t.Fatal(err)
	}
	if _, err := trim.Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if cachetree.Missing(used) || cachetree.Missing(cachetree.Archive(t, tree)) {
		t.Error("an entry in use was removed")
	}
	intact(t, tree)
}

func TestModuleCache(t *testing.T) {
	tree := cachetree.New(t)
	o := trim.Options{ModCache: tree.ModCache, KeepGoSum: []string{tree.GoSum()}, Exclusive: true, Clock: time.Now}
	r, err := trim.Run(context.Background(), o)
	if err != nil || r.Modules.Removed != 0 {
		t.Fatalf("what go.sum names was removed: %+v, %v", r.Modules, err)
	}
	sum := filepath.Join(t.TempDir(), "go.sum")
	if err := os.WriteFile(sum, []byte("example.com/lib v1.2.0/go.mod h1:wD1iMyu54b00i1n3tD5IapKBSchONdG5ElqMgdlKRxI=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.KeepGoSum = []string{sum}
	if r, err = trim.Run(context.Background(), o); err != nil || r.Modules.Removed != 2 {
		t.Fatalf("%+v, %v", r.Modules, err)
	}
	v := intact(t, tree)
	if v.Counts.Zips != 0 || v.Counts.Dirs != 0 || v.Counts.Modules != 1 {
		t.Errorf("left: %+v", v.Counts)
	}
	if _, out, err := tree.Build(); err != nil {
		t.Errorf("build after the trim: %v\n%s", err, out)
	}
}

func TestUsage(t *testing.T) {
	for name, o := range map[string]trim.Options{
		"nothing":             {},
		"modules in use":      {ModCache: "x", KeepGoSum: []string{"y"}},
		"no keep-set":         {ModCache: "x", Exclusive: true},
		"young beside builds": {BuildCache: "x", MinAge: time.Minute, Grace: time.Minute},
	} {
		o.Clock = time.Now
		if _, err := trim.Run(context.Background(), o); !errors.Is(err, trim.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lay makes files of the given sizes.
func lay(t *testing.T, root string, sizes map[string]int) {
	t.Helper()
	for name, size := range sizes {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// With a bound of size, versions go in a fixed order until the cache fits, and
// not one more: toolchains first, then the largest.
func TestMaxModSize(t *testing.T) {
	const download, toolchain = "cache/download/", "golang.org/toolchain"
	root := t.TempDir()
	lay(t, root, map[string]int{
		download + "example.com/a/@v/v1.0.0.zip": 80, download + "example.com/a/@v/v1.0.0.mod": 15, download + "example.com/a/@v/v1.0.0.info": 5, // 100
		"example.com/a@v1.1.0/a.go": 150, "example.com/a@v1.1.0/sub/b.go": 50, // 200, extracted alone, beside files of another version
		"example.com/b@v1.0.0/b.go":                                  400,                                                                  // extracted alone, without a directory @v
		download + toolchain + "/@v/v0.0.1-go1.25.0.linux-amd64.zip": 50, download + toolchain + "/@v/v0.0.1-go1.26.8.linux-amd64.zip": 60, // the newest stays
		download + "example.com/kept/@v/v1.0.0.zip": 1000, download + "example.com/kept/@v/v1.0.0.mod": 10,
	})
	keep := filepath.Join(t.TempDir(), "go.sum")
	const sum = "h1:wD1iMyu54b00i1n3tD5IapKBSchONdG5ElqMgdlKRxI="
	if err := os.WriteFile(keep, []byte("example.com/kept v1.0.0 "+sum+"\nexample.com/kept v1.0.0/go.mod "+sum+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const before = 100 + 200 + 400 + 50 + 60 + 1010
	for _, tt := range []struct {
		max     int64
		entries int
		bytes   int64
	}{
		{0, 4, 50 + 400 + 200 + 100}, // no bound: all that is not kept
		{before + 1, 0, 0},
		{before, 0, 0},
		{before - 1, 1, 50},
		{before - 50, 1, 50},
		{before - 51, 2, 450},
		{before - 450, 2, 450},
		{before - 451, 3, 650},
		{before - 650, 3, 650},
		{before - 651, 4, 750},
		{1, 4, 750}, // what is kept stays, whatever the bound
	} {
		r, err := trim.Run(t.Context(), trim.Options{ModCache: root, KeepGoSum: []string{keep}, MaxModSize: tt.max, PlanOnly: true, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if m := r.Modules; m.BeforeBytes != before || m.Entries != tt.entries || m.Bytes != tt.bytes {
			t.Errorf("at most %d bytes: %d of %d bytes in %d versions go, want %d of %d in %d: %v", tt.max, m.Bytes, m.BeforeBytes, m.Entries, tt.bytes, before, tt.entries, m.Versions)
		}
	}
	if r, err := trim.Run(t.Context(), trim.Options{ModCache: root, KeepGoSum: []string{keep + ".none"}, PlanOnly: true, Clock: time.Now}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a go.sum that is not there: %+v, %v", r.Modules, err)
	}
}

// The newest toolchain stays, as the go command orders releases: a release candidate
// is newer than all releases of the version before, and older than its own.
func TestNewestToolchain(t *testing.T) {
	const download = "cache/download/golang.org/toolchain/@v/v0.0.1-go"
	keep := filepath.Join(t.TempDir(), "go.sum")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for stays, others := range map[string][]string{
		"1.26.10.linux-amd64":  {"1.26.9.linux-amd64", "1.25.12.linux-amd64"},
		"1.27rc1.linux-amd64":  {"1.26.9.linux-amd64"},
		"1.27rc2.linux-amd64":  {"1.27rc1.linux-amd64"},
		"1.27.0.windows-arm64": {"1.27rc1.linux-amd64", "1.26.9.linux-amd64"},
	} {
		root := t.TempDir()
		lay(t, root, map[string]int{download + stays + ".zip": 10})
		for _, other := range others {
			lay(t, root, map[string]int{download + other + ".zip": 10})
		}
		r, err := trim.Run(t.Context(), trim.Options{ModCache: root, KeepGoSum: []string{keep}, Exclusive: true, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(root, download+"*.zip"))
		if err != nil || len(left) != 1 || left[0] != filepath.Join(root, download+stays+".zip") {
			t.Errorf("beside %s: left %v, removed %v; %v", stays, left, r.Modules.Versions, err)
		}
	}
}

// An output may be a directory with one file in it: its size is the file's.
func TestOutputDirectory(t *testing.T) {
	root := t.TempDir()
	now := time.Now()
	for i, inner := range []string{"", "program"} {
		e := buildcache.Entry{Action: buildcache.ID{1, byte(i)}, Output: buildcache.ID{2, byte(i)}, Size: 1000, Time: now}
		lay(t, root, map[string]int{e.Action.ActionPath(): 0, filepath.Join(e.Output.OutputPath(), inner): 1000})
		if err := os.WriteFile(filepath.Join(root, e.Action.ActionPath()), e.Format(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := trim.Options{BuildCache: root, MaxSize: 1, PlanOnly: true, AsOf: now.Add(24 * time.Hour), Clock: time.Now}
	r, err := trim.Run(t.Context(), o)
	if err != nil || r.Build.BeforeBytes != 2000 || r.Build.Bytes != 2000 || r.Build.Entries != 2 || r.Build.Outputs != 2 {
		t.Fatalf("%+v, %v; want 2 entries, 2 outputs, 2000 bytes", r.Build, err)
	}
	o.PlanOnly = false
	if r, err = trim.Run(t.Context(), o); err != nil || r.Build.Removed != 4 {
		t.Errorf("%+v, %v", r.Build, err)
	}
	if left, err := filepath.Glob(filepath.Join(root, "02", "*")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestClone holds that what builds use on a clone of a sealed cache stays: the go command
// marks no use of an entry whose time is ahead of the clock, so that the last use is not
// known before a trim has moved the times back.
func TestClone(t *testing.T) {
	for name, bounds := range map[string]trim.Options{
		"size": {MaxSize: 1, MinAge: 2 * time.Hour},
		"age":  {MaxAge: 12 * time.Hour, MinAge: 2 * time.Hour},
	} {
		tree := cachetree.New(t)
		now := time.Now()
		warmed := now.Add(-24 * time.Hour)
		entries, err := filepath.Glob(filepath.Join(tree.BuildCache, "??", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range entries {
			if err := os.Chtimes(path, warmed, warmed); err != nil {
				t.Fatal(err)
			}
		}
		if err := volume.Keep(tree.BuildCache, warmed); err != nil {
			t.Fatal(err)
		}
		if _, out, err := tree.Build(); err != nil { // a pure hit
			t.Fatalf("%v\n%s", err, out)
		}
		used, unused := []string{cachetree.ActionOf(t, tree), cachetree.Archive(t, tree)}, cachetree.IndexOf(t, tree)
		o := bounds
		o.BuildCache, o.PlanOnly, o.Clock = tree.BuildCache, true, func() time.Time { return now }
		plan, err := trim.Run(t.Context(), o)
		if err != nil || plan.Build.Entries > 0 || !mtime(t, used[0]).After(now) {
			t.Errorf("%s: a plan: %+v, %v, time %s", name, plan.Build, err, mtime(t, used[0]))
		}
		o.PlanOnly, o.Approved, o.AsOf = false, plan.Digest, plan.AsOf
		if _, err := trim.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for _, path := range append(used, unused) {
			if cachetree.Missing(path) {
				t.Errorf("%s: %s is gone, which a build may have used", name, path)
			} else if got := mtime(t, path); !got.Equal(plan.AsOf) {
				t.Errorf("%s: no use of %s is marked: its time is %s", name, path, got)
			}
		}
		later := now.Add(24 * time.Hour)
		for _, path := range used { // as the go command does
			if err := os.Chtimes(path, later, later); err != nil {
				t.Fatal(err)
			}
		}
		o.Approved, o.AsOf, o.Clock = "", later, func() time.Time { return later }
		if _, err := trim.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if cachetree.Missing(used[0]) || cachetree.Missing(used[1]) || !cachetree.Missing(unused) {
			t.Errorf("%s: the next run did not remove just what was not used", name)
		}
	}
}

func mtime(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}
