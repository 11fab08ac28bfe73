package proxy_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/proxy"
)

// publish has an upstream serve theModule with a go.mod of its own.
func (u *upstream) publish(t *testing.T, mod string) (files map[string]string) {
	t.Helper()
	files = map[string]string{infoPath: string(info("v1.0.0")), modPath: mod, zipPath: string(moduleZipOf(t, theModule, mod))}
	u.fail(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	})
	return files
}

const otherMod = "module example.com/m\n\ngo 1.20\n"

// split starts instances of which the first has a version as it was published
// first, and the others as it was published later: they could not reach each other.
func split(t *testing.T, u *upstream, names ...string) (members []*member, first, later map[string]string) {
	t.Helper()
	members = group(t, u, names...)
	first = u.publish(t, modText)
	for _, m := range members {
		m.alone.Store(true)
	}
	load := func(m *member, files map[string]string) {
		for path, want := range files {
			mustServe(t, m.handler, path, want)
		}
	}
	load(members[0], first)
	later = u.publish(t, otherMod)
	for _, m := range members[1:] {
		load(m, later)
	}
	for _, m := range members {
		m.alone.Store(false)
	}
	return members, first, later
}

// TestAVersionThatWasPublishedTwiceIsOneInAllInstances plays a version that was
// moved while the instances could not reach each other: all serve what one of them
// had first, whichever is asked first, and stay intact.
func TestAVersionThatWasPublishedTwiceIsOneInAllInstances(t *testing.T) {
	for name, order := range map[string][]int{"the first one": {0, 1, 2}, "a later one": {2, 1, 0}, "another later one": {1, 0, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			members, first, _ := split(t, u, "a", "b", "c")
			for range 2 {
				for _, i := range order {
					for _, path := range []string{modPath, zipPath, infoPath} {
						mustServe(t, members[i].handler, path, first[path])
					}
				}
			}
			for i, m := range members {
				if v := check(t, m.store); v.Verdict != "Intact" || v.Counts.Modules != 1 {
					t.Errorf("%d: %s, %+v: %+v", i, v.Verdict, v.Counts, v.Examples)
				}
				superseded, err := store.ReadSuperseded(m.store)
				if err != nil || (len(superseded) == 1) != (i > 0) {
					t.Errorf("instance %d has recorded %+v, %v", i, superseded, err)
				}
			}
		})
	}
}

// TestInstancesOfDifferentAgeAgreeAfterARestart holds that what was first is known
// by the store, not by the process.
func TestInstancesOfDifferentAgeAgreeAfterARestart(t *testing.T) {
	u := startUpstream(t)
	members, first, _ := split(t, u, "a", "b")
	mustServe(t, members[1].handler, zipPath, first[zipPath])
	// A third one that has the later content too, and is back only now.
	stale, dir := instance(t, u, nil)
	mustServe(t, stale, zipPath, string(moduleZipOf(t, theModule, otherMod)))
	joined, _ := instance(t, u, func(o *proxy.Options) { o.Store, o.Peers = dir, []string{members[1].URL} })
	// The second one took over the first one's content later than that, and counts
	// as the first.
	mustServe(t, joined, zipPath, first[zipPath])
}

// TestSettledContentStays holds that content to which all instances have agreed
// yields to nothing that appears later, whatever sums and times come with that: a store that was altered
// does not spread what it has.
func TestSettledContentStays(t *testing.T) {
	u := startUpstream(t)
	forged := moduleZipOf(t, theModule, otherMod)
	var altered atomic.Bool
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !altered.Load() {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(forged))))
		w.Header().Set("Gocache-First-Seen", "1")
		w.Header().Set("Gocache-Settled", "true")
		_, _ = w.Write(forged)
	}))
	t.Cleanup(peer.Close)
	server, dir := instance(t, u, func(o *proxy.Options) { o.Peers = []string{peer.URL} })
	want := string(moduleZip(t, theModule))
	mustServe(t, server, zipPath, want)
	mustServe(t, server, modPath, modText)
	mustServe(t, server, zipPath, want) // now it is compared
	altered.Store(true)
	restarted, _ := instance(t, u, func(o *proxy.Options) { o.Store, o.Peers = dir, []string{peer.URL} })
	for _, s := range []*proxy.Server{server, restarted} {
		mustServe(t, s, zipPath, want)
		mustServe(t, s, modPath, modText)
	}
	if superseded, err := store.ReadSuperseded(dir); err != nil || len(superseded) > 0 {
		t.Errorf("recorded %+v, %v", superseded, err)
	}
}

// TestTheSameArchiveInOtherBytesIsNoOtherVersion holds that a difference which no
// client sees is none: an upstream may compress
// an archive again.
func TestTheSameArchiveInOtherBytesIsNoOtherVersion(t *testing.T) {
	u := startUpstream(t)
	members := group(t, u, "a", "b")
	files := u.publish(t, modText)
	for _, m := range members {
		m.alone.Store(true)
	}
	mustServe(t, members[0].handler, zipPath, files[zipPath])
	again := rezipped(t, files[zipPath])
	files[zipPath] = again
	mustServe(t, members[1].handler, zipPath, again)
	for _, m := range members {
		m.alone.Store(false)
	}
	mustServe(t, members[1].handler, zipPath, again)
	if superseded, err := store.ReadSuperseded(members[1].store); err != nil || len(superseded) > 0 {
		t.Errorf("recorded %+v, %v", superseded, err)
	}
}

// TestStoredVersionsAreComparedOnce holds what it costs.
func TestStoredVersionsAreComparedOnce(t *testing.T) {
	u := startUpstream(t)
	members := group(t, u, "a", "b", "c")
	for range 5 {
		for _, path := range []string{infoPath, modPath, zipPath} {
			if w := get(t, members[0].handler, path); w.Code != http.StatusOK {
				t.Fatalf("%s: %d", path, w.Code)
			}
		}
	}
	before := members[1].asked.Load()
	for range 50 {
		mustServe(t, members[0].handler, modPath, modText)
	}
	if n := members[1].asked.Load() - before; n != 0 {
		t.Errorf("%d requests to another instance for a version that was compared", n)
	}
}

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
	metrics := func(m *member) []string { return strings.Split(get(t, m.handler, "/metrics").Body.String(), "\n") }
	size := len(archive)
	for i, want := range [][2]int{{size, 0}, {0, size}} {
		for name, n := range map[string]int{"gocache_proxy_upstream_received_bytes_total": want[0], "gocache_proxy_peer_received_bytes_total": want[1]} {
			if line := name + " " + strconv.Itoa(n); !slices.Contains(metrics(members[i]), line) {
				t.Errorf("instance %d lacks %q", i, line)
			}
		}
	}
}

// rezipped is an archive with the same files and without compression.
func rezipped(t *testing.T, archive string) string {
	t.Helper()
	in, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, file := range in.File {
		from, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		to, err := w.CreateHeader(&zip.FileHeader{Name: file.Name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, from); err != nil { //nolint:gosec // made here
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() == archive {
		t.Fatal("it is the same")
	}
	return out.String()
}

// TestPagesOfADatabaseAreServedWhileTheUpstreamHangs holds that a go command which
// looks up a stored version needs no upstream: neither for the record, nor for the tiles
// that prove it, whether they are filled or not.
func TestPagesOfADatabaseAreServedWhileTheUpstreamHangs(t *testing.T) {
	u := startUpstream(t)
	u.fail(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	server, _ := instance(t, u, func(o *proxy.Options) { o.Environment.GOSUMDB = databaseKey(t) })
	pages := []string{"/sumdb/db.test/lookup/example.com/m@v1.0.0", "/sumdb/db.test/tile/8/0/000", "/sumdb/db.test/tile/8/0/001.p/4"}
	for _, page := range pages {
		mustServe(t, server, page, page)
	}
	u.fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	began := time.Now()
	for _, page := range pages {
		mustServe(t, server, page, page)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("three stored pages took %s", took)
	}
}
