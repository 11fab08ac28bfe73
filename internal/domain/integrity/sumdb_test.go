package integrity_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// sumdbTree is a tree whose module cache the real go command filled with the
// records of a checksum database, which holds the go.sum of another tree.
func sumdbTree(t *testing.T) (tree *cachetree.Tree, db integrity.SumDB, records string) {
	t.Helper()
	const name = "sum.example.com"
	secret, key, err := note.GenerateKey(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	good := cachetree.New(t)
	known, err := os.ReadFile(good.GoSum())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sumdb.NewServer(sumdb.NewTestServer(secret, func(path, vers string) ([]byte, error) {
		return linesOf(known, path, vers), nil
	})))
	t.Cleanup(server.Close)

	tree = cachetree.New(t)
	cachetree.RemoveAll(t, tree.ModCache)
	if err := os.Remove(tree.GoSum()); err != nil {
		t.Fatal(err)
	}
	cmd, err := tree.Command("mod", "download", "all")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "GOSUMDB="+key+" "+server.URL, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	latest, err := os.ReadFile(filepath.Join(tree.Root, "gopath", "pkg", "sumdb", name, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	return tree, integrity.SumDB{Key: key, Latest: latest}, filepath.Join(tree.ModCache, "cache", "download", "sumdb", name)
}

func linesOf(gosum []byte, path, vers string) []byte {
	var out []byte
	for line := range strings.Lines(string(gosum)) {
		if strings.HasPrefix(line, path+" "+vers+" ") || strings.HasPrefix(line, path+" "+vers+"/go.mod ") {
			out = append(out, line...)
		}
	}
	return out
}

func checkWith(t *testing.T, tree *cachetree.Tree, dbs ...integrity.SumDB) integrity.Verdict {
	t.Helper()
	v, err := integrity.Check(context.Background(), integrity.Options{ModCache: tree.ModCache, SumDBs: dbs, Now: time.Now(), Settle: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The records that the go command cached prove the modules without a network;
// a forgery that agrees with itself contradicts them; a damaged record or tile
// is found.
func TestSumDB(t *testing.T) {
	tree, db, _ := sumdbTree(t)
	if v := checkWith(t, tree, db); v.Verdict != integrity.Intact || len(v.Notes) != 0 {
		t.Fatalf("%s, notes %v: %+v", v.Verdict, v.Notes, v.Examples)
	}
	for _, fault := range cachetree.ModuleFaults() {
		if fault.Name == "consistent forgery" {
			fault.Inflict(t, tree)
		}
	}
	if v := checkWith(t, tree); v.Verdict != integrity.Intact {
		t.Fatalf("a consistent forgery needs trust data to be seen: %+v", v.Examples)
	}
	if v := checkWith(t, tree, db); v.Findings[integrity.ChecksumMismatch] != 1 || v.Corrupt != 1 {
		t.Errorf("forgery: %v: %+v", v.Findings, v.Examples)
	}
}

func TestSumDBDamage(t *testing.T) {
	for _, pattern := range []string{"lookup/example.com/lib@v1.2.0", "tile/8/0/*"} {
		tree, db, records := sumdbTree(t)
		found, err := filepath.Glob(filepath.Join(records, filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: nothing found: %v", pattern, err)
		}
		name := found[0]
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			found, err = filepath.Glob(filepath.Join(name, "*"))
			if err != nil || len(found) == 0 {
				t.Fatal(err)
			}
			name = found[len(found)-1]
		}
		cachetree.Edit(t, name, func(b []byte) []byte { b[len(b)/3] ^= 4; return b })
		v := checkWith(t, tree, db)
		if v.Verdict != integrity.OutcomeCorrupt {
			t.Errorf("flip in %s: %s, notes %v: %+v", pattern, v.Verdict, v.Notes, v.Examples)
		}
	}
}

// Without a tree head from outside, the records' own heads have to do: each may
// be newer than the one before.
func TestSumDBWithoutLatest(t *testing.T) {
	tree, db, _ := sumdbTree(t)
	db.Latest = nil
	if v := checkWith(t, tree, db); v.Verdict != integrity.Intact || len(v.Findings) != 0 {
		t.Errorf("%s, notes %v: %+v", v.Verdict, v.Notes, v.Examples)
	}
}

// Records that are absent prove nothing and are no fault.
func TestSumDBAbsent(t *testing.T) {
	tree, db, records := sumdbTree(t)
	if err := os.RemoveAll(records); err != nil {
		t.Fatal(err)
	}
	v := checkWith(t, tree, db)
	if v.Verdict != integrity.Intact || v.Notes[integrity.Unverifiable] == 0 {
		t.Errorf("%s, notes %v: %+v", v.Verdict, v.Notes, v.Examples)
	}
}

// TestSumDBOfANetwork holds that an intact cache is not Corrupt for what a network answers in
// place of a checksum database, and that no name of a private module leaves.
func TestSumDBOfANetwork(t *testing.T) {
	tree, db, records := sumdbTree(t)
	if err := os.RemoveAll(records); err != nil {
		t.Fatal(err)
	}
	var asked []string
	db.Remote = func(path string) ([]byte, error) {
		asked = append(asked, path)
		return []byte("<html>Please log in</html>"), nil
	}
	if v := checkWith(t, tree, db); v.Verdict != integrity.Inconclusive || v.Corrupt > 0 || v.Findings[integrity.Unreadable] == 0 {
		t.Errorf("%s, findings %v: %+v", v.Verdict, v.Findings, v.Examples)
	}
	if len(asked) == 0 {
		t.Error("nothing was asked")
	}
	asked, db.Private = nil, "example.com"
	if v := checkWith(t, tree, db); v.Verdict != integrity.Intact || len(asked) > 0 {
		t.Errorf("%s; asked for %q", v.Verdict, asked)
	}
}

// A go command that is killed while it writes a record leaves it empty, and the
// next one looks it up again.
func TestSumDBEmptyRecord(t *testing.T) {
	tree, db, records := sumdbTree(t)
	cachetree.Edit(t, filepath.Join(records, "lookup", "example.com", "lib@v1.2.0"), func([]byte) []byte { return nil })
	v := checkWith(t, tree, db)
	if v.Verdict != integrity.Intact || v.Recoverable > 0 || v.Notes[integrity.Unverifiable] == 0 {
		t.Errorf("%s, notes %v: %+v", v.Verdict, v.Notes, v.Examples)
	}
}
