package repair_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// options are those of a check of the tree that does not wait long.
func options(t *testing.T, tree *cachetree.Tree, trust bool) integrity.Options {
	t.Helper()
	o := integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now(), Settle: 5 * time.Millisecond, Workers: 2}
	if trust {
		f, err := os.Open(tree.GoSum())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		o.Trust = integrity.NewTrust()
		if err := o.Trust.AddGoSum(tree.GoSum(), f); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func check(t *testing.T, o integrity.Options) integrity.Verdict {
	t.Helper()
	v, err := integrity.Check(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every known fault is found under its own name and nothing else is reported;
// repair removes what is broken; the go command then makes the same binary as
// from the good caches, and a second check finds nothing.
func TestFaults(t *testing.T) {
	clean := cachetree.New(t)
	want, out, err := clean.Build()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, fault := range append(cachetree.ModuleFaults(), cachetree.BuildFaults()...) {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			tree := cachetree.New(t)
			fault.Inflict(t, tree)
			for _, trust := range []bool{true, false} {
				fault := fault
				if trust && fault.Trusted != "" {
					fault.Class, fault.Severity = fault.Trusted, "recoverable"
				}
				if trust || !fault.Trust {
					expect(t, fault, check(t, options(t, tree, trust)))
				}
			}
			heal(t, tree, want)
		})
	}
}

// expect compares a verdict with what the fault must lead to.
func expect(t *testing.T, fault cachetree.Fault, v integrity.Verdict) {
	t.Helper()
	outcome, findings, notes := integrity.Intact, map[integrity.Class]int{}, map[integrity.Class]int{}
	switch fault.Severity {
	case "corrupt":
		outcome = integrity.OutcomeCorrupt
		findings[integrity.Class(fault.Class)] = 1
	case "recoverable":
		findings[integrity.Class(fault.Class)] = 1
	case "note":
		notes[integrity.Class(fault.Class)] = 1
	}
	if fault.Class != string(integrity.Orphan) {
		delete(v.Notes, integrity.Orphan) // the output of an entry that does not count
	}
	if fault.Also != "" {
		findings[integrity.Class(fault.Also)] = 1
	}
	if v.Verdict != outcome {
		t.Errorf("verdict %s, want %s", v.Verdict, outcome)
	}
	if diff := cmp.Diff(findings, v.Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s%+v", diff, v.Examples)
	}
	if diff := cmp.Diff(notes, v.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s%+v", diff, v.Examples)
	}
	for _, e := range v.Examples {
		if string(e.Class) == fault.Class && e.Severity != fault.Severity {
			t.Errorf("%s is called %s", e.Path, e.Severity)
		}
	}
}

// heal repairs, builds, and checks again.
func heal(t *testing.T, tree *cachetree.Tree, want string) {
	t.Helper()
	if _, err := repair.Run(context.Background(), options(t, tree, true), repair.Policy{}); err != nil {
		t.Fatalf("repair: %v", err)
	}
	if out, err := tree.Go("mod", "download"); err != nil {
		t.Fatalf("go mod download after the repair: %v\n%s", err, out)
	}
	got, out, err := tree.Build()
	if err != nil || got != want {
		t.Fatalf("go build after the repair: %s, want %s: %v\n%s", got, want, err, out)
	}
	if v := check(t, options(t, tree, true)); v.Verdict != integrity.Intact || v.Recoverable != 0 {
		t.Errorf("after the repair: %s, %v: %+v", v.Verdict, v.Findings, v.Examples)
	}
}

// A dry run prints what it would remove and removes nothing.
func TestDryRun(t *testing.T) {
	tree := cachetree.New(t)
	archive := cachetree.Archive(t, tree)
	cachetree.Edit(t, archive, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	r, err := repair.Run(context.Background(), options(t, tree, false), repair.Policy{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Removed) != 1 || r.Removed[0].Cache != integrity.Build || cachetree.Missing(archive) {
		t.Errorf("dry run: %+v, archive missing: %t", r.Removed, cachetree.Missing(archive))
	}
}
