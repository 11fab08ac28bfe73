package haproxy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestTracing: one id leads from what a client sees to the line of the
// router's log, to that of the instance's, and to the request at its upstream;
// and what the go command shows when no instance can serve describes what to do.
func TestTracing(t *testing.T) {
	requireHAProxy(t)
	s := &site{}
	s.makeModules(t)
	var mu sync.Mutex
	asked := map[string]string{} // id → path
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Header.Get("X-Request-ID")] = r.URL.Path
		mu.Unlock()
		if strings.Contains(r.URL.Path, "missing") {
			http.NotFound(w, r)
			return
		}
		http.FileServer(http.Dir(modulesDir)).ServeHTTP(w, r)
	}))
	defer upstream.Close()
	blue := startInstance(t, "blue", upstream.URL)
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(blue.url, "http://")}}})
	s.backend = b.Backend
	opened(t, b, route.Server{Name: "blue", State: route.Ready, Weight: 100})

	for _, path := range []string{"/example.com/dep0/@v/v1.0.0.zip", "/example.com/missing/@v/v1.0.0.info"} {
		resp, err := http.Get(b.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		id := resp.Header.Get("X-Request-ID")
		if id == "" {
			t.Fatalf("%s: the answer names no request", path)
		}
		if resp.StatusCode != http.StatusOK && !strings.Contains(string(body), id) {
			t.Errorf("%s: the text of the %s does not name request %s: %q", path, resp.Status, id, body)
		}
		mu.Lock()
		if asked[id] != path {
			t.Errorf("%s: the upstream was not asked for it in the name of request %s, but for %v", path, id, asked)
		}
		mu.Unlock()
		for log, file := range map[string]string{"router": b.log, "instance": blue.store + ".log"} {
			eventually(t, "request "+id+" in the log of the "+log, func() bool { return logged(t, file, id, path) })
		}
	}

	opened(t, b, route.Server{Name: "blue", State: route.Down})
	err := s.download(t.Context(), filepath.Join(t.TempDir(), "d"), b.URL)
	for _, want := range []string{"goproxy: no module proxy instance can serve now", "kubectl describe modproxy goproxy", "(request "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with nobody left the go command does not say %q: %v", want, err)
		}
	}
}

// logged reports whether a line in JSON is about the request and its path.
func logged(t *testing.T, file, id, path string) bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct{ RequestID, Path string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.RequestID == id && line.Path == path {
			return true
		}
	}
	return false
}
