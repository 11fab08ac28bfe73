package integrity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// Once trust is declared, module versions that it does not name are not proven,
// and are counted apart from those that it names.
func TestCoverage(t *testing.T) {
	lines := func(t *testing.T, tree *cachetree.Tree, keep func(line string) bool) *integrity.Trust {
		t.Helper()
		trust := integrity.NewTrust()
		for line := range strings.Lines(get(t, tree.GoSum())) {
			if keep(line) {
				if err := trust.AddGoSum("go.sum", strings.NewReader(line)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return trust
	}
	all := func(string) bool { return true }
	noLib := func(line string) bool { return !strings.HasPrefix(line, "example.com/lib v1.2.0 ") }
	for name, c := range map[string]struct {
		make     func(t *testing.T, o *integrity.Options)
		want     integrity.Outcome
		unproven int // -1: all
	}{
		"all is named": {func(t *testing.T, o *integrity.Options) {
			tree := cachetree.New(t)
			o.ModCache, o.Trust = tree.ModCache, lines(t, tree, all)
		}, integrity.Intact, 0},
		"one is not named": {func(t *testing.T, o *integrity.Options) {
			tree := cachetree.New(t)
			o.ModCache, o.Trust = tree.ModCache, lines(t, tree, noLib)
		}, integrity.Inconclusive, 1},
		"one is not named, which is accepted": {func(t *testing.T, o *integrity.Options) {
			tree := cachetree.New(t)
			o.ModCache, o.Trust, o.FullCoverage = tree.ModCache, lines(t, tree, noLib), false
		}, integrity.Intact, 1},
		"one that is not named was removed": {func(t *testing.T, o *integrity.Options) {
			tree := cachetree.New(t)
			o.ModCache, o.Trust = tree.ModCache, lines(t, tree, noLib)
			at := filepath.Join(tree.ModCache, "cache", "download", "example.com", "lib", "@v")
			for _, name := range []string{filepath.Join(at, "v1.2.0.zip"), filepath.Join(at, "v1.2.0.ziphash"), filepath.Join(tree.ModCache, "example.com", "lib@v1.2.0")} {
				remove(t, name)
			}
		}, integrity.Intact, 0},
		"trust data are empty": {func(t *testing.T, o *integrity.Options) {
			o.ModCache, o.Trust = cachetree.New(t).ModCache, integrity.NewTrust()
		}, integrity.Inconclusive, -1},
		"records of the database": {func(t *testing.T, o *integrity.Options) {
			tree, db, _ := sumdbTree(t)
			o.ModCache, o.SumDBs = tree.ModCache, []integrity.SumDB{db}
		}, integrity.Intact, 0},
		"a record of the database is missing": {func(t *testing.T, o *integrity.Options) {
			tree, db, records := sumdbTree(t)
			if err := os.Remove(filepath.Join(records, "lookup", "example.com", "lib@v1.2.0")); err != nil {
				t.Fatal(err)
			}
			o.ModCache, o.SumDBs = tree.ModCache, []integrity.SumDB{db}
		}, integrity.Inconclusive, 1},
		"a record is missing, and go.sum has the version": {func(t *testing.T, o *integrity.Options) {
			tree, db, records := sumdbTree(t)
			remove(t, records)
			o.ModCache, o.SumDBs, o.Trust = tree.ModCache, []integrity.SumDB{db}, trustOf(t, cachetree.New(t))
		}, integrity.Intact, 0},
		"an empty cache": {func(t *testing.T, o *integrity.Options) { o.ModCache, o.Trust = t.TempDir(), integrity.NewTrust() }, integrity.Intact, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := integrity.Options{FullCoverage: true}
			c.make(t, &o)
			v := within(t, checkLimit, o)
			unproven := v.Counts.Content - v.Counts.Proven
			if c.unproven == -1 {
				c.unproven = v.Counts.Content
			}
			if v.Verdict != c.want || unproven != c.unproven || c.want == integrity.Inconclusive && v.Findings[integrity.Unverifiable] == 0 {
				t.Errorf("%s, want %s; %d of %d are proven, want all but %d: %s: %+v", v.Verdict, c.want, v.Counts.Proven, v.Counts.Content, c.unproven, v.Message, v.Examples)
			}
		})
	}
}

// Records in the cache under test count only with a signature of the database:
// another database of the name proves nothing.
func TestRecordsOfAnotherKey(t *testing.T) {
	tree, db, _ := sumdbTree(t)
	_, key, err := note.GenerateKey(nil, "sum.example.com")
	if err != nil {
		t.Fatal(err)
	}
	db.Key, db.Latest = key, nil
	v := within(t, checkLimit, integrity.Options{ModCache: tree.ModCache, SumDBs: []integrity.SumDB{db}, FullCoverage: true})
	if v.Verdict == integrity.Intact || v.Counts.Proven != 0 {
		t.Errorf("%s, %d proven: %+v", v.Verdict, v.Counts.Proven, v.Examples)
	}
}
