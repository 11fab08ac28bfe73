package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/proxy"
)

// TestClientsCannotDamageAStore holds that whatever clients ask for, of an
// upstream that misbehaves as it likes, the check of the store never finds it
// Corrupt: what clients can do never takes an instance out. GOCACHE_CLIENT_ROUNDS
// is how many sequences are tried, GOCACHE_CLIENT_SEED where they begin.
func TestClientsCannotDamageAStore(t *testing.T) {
	rounds, seed := number(t, "GOCACHE_CLIENT_ROUNDS", 150), number(t, "GOCACHE_CLIENT_SEED", 1)
	var versions, archives atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d rounds left %d versions and %d archives in their stores", rounds, versions.Load(), archives.Load())
		if rounds > 10 && archives.Load() == 0 {
			t.Error("nothing was ever stored: nothing was tried")
		}
	})
	for s := seed; s < seed+rounds; s++ {
		t.Run(strconv.Itoa(s), func(t *testing.T) {
			t.Parallel()
			c := clientRound(t, uint64(s)) //nolint:gosec // small
			versions.Add(int64(c.Modules))
			archives.Add(int64(c.Zips))
		})
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// moody is an upstream whose answers depend on chance.
type moody struct {
	random *rand.Rand
	mood   int // how many of a hundred answers are odd
	zips   map[module.Version][]byte
}

var moodyModules = []module.Version{
	{Path: "example.com/a", Version: "v1.0.0"}, {Path: "example.com/a", Version: "v1.1.0"},
	{Path: "example.com/inc", Version: "v2.0.0+incompatible"}, {Path: "example.com/Upper/v2", Version: "v2.3.4-rc.1"},
	{Path: "example.com/a", Version: "v0.0.0-20240102030405-0123456789ab"},
}

var moodyQueries = []string{"v1", "v1.0", "v2", "v2.0.0", "master", "latest", "0123456789ab", "feature/x", "v1.0.0+meta", "V1.0.0", "v01.0.0", "-", "..", "list", "a@b"}

func (u *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, code := u.answer(r.URL.Path)
	if u.random.IntN(100) >= u.mood {
		w.WriteHeader(code)
		_, _ = w.Write(body)
		return
	}
	switch u.random.IntN(11) {
	case 0:
		http.Error(w, "not found", http.StatusNotFound)
	case 1:
		w.WriteHeader(http.StatusInternalServerError)
	case 2: // announces more than it sends
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+10))
		_, _ = w.Write(body)
	case 3: // complete to the eye
		_, _ = w.Write(body[:u.random.IntN(len(body)+1)])
	case 4:
		panic(http.ErrAbortHandler)
	case 5:
		_, _ = io.WriteString(w, "<html>log in</html>")
	case 6:
		_, _ = w.Write(info(moodyModules[u.random.IntN(len(moodyModules))].Version))
	case 7:
		_, _ = io.WriteString(w, []string{"module example.com/other\n", "module (\n", "module example.com/a\r\n", "module example.com/a\x00\n", ""}[u.random.IntN(5)])
	case 8:
		_, _ = w.Write(u.zips[moodyModules[u.random.IntN(len(moodyModules))]])
	case 9: // one bit is another
		if spoilt := slices.Clone(body); len(spoilt) > 0 {
			spoilt[u.random.IntN(len(spoilt))] ^= 1 << u.random.IntN(8)
			_, _ = w.Write(spoilt)
		}
	case 10: // more than there is
		_, _ = w.Write(body)
		_, _ = w.Write([]byte("trailing\n"))
	}
}

func (u *moody) answer(name string) ([]byte, int) {
	for m, zip := range u.zips {
		escaped, err := module.EscapePath(m.Path)
		if err != nil {
			panic(err)
		}
		rest, ok := strings.CutPrefix(name, "/"+escaped+"/@")
		switch {
		case !ok:
		case rest == "v/"+m.Version+".info":
			return info(m.Version), http.StatusOK
		case rest == "v/"+m.Version+".mod":
			return []byte("module " + m.Path + "\n"), http.StatusOK
		case rest == "v/"+m.Version+".zip":
			return zip, http.StatusOK
		case rest == "v/list":
			return []byte(m.Version + "\n"), http.StatusOK
		case rest == "latest", strings.HasSuffix(rest, ".info"):
			return info(m.Version), http.StatusOK
		}
	}
	return []byte("not found"), http.StatusNotFound
}

// clientRound lets clients ask a new instance for all kinds of things.
func clientRound(t *testing.T, seed uint64) integrity.Counts {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))                                                                                        //nolint:gosec // to be repeated
	up := &moody{random: rand.New(rand.NewPCG(seed, 1)), mood: []int{0, 30, 90}[random.IntN(3)], zips: map[module.Version][]byte{}} //nolint:gosec // to be repeated
	for _, m := range moodyModules {
		up.zips[m] = moduleZip(t, m)
	}
	// One after the other, so that a seed gives the same again.
	upstream := &upstream{}
	turn := make(chan struct{}, 1)
	upstream.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn <- struct{}{}
		defer func() { <-turn }()
		up.ServeHTTP(w, r)
	}))
	defer upstream.Close()
	dir := lasting(t)
	server, _ := instance(t, upstream, func(o *proxy.Options) {
		o.Store, o.FetchTimeout, o.Log = dir, 10*time.Second, logr.Discard()
	})
	var asked []string
	for range 5 + random.IntN(25) {
		asked = append(asked, clientRequest(t, random, server))
	}
	v := check(t, dir)
	if v.Verdict != integrity.Intact {
		t.Errorf("seed %d: %s: %+v\nafter\n%s", seed, v.Verdict, v.Examples, strings.Join(asked, "\n"))
	}
	if v := repaired(t, dir); v.Verdict != integrity.Intact || v.Recoverable != 0 {
		t.Errorf("seed %d: after the repair: %s: %+v\nafter\n%s", seed, v.Verdict, v.Examples, strings.Join(asked, "\n"))
	}
	return v.Counts
}

// lasting is a directory that fetches which outlive their client may still write
// to when the test ends.
func lasting(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "store")
	must(t, err)
	t.Cleanup(func() {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if err := os.RemoveAll(dir); err == nil || time.Now().After(end) {
				must(t, err)
				return
			}
		}
	})
	return dir
}

// clientRequest is one request of any kind, and returns what it was.
func clientRequest(t *testing.T, random *rand.Rand, server http.Handler) string {
	t.Helper()
	m := moodyModules[random.IntN(len(moodyModules))]
	escaped, err := module.EscapePath(m.Path)
	must(t, err)
	version := m.Version
	if random.IntN(3) == 0 {
		version = moodyQueries[random.IntN(len(moodyQueries))]
	}
	name := "/" + escaped + "/@v/" + version + []string{".info", ".mod", ".zip", ".info", ".ziphash", ""}[random.IntN(6)]
	switch random.IntN(14) {
	case 0:
		name = "/" + escaped + "/@latest"
	case 1:
		name = "/" + escaped + "/@v/list"
	case 2:
		name = []string{"/", "//", "/@v/list", "/sumdb/db.test/lookup/x@v1.0.0", "/example.com/a/@v/../../../x.info", "/.gocache-store", path.Join("/", escaped), "/sumdb/../" + escaped + "/@latest"}[random.IntN(8)]
	}
	method := []string{http.MethodGet, http.MethodGet, http.MethodGet, http.MethodHead, http.MethodPost}[random.IntN(5)]
	req := httptest.NewRequest(method, "/", http.NoBody)
	req.URL.Path = name
	text := method + " " + name
	switch random.IntN(6) {
	case 0:
		req.Header.Set("Range", "bytes=3-9")
		text += " in part"
	case 1:
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(3))*time.Millisecond)
		defer cancel()
		req = req.WithContext(ctx)
		text += " and leaves"
	case 2:
		req.Header.Set("Disable-Module-Fetch", "true")
		text += " from the store"
	}
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, req)
	return fmt.Sprintf("%s: %d", text, answer.Code)
}
