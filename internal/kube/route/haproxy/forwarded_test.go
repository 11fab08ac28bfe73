package haproxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestInstancesGetTheClient holds that an instance gets the address of the client,
// through the sidecar and past it, and not what a client has written there.
func TestInstancesGetTheClient(t *testing.T) {
	t.Parallel()
	for name, pass := range map[string]bool{"modules verified": false, "modules passed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			forwarded := map[string][]string{}
			instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				forwarded[r.URL.Path] = r.Header["X-Forwarded-For"]
				_, _ = io.WriteString(w, "module example.com/m\n")
			}))
			t.Cleanup(instance.Close)
			b := startConfigured(t, haproxy.Config{PassModules: pass, Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(instance.URL, "http://")}}})
			get := opened(t, b, route.Server{Name: "blue", State: route.Ready, Weight: 100})
			eventually(t, "the router to serve", func() bool { return strings.HasPrefix(get("/example.com/m/@v/v1.0.0.mod"), "module") })
			for _, path := range []string{"/example.com/m/@v/v1.0.1.mod", "/sumdb/db.test/latest", "/example.com/other"} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Forwarded-For", "192.0.2.1")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				mu.Lock()
				if got := forwarded[path]; len(got) != 1 || got[0] != "127.0.0.1" {
					t.Errorf("GET %s: the instance gets %q", path, got)
				}
				mu.Unlock()
			}
		})
	}
}
