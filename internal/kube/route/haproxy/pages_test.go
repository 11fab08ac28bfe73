package haproxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestOwnPagesAreNotForClients holds that no spelling of a path leads a client to
// a page of an instance's own, and that all spellings of a module's path still
// lead to the module.
func TestOwnPagesAreNotForClients(t *testing.T) {
	var mu sync.Mutex
	var reached []string
	instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		reached = append(reached, r.URL.Path)
		_, _ = io.WriteString(w, "module example.com/m\n")
	}))
	t.Cleanup(instance.Close)
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(instance.URL, "http://")}}})
	if err := b.Router.Set(t.Context(), []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(b.URL, "http://")
	eventuallyOK(t, address)
	for _, spelt := range []string{
		"/metrics", "//metrics", "/%2Fmetrics", "/metrics/", haproxy.ThirdAttempt + "//metrics", haproxy.SecondAttempt + "///readyz", "/%6detrics", "/%6D%65trics", "/metric%73", "/readyz", "/read%79z", "/moved", "/mo%76ed", "/sumdb/../metrics", "/sumdb/%2e%2e/metrics",
		"/sumdb/.%2E/metrics", "/./metrics", "/%2e/metrics", "/a/@v/../../metrics", "/sumdb/..%2fmetrics", "/..", "/sumdb/..", "/metrics?x=1",
		haproxy.SecondAttempt + "/metrics", haproxy.SecondAttempt + "/%6detrics",
	} {
		if code := plainGet(t, address, spelt); code != http.StatusNotFound {
			t.Errorf("GET %s: %d", spelt, code)
		}
	}
	mu.Lock()
	for _, path := range reached {
		if strings.Contains(path, "metrics") || strings.HasSuffix(path, "..") {
			t.Errorf("%s was reached", path)
		}
	}
	mu.Unlock()
	for _, spelt := range []string{
		"/example.com/m/@v/v1.0.0.mod", "/example.com/%21upper/@v/v1.0.0.mod", "/example.com/m/@v/v2.0.0%2Bincompatible.mod",
		"/example.com/..m/@v/v1.0.0.mod", "/example.com/metrics/@v/v1.0.0.mod", "/gopkg.in/yaml.v2/@v/v2.4.0.mod",
	} {
		if code := plainGet(t, address, spelt); code != http.StatusOK {
			t.Errorf("GET %s: %d", spelt, code)
		}
	}
}

// plainGet asks for a path as it is spelt.
func plainGet(t *testing.T, address, spelt string) int {
	t.Helper()
	code, err := tryGet(t.Context(), address, spelt)
	if err != nil {
		t.Fatalf("GET %s: %v", spelt, err)
	}
	return code
}

func tryGet(ctx context.Context, address, spelt string) (int, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: goproxy\r\nConnection: close\r\n\r\n", spelt); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func eventuallyOK(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if code, err := tryGet(t.Context(), address, "/example.com/m/@v/v1.0.0.mod"); err == nil && code == http.StatusOK {
			return
		}
	}
	t.Fatal("the router does not serve")
}
