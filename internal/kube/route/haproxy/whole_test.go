package haproxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/routetest"
)

// TestChecksumDatabaseComesWhole holds that no client sees half an answer of the
// checksum database, though one of two instances hangs in the middle of each:
// the go command would ask nobody else.
func TestChecksumDatabaseComesWhole(t *testing.T) {
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
