package trim_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/usage"
)

var asOf = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func ago(hours int) time.Time { return asOf.Add(-time.Duration(hours) * time.Hour) }

func version(path, v string) module.Version { return module.Version{Path: path, Version: v} }

// entry lays an action entry and its output of a size, used so many hours ago.
func entry(t *testing.T, root string, id byte, size int, hours int) buildcache.Entry {
	t.Helper()
	e := buildcache.Entry{Action: buildcache.ID{1, id}, Output: buildcache.ID{2, id}, Size: int64(size), Time: ago(hours)}
	lay(t, root, map[string]int{e.Action.ActionPath(): 0, e.Output.OutputPath(): size})
	if err := os.WriteFile(filepath.Join(root, e.Action.ActionPath()), e.Format(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{e.Action.ActionPath(), e.Output.OutputPath()} {
		if err := os.Chtimes(filepath.Join(root, name), ago(hours), ago(hours)); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// files are the regular files below a directory, by their paths.
func files(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(root, name)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// caches are a build cache with entries of 100 bytes that were used 50, 30 and 1 hours
// ago, and a module cache whose versions take 200, 300, 400 and 1000 bytes.
func caches(t *testing.T) (trim.Options, string, string) {
	t.Helper()
	build, mod := t.TempDir(), t.TempDir()
	for id, hours := range map[byte]int{1: 50, 2: 30, 3: 1} {
		entry(t, build, id, 100, hours)
	}
	const download = "cache/download/"
	lay(t, mod, map[string]int{
		download + "example.com/old/@v/v1.0.0.zip": 150, download + "example.com/old/@v/v1.0.0.mod": 30, download + "example.com/old/@v/v1.0.0.info": 20,
		download + "example.com/old/@v/v1.0.0.ziphash": 0, download + "example.com/old/@v/v1.0.0.lock": 0, download + "example.com/old/@v/v1.1.0.mod": 0, download + "example.com/old/@v/list": 0,
		download + "example.com/read/@v/v1.0.0.zip": 200, download + "example.com/read/@v/v1.0.0.mod": 50, "example.com/read@v1.0.0/dir/a.go": 50,
		download + "example.com/young/@v/v1.0.0.zip": 400, download + "example.com/unseen/@v/v1.0.0.zip": 1000,
	})
	used := &usage.Record{Began: ago(2), Ended: ago(1), Modules: map[module.Version]usage.Use{
		version("example.com/old", "v1.0.0"):   {Contents: ago(60), GoMod: ago(60)},
		version("example.com/old", "v1.1.0"):   {GoMod: ago(2)},
		version("example.com/read", "v1.0.0"):  {Contents: ago(40), GoMod: ago(2)},
		version("example.com/young", "v1.0.0"): {Contents: ago(2)},
	}}
	o := trim.Options{BuildCache: build, ModCache: mod, Used: used, MinAge: 2 * time.Hour, PlanOnly: true, Exclusive: true, AsOf: asOf, Clock: func() time.Time { return asOf }}
	return o, build, mod
}

// TestTogether holds what goes of both caches of a volume under one bound: what was used
// least recently first, and nothing that the last warm-up used or that is in no record.
func TestTogether(t *testing.T) {
	const all = 300 + 200 + 300 + 400 + 1000
	for name, tt := range map[string]struct {
		change           func(*trim.Options)
		entries, outputs int
		bytes            int64
		versions         string
		modBytes, over   int64
	}{
		"no bound":                   {func(*trim.Options) {}, 0, 0, 0, "", 0, 0},
		"all fits":                   {func(o *trim.Options) { o.MaxSize = all }, 0, 0, 0, "", 0, 0},
		"a byte too many":            {func(o *trim.Options) { o.MaxSize = all - 1 }, 0, 0, 0, "example.com/old@v1.0.0", 200, 0},
		"the least recent is enough": {func(o *trim.Options) { o.MaxSize = all - 200 }, 0, 0, 0, "example.com/old@v1.0.0", 200, 0},
		"and the next":               {func(o *trim.Options) { o.MaxSize = all - 201 }, 1, 1, 100, "example.com/old@v1.0.0", 200, 0},
		"and the one after it":       {func(o *trim.Options) { o.MaxSize = all - 301 }, 1, 1, 100, "example.com/old@v1.0.0 example.com/read@v1.0.0", 500, 0},
		"as far as it goes":          {func(o *trim.Options) { o.MaxSize = all - 700 }, 2, 2, 200, "example.com/old@v1.0.0 example.com/read@v1.0.0", 500, 0},
		"further than it goes":       {func(o *trim.Options) { o.MaxSize = all - 701 }, 2, 2, 200, "example.com/old@v1.0.0 example.com/read@v1.0.0", 500, 1},
		"less than what stays":       {func(o *trim.Options) { o.MaxSize = 900 }, 2, 2, 200, "example.com/old@v1.0.0 example.com/read@v1.0.0", 500, all - 700 - 900},
		"by age":                     {func(o *trim.Options) { o.MaxAge = 45 * time.Hour }, 1, 1, 100, "example.com/old@v1.0.0", 200, 0},
		"the build cache alone":      {func(o *trim.Options) { o.MaxSize, o.ModCache = 1, "" }, 2, 2, 200, "", 0, 99},
		"the module cache alone":     {func(o *trim.Options) { o.MaxSize, o.BuildCache = 1, "" }, 0, 0, 0, "example.com/old@v1.0.0 example.com/read@v1.0.0", 500, 1400 - 1},
	} {
		o, _, _ := caches(t)
		tt.change(&o)
		r, err := trim.Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		build, modules := r.Build, r.Modules
		if (build == nil) != (o.BuildCache == "") || (modules == nil) != (o.ModCache == "") {
			t.Fatalf("%s: %+v", name, r)
		}
		if build == nil {
			build = &trim.Share{}
		} else if build.BeforeBytes != 300 {
			t.Errorf("%s: the build cache has %d bytes", name, build.BeforeBytes)
		}
		if modules == nil {
			modules = &trim.Share{}
		} else if modules.BeforeBytes != all-300 {
			t.Errorf("%s: the module cache has %d bytes", name, modules.BeforeBytes)
		}
		if build.Entries != tt.entries || build.Outputs != tt.outputs || build.Bytes != tt.bytes || strings.Join(modules.Versions, " ") != tt.versions || modules.Bytes != tt.modBytes || r.OverBytes != tt.over || r.Applied {
			t.Errorf("%s: %+v, %+v, over %d", name, build, modules, r.OverBytes)
		}
		if tt.entries == 2 && (!build.Oldest.Equal(ago(50)) || !build.Newest.Equal(ago(30))) || tt.entries == 0 && build.Oldest != nil {
			t.Errorf("%s: entries from %v to %v", name, build.Oldest, build.Newest)
		}
		if tt.modBytes == 500 && (!modules.Oldest.Equal(ago(60)) || !modules.Newest.Equal(ago(40))) {
			t.Errorf("%s: versions from %v to %v", name, modules.Oldest, modules.Newest)
		}
	}
}

// TestTogetherApplied holds what is left after a plan for both caches was applied: of a
// version whose go.mod was used later, that stays, and lists name what is left.
func TestTogetherApplied(t *testing.T) {
	o, build, mod := caches(t)
	o.MaxSize, o.PlanOnly = 1, false
	trash := filepath.Join(mod, "cache/trim-trash/7")
	lay(t, trash, map[string]int{"left/by/another.run": 1})
	if err := errors.Join(os.Chmod(filepath.Join(trash, "left"), 0o500), os.Chmod(filepath.Join(mod, "example.com/read@v1.0.0"), 0o500)); err != nil {
		t.Fatal(err)
	}
	r, err := trim.Run(t.Context(), o)
	if err != nil || !r.Applied || r.Build.Removed != 4 || r.Build.Spared != 0 || r.Modules.Removed != 2 {
		t.Fatalf("%+v, %+v, %v", r.Build, r.Modules, err)
	}
	want := []string{
		"cache/download/example.com/old/@v/list", "cache/download/example.com/old/@v/v1.1.0.mod", "cache/download/example.com/read/@v/list",
		"cache/download/example.com/read/@v/v1.0.0.mod", "cache/download/example.com/unseen/@v/v1.0.0.zip", "cache/download/example.com/young/@v/v1.0.0.zip",
	}
	if got := files(t, mod); !slices.Equal(got, want) {
		t.Errorf("left:\n%s", strings.Join(got, "\n"))
	}
	for dir, want := range map[string]string{"old": "v1.1.0\n", "read": "v1.0.0\n"} {
		if got, err := os.ReadFile(filepath.Join(mod, "cache/download/example.com", dir, "@v/list")); err != nil || string(got) != want {
			t.Errorf("the list of %s: %q, %v", dir, got, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(trash)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the trash is left: %v", err)
	}
	if got := files(t, build); len(got) != 3 || got[2] != "trim.txt" {
		t.Errorf("left of the build cache: %v", got)
	}
}

// TestDigest holds that another plan has another digest, and the same plan the same.
func TestDigest(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*trim.Options){
		"nothing": func(*trim.Options) {}, "one version": func(o *trim.Options) { o.MaxSize = 2199 }, "and an entry": func(o *trim.Options) { o.MaxSize = 1999 },
		"more": func(o *trim.Options) { o.MaxSize = 1 },
		"the go.mod goes as well": func(o *trim.Options) {
			o.MaxSize = 1
			o.Used.Modules = maps.Clone(o.Used.Modules)
			o.Used.Modules[version("example.com/read", "v1.0.0")] = usage.Use{Contents: ago(40), GoMod: ago(40)}
		},
	} {
		o, _, _ := caches(t)
		change(&o)
		first, err := trim.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		second, err := trim.Run(t.Context(), o)
		if err != nil || first.Digest != second.Digest || seen[first.Digest] != "" || !strings.HasPrefix(first.Digest, "sha256:") {
			t.Errorf("%s: %s, then %s, as %q; %v", name, first.Digest, second.Digest, seen[first.Digest], err)
		}
		seen[first.Digest] = name
	}
}

// paused is a context that does something when its end is waited for.
type paused struct {
	context.Context
	meanwhile func()
}

// Done implements context.Context.
func (p paused) Done() <-chan struct{} {
	p.meanwhile()
	return p.Context.Done()
}

// TestGrace holds that outputs are removed only after a pause, and not if an entry names
// them then, or if the run is ended meanwhile.
func TestGrace(t *testing.T) {
	root := t.TempDir()
	e := entry(t, root, 1, 100, 50)
	o := trim.Options{BuildCache: root, MaxSize: 1, MinAge: 2 * time.Hour, Grace: time.Hour, AsOf: asOf, Clock: func() time.Time { return asOf }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := trim.Run(ctx, o); !errors.Is(err, context.Canceled) || r.Applied || r.Build.Removed != 1 || !strings.Contains(err.Error(), "stopped before outputs were removed") {
		t.Errorf("%+v, %v", r.Build, err)
	}
	if _, err := os.Stat(filepath.Join(root, e.Output.OutputPath())); err != nil {
		t.Errorf("the output: %v", err)
	}
	entry(t, root, 2, 100, 50)
	again := buildcache.Entry{Action: buildcache.ID{1, 9}, Output: buildcache.ID{2, 2}, Size: 100, Time: ago(1)}
	var named sync.Once
	pause := paused{t.Context(), func() { // once the entry is gone, another one names its output
		if _, err := os.Stat(filepath.Join(root, buildcache.ID{1, 2}.ActionPath())); errors.Is(err, os.ErrNotExist) {
			named.Do(func() {
				if err := os.WriteFile(filepath.Join(root, again.Action.ActionPath()), again.Format(), 0o600); err != nil {
					t.Error(err)
				}
			})
		}
	}}
	o.Grace = 50 * time.Millisecond
	began := time.Now()
	r, err := trim.Run(pause, o)
	if err != nil || r.Build.Spared != 1 || r.Build.Removed != 2 || time.Since(began) < o.Grace {
		t.Errorf("after %s: %+v, %v", time.Since(began), r.Build, err)
	}
	if _, err := os.Stat(filepath.Join(root, buildcache.ID{2, 2}.OutputPath())); err != nil {
		t.Errorf("an output that is named again: %v", err)
	}
}

// TestYoungSinceThePlan holds that what was used between the plan and its removal stays,
// to the hour.
func TestYoungSinceThePlan(t *testing.T) {
	for hours, removed := range map[int]int{2: 2, 1: 0} {
		root := t.TempDir()
		e := entry(t, root, 1, 100, hours)
		r, err := trim.Run(t.Context(), trim.Options{BuildCache: root, MaxAge: time.Minute, MinAge: 2 * time.Hour, AsOf: asOf, Clock: func() time.Time { return asOf }})
		if err != nil || r.Build.Removed != removed {
			t.Errorf("used %d hours ago: %+v, %v", hours, r.Build, err)
		}
		if _, err := os.Stat(filepath.Join(root, e.Action.ActionPath())); (err == nil) != (removed == 0) {
			t.Errorf("used %d hours ago: %v", hours, err)
		}
	}
}

// TestMalformedEntries holds that an entry which cannot be read goes by its age, and what
// is no entry stays.
func TestMalformedEntries(t *testing.T) {
	root := t.TempDir()
	bad := buildcache.ID{1, 1}.ActionPath()
	lay(t, root, map[string]int{bad: 40, "README": 5, "01/stray": 5, "notes/x": 5, filepath.Join(filepath.Dir(bad), "dir", "file"): 1})
	if err := os.Chtimes(filepath.Join(root, bad), ago(50), ago(50)); err != nil {
		t.Fatal(err)
	}
	r, err := trim.Run(t.Context(), trim.Options{BuildCache: root, MaxAge: 24 * time.Hour, MinAge: 2 * time.Hour, AsOf: asOf, Clock: func() time.Time { return asOf }})
	if err != nil || r.Build.Entries != 1 || r.Build.Outputs != 0 || r.Build.Removed != 1 {
		t.Errorf("%+v, %v", r.Build, err)
	}
	if got := files(t, root); len(got) != 5 {
		t.Errorf("left: %v", got)
	}
}

// TestMissingCaches holds that a cache which cannot be read is an error that names it.
func TestMissingCaches(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	keep := filepath.Join(t.TempDir(), "go.sum")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]trim.Options{
		"build cache: ":      {BuildCache: gone},
		"module cache: ":     {ModCache: gone, KeepGoSum: []string{keep}},
		"build cache: open":  {BuildCache: gone, Used: &usage.Record{}},
		"module cache: open": {ModCache: gone, Used: &usage.Record{}},
	} {
		o.PlanOnly, o.Clock = true, time.Now
		if _, err := trim.Run(t.Context(), o); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), strings.TrimSuffix(want, "open")) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestUsageBounds holds which options contradict each other, and which do not.
func TestUsageBounds(t *testing.T) {
	root := t.TempDir()
	for name, tt := range map[string]struct {
		options trim.Options
		want    string // empty: accepted
	}{
		"young without a pause":     {trim.Options{BuildCache: root, MinAge: time.Minute}, ""},
		"old with a pause":          {trim.Options{BuildCache: root, MinAge: buildcache.MinAge, Grace: time.Millisecond}, ""},
		"young with a pause":        {trim.Options{BuildCache: root, MinAge: buildcache.MinAge - 1, Grace: time.Millisecond}, "--min-age below 2h0m0s"},
		"modules only planned":      {trim.Options{ModCache: root, Used: &usage.Record{}, PlanOnly: true}, ""},
		"modules, beside builds":    {trim.Options{ModCache: root, Used: &usage.Record{}}, "--exclusive"},
		"modules, nothing is known": {trim.Options{ModCache: root, Exclusive: true}, "--keep-gosum"},
		"nothing":                   {trim.Options{}, "--buildcache or --modcache"},
	} {
		tt.options.Clock = time.Now
		r, err := trim.Run(t.Context(), tt.options)
		if (err == nil) != (tt.want == "") || err != nil && (!errors.Is(err, trim.ErrUsage) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (r.Digest == "" || r.AsOf.IsZero() || r.Applied == tt.options.PlanOnly) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
