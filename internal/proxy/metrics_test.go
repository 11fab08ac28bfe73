package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestClientsGetNoPages holds that a client that reaches the listener for modules, as
// behind a Service it does, gets nothing that is meant for the operator and scrapers: which
// private modules were moved, and what was requested.
func TestClientsGetNoPages(t *testing.T) {
	t.Parallel()
	server, _ := instance(t, startUpstream(t), nil)
	mustServe(t, server, modPath, modText)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener, nil, time.Second) }()
	client := &http.Client{Timeout: 10 * time.Second}
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, modPath: http.StatusOK,
		"/metrics": http.StatusNotFound, "//metrics": http.StatusNotFound, "/%6detrics": http.StatusNotFound, "/metrics/": http.StatusNotFound, "/x/../metrics": http.StatusNotFound,
		"/moved": http.StatusNotFound, "//moved": http.StatusNotFound, "/mo%76ed": http.StatusNotFound, "/moved/": http.StatusNotFound, "/moved?a=b": http.StatusNotFound,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			req, err := http.NewRequestWithContext(ctx, method, "http://"+listener.Addr().String()+path, http.NoBody)
			must(t, err)
			resp, err := client.Do(req)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			must(t, errors.Join(err, resp.Body.Close()))
			if method == http.MethodGet && resp.StatusCode != want || want == http.StatusNotFound && resp.StatusCode < http.StatusBadRequest || strings.Contains(string(body), "gocache_proxy_") || strings.HasPrefix(string(body), "null") {
				t.Errorf("%s %s: %d %.200q, want %d", method, path, resp.StatusCode, body, want)
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

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
	go func() { ended <- server.ServePages(ctx, listener) }()
	client := &http.Client{Timeout: 10 * time.Second}
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/moved": http.StatusOK, modPath: http.StatusNotFound, "//" + modPath: http.StatusNotFound, "/metrics/.." + modPath: http.StatusNotFound,
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
