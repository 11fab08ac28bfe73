package haproxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/routetest"
	"gocache.dev/operator/internal/router"
)

// TestChecksumDatabaseAnswersAreComplete holds that no client sees half an answer of the
// checksum database, though one of two instances hangs in the middle of each:
// the go command would ask no other server.
func TestChecksumDatabaseAnswersAreComplete(t *testing.T) {
	t.Parallel()
	tile := strings.Repeat("tile ", 2000)
	var instances []routetest.Instance
	for _, name := range []string{"blue", "green"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/readyz":
			case r.URL.Path != "/sumdb/sum.example.com/tile/8/0/000" || r.Header.Get("X-Request-ID") == "":
				http.Error(w, "asked for "+r.URL.Path+" with id "+r.Header.Get("X-Request-ID"), http.StatusNotFound)
			case name == "blue":
				w.Header().Set("Content-Length", "10000")
				_, _ = io.WriteString(w, tile[:5000])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			default:
				_, _ = io.WriteString(w, tile)
			}
		}))
		t.Cleanup(func() {
			server.CloseClientConnections()
			server.Close()
		})
		instances = append(instances, routetest.Instance{Name: name, Address: server.Listener.Addr().String()})
	}
	b := startRouter(t, instances)
	openBoth(t, b)
	for range 4 {
		resp, err := http.Get(b.URL + "/sumdb/sum.example.com/tile/8/0/000")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != tile {
			t.Errorf("%s with %d bytes, %v: %.80s", resp.Status, len(body), err, body)
		}
	}
}

func openBoth(t *testing.T, b routetest.Backend) {
	t.Helper()
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}, {Name: "green", State: route.Ready, Weight: 100}}
	if err := b.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	confirmed := false
	for deadline := time.Now().Add(b.Settle); !confirmed; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the router does not open its servers")
		}
		observation, err := b.Router.Observe(t.Context())
		if err == nil {
			confirmed, _ = observation.Confirms(want)
		}
	}
}

// library is two instances with one large module, and a router before them.
type library struct {
	backend
	module   module.Version
	files    map[string][]byte // by path
	altered  map[string][]byte
	spoil    atomic.Pointer[http.HandlerFunc] // what blue does instead
	asked    atomic.Int64                     // of blue
	mod, zip string                           // paths
}

func newLibrary(t *testing.T) *library {
	t.Helper()
	l := &library{module: module.Version{Path: "example.com/m", Version: "v1.0.0"}, altered: map[string][]byte{}}
	l.mod, l.zip = "/example.com/m/@v/v1.0.0.mod", "/example.com/m/@v/v1.0.0.zip"
	dir := t.TempDir()
	content := make([]byte, 2<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	var sums strings.Builder
	if err := writeModule(dir, l.module, content, &sums); err != nil {
		t.Fatal(err)
	}
	l.files = map[string][]byte{"/sumdb/sum.example.com/lookup/example.com/m@v1.0.0": []byte("7\n" + sums.String() + "\ngo.sum database tree\n8\nx\n")}
	for _, path := range []string{l.mod, l.zip} {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		other := bytes.Clone(text)
		other[len(other)/2] ^= 1
		l.files[path], l.altered[path] = text, other
	}
	var config haproxy.Config
	for _, name := range []string{"blue", "green"} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(name, w, r) }))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		server.Start()
		t.Cleanup(func() {
			server.CloseClientConnections()
			server.Close()
		})
		config.Instances = append(config.Instances, haproxy.Instance{Name: name, Address: server.Listener.Addr().String()})
	}
	l.backend = startConfigured(t, config)
	openBoth(t, l.Backend)
	return l
}

func (l *library) serve(name string, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" {
		return
	}
	if name == "blue" {
		l.asked.Add(1)
		if spoil := l.spoil.Load(); spoil != nil {
			(*spoil)(w, r)
			return
		}
	}
	send(w, l.files[r.URL.Path])
}

func send(w http.ResponseWriter, text []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text)
}

// get is what a client gets at an address.
func (l *library) get(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if instance := resp.Header.Get(router.InstanceHeader); instance != "" {
		err = fmt.Errorf("the client sees that %s answered", instance)
	}
	return body, err
}

// fetch asks as the go command does: the next entry after any error.
func (l *library) fetch(path string) (body []byte, err error) {
	for entry := range strings.SplitSeq(haproxy.GOPROXY(l.URL), "|") {
		if body, err = l.get(entry + path); err == nil {
			return body, nil
		}
	}
	return body, err
}

// through counts the requests of clients that a server of the backend answers
// has got.
func (l *library) through(t *testing.T, server string) (n int) {
	t.Helper()
	text, err := os.ReadFile(l.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var entry struct{ Backend, Server string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Backend == "answers" && entry.Server == server {
			n++
		}
	}
	return n
}

// TestModulesComeUnaltered holds that clients get, complete, what the checksum database
// recorded, though one of two instances alters or spoils each file; and
// that what the sidecar breaks off is not held against it.
func TestModulesComeUnaltered(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	for path, want := range l.files {
		if got, err := l.fetch(path); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	half := func(then func(*http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			text := l.files[r.URL.Path]
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			_, _ = w.Write(text[:len(text)/2])
			_ = http.NewResponseController(w).Flush()
			then(r)
		}
	}
	for name, spoil := range map[string]http.HandlerFunc{
		"alters": func(w http.ResponseWriter, r *http.Request) { send(w, l.altered[r.URL.Path]) },
		"breaks": half(func(*http.Request) { panic(http.ErrAbortHandler) }),
		"hangs":  half(func(r *http.Request) { <-r.Context().Done() }),
		"truncates": func(w http.ResponseWriter, r *http.Request) {
			send(w, l.files[r.URL.Path][:len(l.files[r.URL.Path])/2])
		},
	} {
		l.spoil.Store(&spoil)
		asked := l.asked.Load()
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for _, path := range []string{l.mod, l.zip} {
					if got, err := l.fetch(path); err != nil || !bytes.Equal(got, l.files[path]) {
						t.Errorf("blue %s: %s: %d bytes, %v", name, path, len(got), err)
					}
				}
			})
		}
		clients.Wait()
		if l.asked.Load() == asked {
			t.Errorf("blue %s, and was not asked", name)
		}
	}
	pages, err := l.get("http://" + l.sidecar + "/metrics")
	for _, reason := range []string{"mismatch", "broken", "silence"} {
		if want := `gocache_router_spoiled_answers_total{instance="blue",reason="` + reason + `"}`; err != nil || !strings.Contains(string(pages), want) {
			t.Errorf("the sidecar does not count %s: %v", want, err)
		}
	}
	if n := l.through(t, "unchecked"); n > 0 {
		t.Errorf("%d requests did not go through the sidecar, which was well", n)
	}
}

// TestRefusalEndsTheRequest holds that a client whose request one of two instances
// refuses is refused in each of its attempts, with the text of that instance.
func TestRefusalEndsTheRequest(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == l.zip {
			http.Error(w, "refused by policy 7", http.StatusForbidden)
			return
		}
		send(w, l.files[r.URL.Path])
	})
	l.spoil.Store(&refuse)
	refused := 0
	for range 20 {
		asked := l.asked.Load()
		body, err := l.fetch(l.zip)
		switch isRefused := err != nil && strings.Contains(err.Error(), "403 Forbidden: refused by policy 7"); {
		case l.asked.Load() == asked:
			if err != nil || !bytes.Equal(body, l.files[l.zip]) {
				t.Errorf("the other instance alone was asked: %d bytes, %v", len(body), err)
			}
		case !isRefused:
			t.Errorf("one instance refused, and the client got %d bytes, %v", len(body), err)
		default:
			refused++
		}
		if got, err := l.fetch(l.mod); err != nil || !bytes.Equal(got, l.files[l.mod]) {
			t.Errorf("what is not refused: %d bytes, %v", len(got), err)
		}
	}
	if refused == 0 {
		t.Error("no request met the instance that refuses")
	}
}

// TestGivingUpReachesTheInstance holds that a request which the sidecar has given
// up does not stay with HAProxy and the instance until a timeout.
func TestGivingUpReachesTheInstance(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	var asked, under atomic.Int64
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		under.Add(1)
		defer under.Add(-1)
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	l.spoil.Store(&hang)
	for asked.Load() == 0 {
		if got, err := l.fetch(l.mod); err != nil || !bytes.Equal(got, l.files[l.mod]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	eventually(t, "the instance to be left", func() bool { return under.Load() == 0 })
}

// TestSidecarDies holds that a router without its sidecar serves all the same,
// at once, and through it again when it is back.
func TestSidecarDies(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	release := make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := l.files[r.URL.Path]
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text[:len(text)/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	l.spoil.Store(&slow)
	var resp *http.Response
	for l.asked.Load() == 0 {
		var err error
		if resp, err = http.Get(l.URL + l.zip); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
	}
	l.stopSidecar()
	close(release)
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("what was under way came whole: it was not tried")
	}
	l.spoil.Store(nil)
	for range 20 {
		for path, want := range l.files {
			if got, err := l.get(l.URL + path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("without the sidecar: %s: %d bytes, %v", path, len(got), err)
			}
		}
	}
	if l.through(t, "unchecked") == 0 {
		t.Error("all went through a sidecar that was not there")
	}
	l.startSidecar()
	before := l.through(t, "sidecar")
	eventually(t, "requests through the sidecar", func() bool {
		_, err := l.get(l.URL + l.mod)
		return err == nil && l.through(t, "sidecar") > before
	})
}
