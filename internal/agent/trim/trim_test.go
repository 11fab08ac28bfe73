package trim_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func intact(t *testing.T, tree *cachetree.Tree) integrity.Verdict {
	t.Helper()
	v, err := integrity.Check(context.Background(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != integrity.Intact || v.Torn > 0 {
		t.Fatalf("%s: %+v", v.Verdict, v.Examples)
	}
	return v
}

// A plan is approved by its digest; applied, the cache is within its bound,
// sound, and still builds the same binary.
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
