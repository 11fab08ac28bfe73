package haproxy_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// credentials play the Secret that is mounted into the sidecar.
func credentials(t *testing.T, dir, user, password string) string {
	t.Helper()
	for name, text := range map[string]string{"username": user, "password": password} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestClientsAuthenticate holds that a router with client authentication serves
// modules, through a real HAProxy, to clients with the credentials of the Secret
// and to no others; that it follows a change of the Secret; and that no password
// is in its configuration, in its files, in its log, or sent to an instance.
func TestClientsAuthenticate(t *testing.T) {
	var mu sync.Mutex
	var sent []string
	instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Header.Values("Authorization")...)
		_, _ = io.WriteString(w, "module example.com/m\n")
	}))
	t.Cleanup(instance.Close)
	certificate, _ := selfSigned(t, "localhost")
	dir := t.TempDir()
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(instance.URL, "http://")}}},
		newSecret(t, certificate).dir, dir)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the router's own, on loopback
	get := func(path, user, password string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") != `Basic realm="goproxy"` {
			t.Errorf("WWW-Authenticate: %q", resp.Header.Get("WWW-Authenticate"))
		}
		return resp.StatusCode, string(body)
	}
	const path = "/example.com/m/@v/v1.0.0.mod"
	if err := b.Router.Set(t.Context(), []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}); err != nil {
		t.Fatal(err)
	}
	// Without a Secret it serves no client, and reports that it is not ready.
	if code, body := get(path, "", ""); code != http.StatusUnauthorized || !strings.Contains(body, "netrc") {
		t.Errorf("without a Secret and without credentials: %d %s", code, body)
	}
	if code, _ := get(path, "ci", "first secret"); code != http.StatusUnauthorized {
		t.Errorf("without a Secret: %d", code)
	}
	resp, err := http.Get("http://" + b.sidecar + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a Secret the sidecar is ready: %d", resp.StatusCode)
	}

	credentials(t, dir, "ci", "first secret")
	eventually(t, "the credentials to be accepted", func() bool { code, _ := get(path, "ci", "first secret"); return code == http.StatusOK })
	for _, prefix := range []string{"", haproxy.SecondAttempt, haproxy.ThirdAttempt} {
		if code, body := get(prefix+path, "ci", "first secret"); code != http.StatusOK || body != "module example.com/m\n" {
			t.Errorf("%s: %d %s", prefix, code, body)
		}
	}
	for _, other := range [][2]string{{"", ""}, {"ci", ""}, {"ci", "first secre"}, {"ci", "first secret2"}, {"CI", "first secret"}, {"", "first secret"}, {"ci:first", "secret"}} {
		for _, spelt := range []string{path, haproxy.SecondAttempt + path, "/sumdb/sum.example.com/latest", "/", "/metrics", "/%6detrics"} {
			if code, _ := get(spelt, other[0], other[1]); code != http.StatusUnauthorized {
				t.Errorf("GET %s as %q: %d", spelt, other, code)
			}
		}
	}
	if code, _ := get("/healthz", "", ""); code != http.StatusOK {
		t.Errorf("the load balancer's check: %d", code)
	}
	if code, _ := get("/metrics", "ci", "first secret"); code != http.StatusNotFound {
		t.Errorf("the instance's own page: %d", code)
	}

	credentials(t, dir, "ci", "second secret")
	eventually(t, "the new credentials to be accepted", func() bool { code, _ := get(path, "ci", "second secret"); return code == http.StatusOK })
	if code, _ := get(path, "ci", "first secret"); code != http.StatusUnauthorized {
		t.Errorf("with the former credentials: %d", code)
	}
	// A Secret that is removed changes nothing, also not for a HAProxy that starts.
	if err := os.Remove(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	b.Restart(t)
	eventually(t, "the router to serve after a restart", func() bool { code, _ := get(path, "ci", "second secret"); return code == http.StatusOK })
	if code, _ := get(path, "ci", "first secret"); code != http.StatusUnauthorized {
		t.Errorf("with the former credentials, after a restart: %d", code)
	}

	mu.Lock()
	defer mu.Unlock()
	if len(sent) > 0 {
		t.Errorf("the instance was sent %q", sent)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(b.log), "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("the router's files: %q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a socket
		}
		for _, password := range []string{"first secret", "second secret"} {
			if strings.Contains(string(text), password) || strings.Contains(string(text), base64.StdEncoding.EncodeToString([]byte("ci:"+password))) {
				t.Errorf("%s contains %q", filepath.Base(file), password)
			}
		}
	}
}

// TestGoCommandAuthenticates holds that the real go command downloads through a
// router with client authentication when a netrc file has the credentials, and
// prints what is missing when none has.
func TestGoCommandAuthenticates(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command on this machine")
	}
	requireHAProxy(t)
	s := &site{instances: map[string]*process{}}
	s.makeModules(t)
	blue := startInstance(t, "blue", s.publishModules(t))
	certificate, _ := selfSigned(t, "localhost")
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(blue.url, "http://")}}},
		newSecret(t, certificate).dir, credentials(t, t.TempDir(), "ci", "s3cret"))
	if err := b.Router.Set(t.Context(), []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(b.URL, "127.0.0.1", "localhost", 1)
	roots, netrc := filepath.Join(t.TempDir(), "roots.pem"), filepath.Join(t.TempDir(), "netrc")
	host := strings.TrimPrefix(url, "https://")
	for file, text := range map[string]string{
		roots: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})),
		netrc: "machine localhost login ci password s3cret\nmachine " + host + " login ci password s3cret\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", roots)
	t.Setenv("NETRC", netrc)
	eventually(t, "a download with credentials", func() bool { // the router may still open
		return s.download(t.Context(), t.TempDir(), haproxy.GOPROXY(url)) == nil
	})
	t.Setenv("NETRC", os.DevNull)
	if err := s.download(t.Context(), t.TempDir(), haproxy.GOPROXY(url)); err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || !strings.Contains(err.Error(), "netrc") {
		t.Errorf("without credentials: %v", err)
	}
}
