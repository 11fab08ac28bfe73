package volume_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/testing/cachetree"
)

// late is how long a snapshot lies before it is used.
const late = 400 * 24 * time.Hour

// TestLateUseKeepsEverything builds with the real go command from a build cache
// that was sealed 400 days ago: all is still there and hit. The same cache that
// was not sealed loses what this one build did not use: another would find it
// cold.
func TestLateUseKeepsEverything(t *testing.T) {
	for name, tt := range map[string]struct {
		seal bool
		lost bool
	}{"sealed": {seal: true}, "not sealed": {lost: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := cachetree.New(t)
			// There is no clock to turn: all that the go command compares with
			// its own lies 400 days back instead.
			then := time.Now().Add(-late)
			each(t, tree.BuildCache, func(path string) {
				if err := os.Chtimes(path, then, then); err != nil {
					t.Fatal(err)
				}
			})
			if tt.seal {
				if err := volume.Keep(tree.BuildCache, then); err != nil {
					t.Fatal(err)
				}
			} else if err := volume.MarkTrimmed(tree.BuildCache, then); err != nil {
				t.Fatal(err)
			}
			before := entries(t, tree.BuildCache)
			if len(before) < 100 {
				t.Fatalf("the cache has only %d entries", len(before))
			}
			tree.Offline = true
			compiled := compiles(t, tree)
			after := entries(t, tree.BuildCache)
			lost := 0
			for entry := range before {
				if !after[entry] {
					lost++
				}
			}
			t.Logf("%s: of %d entries %d are lost; %d packages were compiled", name, len(before), lost, compiled)
			if tt.lost != (lost > 0) || compiled > 0 {
				t.Errorf("of %d entries %d are lost, and %d packages were compiled", len(before), lost, compiled)
			}
		})
	}
}

// compiles builds the main module and counts the packages that were compiled.
func compiles(t *testing.T, tree *cachetree.Tree) int {
	t.Helper()
	out, err := tree.Go("build", "-x", "-o", os.DevNull, ".")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Count(out, "/compile -o ")
}

func each(t *testing.T, dir string, do func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			do(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	each(t, dir, func(path string) {
		if _, kind := buildcache.ParseName(filepath.Base(path)); kind != buildcache.Other {
			all[path] = true
		}
	})
	return all
}
