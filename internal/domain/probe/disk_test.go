package probe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/probe"
)

func TestDisk(t *testing.T) {
	page := func(used, available int) string {
		return fmt.Sprintf("# TYPE gocache_proxy_volume_used_bytes gauge\ngocache_proxy_volume_used_bytes %d\n"+
			"# TYPE gocache_proxy_volume_available_bytes gauge\ngocache_proxy_volume_available_bytes %d\n", used, available)
	}
	for _, tt := range []struct {
		name    string
		status  int
		page    string
		percent int
		outcome probe.Outcome
	}{
		{"room", http.StatusOK, page(50, 50), 50, probe.Passed},
		{"just below the limit", http.StatusOK, page(94, 6), 94, probe.Passed},
		{"at the limit", http.StatusOK, page(95, 5), 95, probe.Failed},
		{"full", http.StatusOK, page(100, 0), 100, probe.Failed},
		{"no volume", http.StatusOK, page(0, 0), 0, probe.Unknown},
		{"other metrics", http.StatusOK, "up 1\n", 0, probe.Unknown},
		{"no metrics", http.StatusOK, "<html>", 0, probe.Unknown},
		{"an error", http.StatusInternalServerError, page(100, 0), 0, probe.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = fmt.Fprint(w, tt.page)
			}))
			defer server.Close()
			percent, result := probe.Target{Pages: server.URL}.Disk(t.Context(), 95)
			if percent != tt.percent || result.Outcome != tt.outcome {
				t.Errorf("%d %%, %+v; want %d %%, outcome %d", percent, result, tt.percent, tt.outcome)
			}
		})
	}
	percent, result := probe.Target{Pages: "http://127.0.0.1:1"}.Disk(t.Context(), 95)
	if percent != 0 || result.Outcome != probe.Unknown || !strings.Contains(result.Message, "connection refused") {
		t.Errorf("unreachable: %d %%, %+v", percent, result)
	}
}
