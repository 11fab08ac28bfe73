package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/proxy"
)

// member is an instance of a proxy, with its address.
type member struct {
	*httptest.Server
	handler http.Handler
	store   string
	asked   atomic.Int64 // requests of other instances
}

// group starts instances that are peers of each other.
func group(t *testing.T, u *upstream, names ...string) []*member {
	t.Helper()
	members := make([]*member, len(names))
	for i := range members {
		m := &member{}
		m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Disable-Module-Fetch") == "true" {
				m.asked.Add(1)
			}
			m.handler.ServeHTTP(w, r)
		}))
		t.Cleanup(m.Close)
		members[i] = m
	}
	for i, m := range members {
		m.handler, m.store = instance(t, u, func(o *proxy.Options) {
			o.Name, o.FetchTimeout = names[i], 5*time.Second
			for _, other := range members {
				if other != m {
					o.Peers = append(o.Peers, other.URL)
				}
			}
		})
	}
	return members
}

// TestNotFoundCountsIfNoInstanceHasTheFile plays an upstream that forgot a module,
// or fails, when one of three instances has it.
func TestNotFoundCountsIfNoInstanceHasTheFile(t *testing.T) {
	paths := []string{infoPath, modPath, zipPath, "/example.com/m/@v/list", "/example.com/m/@latest"}
	for name, fault := range map[string]http.HandlerFunc{
		"not found": http.NotFound,
		"gone":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
		"fails":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			members := group(t, u, "a", "b", "c")
			want := map[string]string{}
			for _, path := range paths {
				want[path] = get(t, members[1].handler, path).Body.String()
			}
			u.fail(fault)
			for _, m := range members {
				for _, path := range paths {
					mustServe(t, m.handler, path, want[path])
				}
			}
			for _, path := range []string{"/example.com/m/@v/v1.0.1.info", "/example.com/none/@v/list"} {
				if w := get(t, members[0].handler, path); w.Code == http.StatusOK {
					t.Errorf("%s: %d, and no instance has it", path, w.Code)
				}
			}
		})
	}
}

// TestAFileIsFetchedOnceForAllInstances counts what the upstream is asked for.
func TestAFileIsFetchedOnceForAllInstances(t *testing.T) {
	u := startUpstream(t)
	members := group(t, u, "a", "b", "c")
	for _, path := range []string{infoPath, modPath, zipPath} {
		for _, m := range members {
			if w := get(t, m.handler, path); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
	if n := u.requests.Load(); n != 3 {
		t.Errorf("%d requests to the upstream for three files", n)
	}
}

// TestListsDoNotGoBackWithinAProxy plays two instances that asked at different
// times, and an upstream that is down or hangs since.
func TestListsDoNotGoBackWithinAProxy(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"down":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			members := group(t, u, "green", "blue")
			answer := func(list, latest string) {
				u.fail(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "list") {
						_, _ = io.WriteString(w, list)
						return
					}
					_, _ = w.Write(info(latest))
				})
			}
			const list, latest = "/example.com/m/@v/list", "/example.com/m/@latest"
			answer("v0.1.0\n", "v0.1.0")
			mustServe(t, members[0].handler, list, "v0.1.0\n")
			mustServe(t, members[0].handler, latest, string(info("v0.1.0")))
			answer("v0.1.0\nv0.2.0\nv0.3.0\n", "v0.3.0")
			mustServe(t, members[1].handler, list, "v0.1.0\nv0.2.0\nv0.3.0\n")
			mustServe(t, members[1].handler, latest, string(info("v0.3.0")))
			u.fail(fault)
			for range 2 {
				for _, m := range members {
					mustServe(t, m.handler, list, "v0.1.0\nv0.2.0\nv0.3.0\n")
					mustServe(t, m.handler, latest, string(info("v0.3.0")))
				}
			}
		})
	}
}

// TestPeersCannotSpreadDamage plays a peer that answers anything: what clients get
// is the upstream's, and so is what is stored.
func TestPeersCannotSpreadDamage(t *testing.T) {
	archive := moduleZip(t, theModule)
	altered := append([]byte{}, archive...)
	altered[70] ^= 1
	files := map[string]string{infoPath: `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`, modPath: modText, zipPath: string(archive)}
	for name, answer := range map[string]http.HandlerFunc{
		"something else": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"altered": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case infoPath:
				_, _ = w.Write(info("v1.0.1"))
			case modPath:
				_, _ = io.WriteString(w, "module (\n")
			default:
				_, _ = w.Write(altered)
			}
		},
		"less than it announces": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, "module")
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"a refusal":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"an error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"nothing":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a broken one": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t)
			u.fail(func(w http.ResponseWriter, r *http.Request) {
				if text, ok := files[r.URL.Path]; ok {
					_, _ = io.WriteString(w, text)
					return
				}
				w.WriteHeader(http.StatusBadGateway)
			})
			hostile := httptest.NewServer(answer)
			t.Cleanup(hostile.Close)
			server, dir := instance(t, u, func(o *proxy.Options) { o.Peers = []string{hostile.URL} })
			began := time.Now()
			for path, want := range files {
				mustServe(t, server, path, want)
				mustServe(t, server, path, want)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("three files took %s", took)
			}
			for _, path := range []string{"/example.com/m/@v/list", "/example.com/m/@v/v1.info"} {
				if w := get(t, server, path); w.Code == http.StatusOK && name == "something else" {
					t.Errorf("%s: %q", path, w.Body)
				}
			}
			if v := check(t, dir); v.Verdict != "Intact" || v.Counts.Modules != 1 {
				t.Errorf("%s, %+v: %+v", v.Verdict, v.Counts, v.Examples)
			}
		})
	}
}

// TestPeerRequestsGoNoFurther holds that requests among instances neither go on to
// others nor to the upstream, so that they cannot multiply.
func TestPeerRequestsGoNoFurther(t *testing.T) {
	u := startUpstream(t)
	u.fail(http.NotFound)
	members := group(t, u, "a", "b", "c", "d")
	for _, path := range []string{infoPath, "/example.com/m/@v/list"} {
		before := u.requests.Load()
		if w := get(t, members[0].handler, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if n := u.requests.Load() - before; n != 1 {
			t.Errorf("%s: %d requests to the upstream", path, n)
		}
	}
	for i, m := range members {
		want := int64(2)
		if i == 0 {
			want = 0
		}
		if n := m.asked.Load(); n != want {
			t.Errorf("instance %d got %d requests of others, want %d", i, n, want)
		}
	}
}

// TestPeersThatDoNotAnswerAreLeftOut holds what a dead instance costs the others:
// one timeout, and the answer that it had when it is back.
func TestPeersThatDoNotAnswerAreLeftOut(t *testing.T) {
	hang := make(chan struct{})
	var hanging atomic.Bool
	hanging.Store(true)
	var asked atomic.Int64
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if hanging.Load() {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		if r.URL.Path == "/example.com/old/@v/v1.0.0.mod" {
			_, _ = io.WriteString(w, "module example.com/old\n")
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(peer.Close)
	t.Cleanup(func() { close(hang) })
	u := startUpstream(t)
	server, _ := instance(t, u, func(o *proxy.Options) { o.Peers = []string{peer.URL} })
	began := time.Now()
	for _, path := range []string{infoPath, modPath, zipPath} {
		if w := get(t, server, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if took := time.Since(began); took > 3*time.Second || asked.Load() != 1 {
		t.Errorf("three files took %s, and the instance that hangs got %d requests", took, asked.Load())
	}
	hanging.Store(false)
	// It is not asked first, but before a 404 is passed on.
	mustServe(t, server, "/example.com/old/@v/v1.0.0.mod", "module example.com/old\n")
}

// TestPeerAddresses holds which are accepted.
func TestPeerAddresses(t *testing.T) {
	for list, fails := range map[string]bool{
		"": false, "http://a:8080": false, "http://a:8080, https://b.ns.svc:8080": false, "a:8080": true, "ftp://a": true, "http://a:8080,b": true,
	} {
		_, err := proxy.New(proxy.Options{
			Store: t.TempDir(), Peers: proxy.SplitPeers(list), Now: time.Now, Environment: proxy.Environment{GOPROXY: "off", GOSUMDB: "off"},
		})
		if (err != nil) != fails {
			t.Errorf("%q: %v", list, err)
		}
	}
	if got := fmt.Sprint(proxy.SplitPeers("http://a:1,http://b:1")); got != "[http://a:1 http://b:1]" {
		t.Errorf("split into %s", got)
	}
}
