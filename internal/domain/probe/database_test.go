package probe_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"gocache.dev/operator/internal/domain/probe"
)

// signedTree is the newest tree of a database, and the key that it is checked
// with.
func signedTree(t *testing.T) (tree, key string) {
	t.Helper()
	secret, key, err := note.GenerateKey(rand.Reader, "db.test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tlog.Tree{N: 7}))}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed), key
}

// TestDatabase distinguishes an instance that proxies the database, one that does
// not, and one that only reports it.
func TestDatabase(t *testing.T) {
	tree, key := signedTree(t)
	forged, _ := signedTree(t)
	type pages map[string]http.HandlerFunc
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, s) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", code) }
	}
	stale := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Status", "gocache-proxy; hit; detail=upstream-failed")
		_, _ = fmt.Fprint(w, tree)
	}
	for name, tt := range map[string]struct {
		pages    pages
		unsigned bool // the key is not known
		want     probe.Outcome
		absent   bool
		message  string
	}{
		"it does":                     {pages: pages{"supported": text(""), "latest": text(tree)}, want: probe.Passed},
		"it does, with any key":       {pages: pages{"supported": text(""), "latest": text(forged)}, unsigned: true, want: probe.Passed},
		"it does not":                 {absent: true, want: probe.Unknown, message: "does not proxy db.test"},
		"it cannot say":               {pages: pages{"supported": status(503)}, want: probe.Failed, message: "503"},
		"it only says so":             {pages: pages{"supported": text("")}, want: probe.Failed, message: "404"},
		"it cannot reach it":          {pages: pages{"supported": text(""), "latest": status(502)}, want: probe.Failed, message: "502"},
		"it answers from its store":   {pages: pages{"supported": text(""), "latest": stale}, want: probe.Failed, message: "from its store"},
		"signed by somebody else":     {pages: pages{"supported": text(""), "latest": text(forged)}, want: probe.Failed, message: "is malformed"},
		"a login page":                {pages: pages{"supported": text("<html>"), "latest": text("<html>")}, unsigned: true, want: probe.Failed, message: "is malformed"},
		"more than any tree can have": {pages: pages{"supported": text(""), "latest": text(strings.Repeat("x", 1<<20))}, want: probe.Failed, message: "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			target := serve(t, func(w http.ResponseWriter, r *http.Request) {
				page, ok := tt.pages[strings.TrimPrefix(r.URL.Path, "/sumdb/db.test/")]
				if !ok {
					http.NotFound(w, r)
					return
				}
				page(w, r)
			})
			db := probe.ParseDatabase(key)
			if tt.unsigned {
				db.Key = ""
			}
			got, absent := target.Database(t.Context(), db)
			if got.Outcome != tt.want || absent != tt.absent || !strings.Contains(got.Message, tt.message) {
				t.Errorf("%+v, absent %v", got, absent)
			}
		})
	}
}

func TestParseDatabase(t *testing.T) {
	for value, want := range map[string]probe.Database{
		"":                       {},
		"off":                    {},
		"db.test":                {Name: "db.test"},
		"db.test https://x":      {Name: "db.test"},
		"db.test+ab+c https://x": {Name: "db.test", Key: "db.test+ab+c"},
	} {
		if got := probe.ParseDatabase(value); got != want {
			t.Errorf("%q: %+v, want %+v", value, got, want)
		}
	}
}

func TestDatabaseName(t *testing.T) {
	for page, want := range map[string]string{
		"# TYPE gocache_proxy_checksum_database gauge\ngocache_proxy_checksum_database{name=\"db.test\"} 1\n": "db.test",
		"up 1\n": "",
		"# TYPE gocache_proxy_checksum_database gauge\ngocache_proxy_checksum_database 1\n":                    "",
		"# TYPE gocache_proxy_checksum_database gauge\ngocache_proxy_checksum_database{other=\"db.test\"} 1\n": "",
	} {
		target := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, page) })
		got, err := target.DatabaseName(t.Context())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", page, got, err)
		}
	}
	// No answer is not the same as an answer without the metric.
	if got, err := (probe.Target{Pages: "http://127.0.0.1:1"}).DatabaseName(t.Context()); got != "" || err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("unreachable: %q, %v; want a refused connection", got, err)
	}
}
