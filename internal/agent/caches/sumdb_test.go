package caches_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/testing/cachetree"
)

// key of a checksum database.
const key = "sum.example.com+4fbe5bec+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"

// TestSumDBs holds what of a checksum database is read from a file, and what is asked.
func TestSumDBs(t *testing.T) {
	dir := t.TempDir()
	latest := filepath.Join(dir, "latest")
	if err := os.WriteFile(latest, []byte("signed"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := caches.Flags{ModCache: dir, SumDB: []string{key, key + " https://mirror.example.com"}, SumDBLatest: latest}
	o, err := f.Options(t.Context(), time.Now())
	if err != nil || len(o.SumDBs) != 2 {
		t.Fatalf("%+v, %v", o.SumDBs, err)
	}
	for _, db := range o.SumDBs {
		if db.Key != key || string(db.Latest) != "signed" || db.Remote != nil {
			t.Errorf("%+v: key %q", db, db.Key)
		}
	}
	f.SumDBLatest = filepath.Join(dir, "none")
	if _, err := f.Options(t.Context(), time.Now()); err == nil || !strings.HasPrefix(err.Error(), "--sumdb-latest: ") {
		t.Errorf("no such file: %v", err)
	}
}

// TestSumDBOnline holds that the server is asked which the flag names, how much is read
// of an answer, and that any other answer is an error.
func TestSumDBOnline(t *testing.T) {
	const most = 4 << 20
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/db/latest":
			_, _ = w.Write([]byte("signed"))
		case "/db/large":
			_, _ = w.Write(make([]byte, most+1))
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer s.Close()
	f := caches.Flags{ModCache: cachetree.New(t).ModCache, SumDB: []string{key + "  " + s.URL + "/db "}, SumDBOnline: true}
	o, err := f.Options(t.Context(), time.Now())
	if err != nil || len(o.SumDBs) != 1 || o.SumDBs[0].Remote == nil || o.SumDBs[0].Key != key {
		t.Fatalf("%+v, %v", o.SumDBs, err)
	}
	remote := o.SumDBs[0].Remote
	if text, err := remote("/latest"); err != nil || string(text) != "signed" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := remote("/large"); err == nil || !strings.Contains(err.Error(), "longer than 4 MiB") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if text, err := remote("/other"); err == nil || !strings.Contains(err.Error(), s.URL+"/db/other: status 204") {
		t.Errorf("%q, %v", text, err)
	}
	s.Close()
	if text, err := remote("/latest"); err == nil {
		t.Errorf("a server that is gone: %q", text)
	}
	f.SumDB = []string{key}
	if o, err := f.Options(t.Context(), time.Now()); err != nil || o.SumDBs[0].Remote == nil {
		t.Errorf("without an address: %+v, %v", o.SumDBs, err)
	}
}
