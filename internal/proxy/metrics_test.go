package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestMetricsListenerServesNoModule holds that a client of the listener for
// metrics gets metrics, and nothing that the instance stores.
func TestMetricsListenerServesNoModule(t *testing.T) {
	server, _ := instance(t, startUpstream(t), nil)
	mustServe(t, server, modPath, modText)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.ServeMetrics(ctx, listener) }()
	client := &http.Client{Timeout: 10 * time.Second}
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, modPath: http.StatusNotFound, "//" + modPath: http.StatusNotFound, "/metrics/.." + modPath: http.StatusNotFound,
		"/sumdb/db.test/supported": http.StatusNotFound,
	} {
		resp, err := client.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != want || strings.Contains(string(body), modText) {
			t.Errorf("%s: %d (%v) %.200q, want %d", path, resp.StatusCode, err, body, want)
		}
		if path == "/metrics" && !strings.Contains(string(body), "gocache_proxy_requests_total") {
			t.Errorf("the page has no metrics of the server: %.200q", body)
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end with its context")
	}
}
