package warm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// With GOFIPS140 the go command extracts a module from its own GOROOT: there is
// no zip, no .ziphash and no line of a go.sum file. The warm-up records what
// vouches for it.
func TestWarmWithFIPS140(t *testing.T) {
	tree := cachetree.New(t)
	source := configMap(t, map[string]string{
		"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "crypto/internal/fips140", // which is not linked
	})
	o := options(t, tree, source)
	o.Env = append(o.Env, "GOFIPS140=v1.0.0", "GOPROXY=off")
	if r := run(t, o); r.Outcome != warmup.Succeeded {
		t.Fatalf("%+v", r)
	}
	dirs, err := filepath.Glob(filepath.Join(tree.ModCache, "golang.org", "fips140@v1.0.0*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("extracted: %v, %v", dirs, err)
	}
	check := func() integrity.Verdict {
		t.Helper()
		flags := caches.Flags{ModCache: tree.ModCache, BuildCache: tree.BuildCache}
		o, err := flags.Options(context.Background(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		v, err := integrity.Check(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := check(); v.Verdict != integrity.Intact || v.Recoverable != 0 || len(v.Notes) > 0 {
		t.Errorf("%s: %s: %v: %+v", v.Verdict, v.Message, v.Notes, v.Examples)
	}
	license := filepath.Join(dirs[0], "LICENSE")
	good := read(t, license)
	cachetree.Edit(t, license, func(b []byte) []byte { b[0] ^= 1; return b })
	v := check()
	if v.Verdict != integrity.OutcomeCorrupt || v.Findings[integrity.Corrupt] != 1 || v.Corrupt != 1 {
		t.Errorf("a changed file: %s: %s: %+v", v.Verdict, v.Message, v.Examples)
	}
	cachetree.Edit(t, license, func([]byte) []byte { return []byte(good) })

	// A warm-up of another release, whose GOROOT does not have this version, keeps
	// the record.
	o.Env = append(o.Env, "GOFIPS140=off")
	recorded := read(t, record.SnapshotsPath(tree.Root))
	if r := run(t, o); r.Outcome != warmup.Succeeded || read(t, record.SnapshotsPath(tree.Root)) != recorded {
		t.Errorf("%+v: the record was %q", r, recorded)
	}
	for what, damage := range map[string]func(){
		"no record":        func() { _ = os.Remove(record.SnapshotsPath(tree.Root)) },
		"malformed record": func() { _ = os.WriteFile(record.SnapshotsPath(tree.Root), []byte(strings.Repeat("x", 10)), 0o600) },
	} {
		damage()
		if v := check(); v.Verdict != integrity.Intact || v.Recoverable != 0 || v.Notes[integrity.Unverifiable] != 1 {
			t.Errorf("%s: %s: %s: %v: %+v", what, v.Verdict, v.Message, v.Notes, v.Examples)
		}
	}
}
