package haproxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestExternal: an instance behind a name, a path and a certificate of its own
// is asked as its configuration requires, is not trusted without, and is left when it dies.
func TestExternal(t *testing.T) {
	certificate, _ := selfSigned(t, "localhost")
	var asked atomic.Pointer[http.Request]
	var dead atomic.Bool
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.UserAgent() != "haproxy-check" {
			asked.Store(r)
		}
		_, _ = io.WriteString(w, "external")
	}))
	upstream.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	upstream.StartTLS()
	defer upstream.Close()
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/m/") {
			_, _ = io.WriteString(w, "local")
		} else if r.URL.Path != "/own" { // its check path
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer local.Close()
	instances := []haproxy.Instance{
		{Name: "blue", External: "https://localhost:" + u.Port() + "/go/proxy/"},
		{Name: "green", Address: strings.TrimPrefix(local.URL, "http://"), CheckPath: "/own"},
	}
	backend := startConfigured(t, haproxy.Config{Instances: instances, CAFile: writePool(t, certificate)})
	f := opened(t, backend, route.Server{Name: "blue", State: route.Ready, Weight: 256}, route.Server{Name: "green", State: route.Drain})
	eventually(t, "an answer of the external instance", func() bool { return f("/m/@v/list") == "external" })
	if r := asked.Load(); r.Host != u.Host && r.Host != "localhost:"+u.Port() || r.URL.Path != "/go/proxy/m/@v/list" ||
		r.TLS.ServerName != "localhost" || r.Header.Get("X-Request-ID") == "" {
		t.Errorf("asked for %s at %s with SNI %s and id %q", r.URL.Path, r.Host, r.TLS.ServerName, r.Header.Get("X-Request-ID"))
	}
	if got := f("/~2/m/@v/list"); got != "external" {
		t.Errorf("a second attempt is answered %q", got)
	}
	if got := asked.Load().Header.Get("X-Forwarded-For"); got != "" {
		t.Errorf("an external instance gets the client's address %q", got)
	}
	// No spelling of a path leads out of the external instance's own.
	for _, spelt := range []string{"/../secret", "/%2e%2e/secret", "/m/../../secret", "/m/..%2f..%2fsecret", "/.%2E/secret", haproxy.SecondAttempt + "/../secret", "/./../secret", "/m/@v/%2e%2e/%2e%2e/%2e%2e/secret"} {
		if code, err := tryGet(t.Context(), strings.TrimPrefix(backend.URL, "http://"), spelt); err != nil || code != http.StatusNotFound {
			t.Errorf("GET %s: %d, %v", spelt, code, err)
		}
	}
	if r := asked.Load(); r.URL.Path != "/go/proxy/m/@v/list" {
		t.Errorf("the external instance was asked for %s", r.URL.Path)
	}
	dead.Store(true)
	eventually(t, "the external instance to be left", func() bool { return f("/m/@v/list") == "local" })
	for range 20 {
		if got := f("/m/@v/list"); got != "local" {
			t.Errorf("with the external instance dead: %q", got)
		}
	}
	dead.Store(false)
	eventually(t, "the external instance to come back", func() bool { return f("/m/@v/list") == "external" })

	other, _ := selfSigned(t, "localhost")
	backend = startConfigured(t, haproxy.Config{Instances: instances, CAFile: writePool(t, other)})
	f = opened(t, backend, route.Server{Name: "blue", State: route.Ready, Weight: 256}, route.Server{Name: "green", State: route.Drain})
	eventually(t, "an answer", func() bool { return f("/m/@v/list") == "local" })
	for range 20 {
		if got := f("/m/@v/list"); got != "local" {
			t.Errorf("an external instance with a stranger's certificate: %q", got)
		}
	}
}

// opened sets an intent, waits for it, and returns how to get a body.
func opened(t *testing.T, b backend, want ...route.Server) func(path string) string {
	t.Helper()
	if err := b.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the intent to arrive", func() bool {
		o, err := b.Router.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ok, _ := o.Confirms(want)
		return ok
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return func(path string) string {
		resp, err := client.Get(b.URL + path)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("waited 20 s for %s", what)
}

func writePool(t *testing.T, certificate tls.Certificate) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// selfSigned makes a certificate for a name, and a pool that trusts it.
func selfSigned(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	certificate, err := newCertificate(host, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return certificate, pool
}
