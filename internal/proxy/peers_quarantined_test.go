package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/proxy"
)

const otherMod = "module example.com/m\n\ngo 1.20\n"

// TestAQuarantinedInstanceIsNotAsked holds that neither files nor lists come from
// one, also when it is quarantined later, and that it is asked again afterwards.
func TestAQuarantinedInstanceIsNotAsked(t *testing.T) {
	u := startUpstream(t)
	forged := moduleZipOf(t, theModule, otherMod)
	asked := make(chan string, 100)
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		switch r.URL.Path {
		case modPath:
			_, _ = io.WriteString(w, otherMod)
		case zipPath:
			_, _ = w.Write(forged)
		case "/example.com/m/@v/list":
			_, _ = io.WriteString(w, "v1.0.0\nv6.6.6\n")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(peer.Close)
	quarantined := filepath.Join(t.TempDir(), "quarantined")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(quarantined, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("http://other:8080\n" + peer.URL + "\n")
	now := time.Now()
	server, _ := instance(t, u, func(o *proxy.Options) {
		o.Peers, o.QuarantinedPeers, o.Now = []string{peer.URL}, quarantined, func() time.Time { return now }
	})
	mustServe(t, server, modPath, modText)
	mustServe(t, server, zipPath, string(moduleZip(t, theModule)))
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\n")
	u.fail(http.NotFound)
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\n")
	if w := get(t, server, "/example.com/m/@v/v1.0.1.mod"); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(asked) > 0 {
		t.Errorf("the quarantined instance was asked for %s", <-asked)
	}
	write("")
	now = now.Add(2 * time.Second)
	mustServe(t, server, "/example.com/m/@v/list", "v1.0.0\nv6.6.6\n")
}

// TestBytesOfPeersAreCounted holds that they are distinguished from those of the
// upstream.
func TestBytesOfPeersAreCounted(t *testing.T) {
	u := startUpstream(t)
	members := group(t, u, "a", "b")
	archive := string(moduleZip(t, theModule))
	mustServe(t, members[0].handler, zipPath, archive)
	mustServe(t, members[1].handler, zipPath, archive)
	metrics := func(m *member) []string {
		return strings.Split(get(t, m.handler.(*proxy.Server).Pages(), "/metrics").Body.String(), "\n")
	}
	size := len(archive)
	for i, want := range [][2]int{{size, 0}, {0, size}} {
		for name, n := range map[string]int{"gocache_proxy_upstream_received_bytes_total": want[0], "gocache_proxy_peer_received_bytes_total": want[1]} {
			if line := name + " " + strconv.Itoa(n); !slices.Contains(metrics(members[i]), line) {
				t.Errorf("instance %d lacks %q", i, line)
			}
		}
	}
}

// TestPagesOfADatabaseAreServedWhileTheUpstreamHangs holds that a go command which
// looks up a stored version needs no upstream: neither for the record, nor for the tiles
// that prove it, whether they are filled or not.

func TestPagesOfADatabaseAreServedWhileTheUpstreamHangs(t *testing.T) {
	u := startUpstream(t)
	pages := map[string]string{
		"/sumdb/db.test/lookup/example.com/m@v1.0.0": record,
		"/sumdb/db.test/tile/8/0/000":                strings.Repeat("x", 256*32),
		"/sumdb/db.test/tile/8/0/001.p/4":            strings.Repeat("y", 4*32),
	}
	u.fail(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, pages[r.URL.Path]) })
	server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOSUMDB = databaseKey(t) })
	for page, text := range pages {
		mustServe(t, server, page, text)
	}
	u.fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	began := time.Now()
	for page, text := range pages {
		mustServe(t, server, page, text)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("three stored pages took %s", took)
	}
}
