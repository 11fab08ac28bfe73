package warm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/warm"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

func rebuild(t *testing.T, o warm.Options, dry bool) int64 {
	t.Helper()
	n, err := warm.Rebuild(context.Background(), o, dry)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What a warm-up built of a source or a repository can be built again without
// either, offline, and compiles nothing; what is gone is compiled, dry or not.
func TestRebuild(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // of a repository; nil: a source
		gone  bool              // whether the damage is to what the rebuild is made of
	}{
		"source":     {nil, true},
		"repository": {map[string]string{"main.go": "package main\n\nimport (\n\t_ \"os\"\n\t_ \"example.com/lib\"\n)\n\nfunc main() {}\n"}, true},
		"repository that leads elsewhere": {map[string]string{
			"other/go.mod": "module example.com/other\n", "other/o.go": "package other\n",
			"main.go": "package main\n\nimport (\n\t_ \"errors\"\n\t_ \"example.com/other\"\n)\n\nfunc main() {}\n",
			"go.mod":  "module example.com/main\n\ngo 1.21\n\nrequire example.com/other v1.0.0\n\nreplace example.com/other => ./other\n",
		}, false},
		"repository without imports": {map[string]string{"main.go": "package main\n\nfunc main() {}\n"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.NewWithStd(t)
			o := options(t, tree, "")
			o.Sources = nil
			if c.files == nil {
				o.Sources = moduleFiles(configMap(t, map[string]string{
					"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib",
				}))
			} else {
				dir, _ := program(t, tree, c.files)
				o.Sources = repository(dir)
				defer func() { cachetree.RemoveAll(t, dir) }()
			}
			if r := run(t, o); r.Outcome != warmup.Succeeded {
				t.Fatalf("%+v", r)
			}
			o.Sources = nil
			if dry, wet := rebuild(t, o, true), rebuild(t, o, false); dry+wet != 0 {
				t.Errorf("warm: %d and %d packages are compiled", dry, wet)
			}
			if err := os.Remove(cachetree.Archive(t, tree)); err != nil {
				t.Fatal(err)
			}
			dry, wet := rebuild(t, o, true), rebuild(t, o, false)
			if (dry > 0) != c.gone || (wet > 0) != c.gone {
				t.Errorf("an output is gone: %d and %d packages are compiled", dry, wet)
			}
		})
	}
}

// Without a go command or a record nothing is proven, and the error names which.
func TestRebuildCannot(t *testing.T) {
	tree := cachetree.New(t)
	o := options(t, tree, "")
	if _, err := warm.Rebuild(context.Background(), o, true); !errors.Is(err, warm.ErrNoSources) {
		t.Errorf("no record: %v", err)
	}
	o.Go = "/nowhere/go"
	if _, err := warm.Rebuild(context.Background(), o, true); !errors.Is(err, warm.ErrNoGo) {
		t.Errorf("no go command: %v", err)
	}
}

// A warm-up records when it used what: what it did not use keeps its time, and
// what no record contains has the time of its download.
func TestRecordOfUse(t *testing.T) {
	tree := cachetree.New(t)
	long := time.Now().Add(-1000 * time.Hour).UTC().Truncate(time.Second)
	if out, err := tree.Go("mod", "download", "example.com/Upper/dep@v1.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	zip := filepath.Join(tree.ModCache, "cache/download/example.com/!upper/dep/@v/v1.1.0.zip")
	if err := os.Chtimes(zip, long, long); err != nil {
		t.Fatal(err)
	}
	o := options(t, tree, configMap(t, map[string]string{
		"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib",
	}))
	for range 2 {
		before := time.Now().Add(-time.Second)
		run(t, o)
		u, err := record.ReadUsage(tree.Root)
		if err != nil || u.Began.Before(before) || len(u.Modules) != 3 {
			t.Fatalf("%+v, %v", u, err)
		}
		for v, use := range u.Modules {
			want := u.Began
			if strings.HasSuffix(v.Version, "v1.1.0") {
				want = long
			}
			if !use.Contents.Equal(want) || !use.GoMod.Equal(want) {
				t.Errorf("%s: %+v, want %s", v, use, want)
			}
		}
	}
}
