package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/loopback"
)

// started runs the command until the test ends, and returns how it ends.
func started(t *testing.T, args ...string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := command()
	cmd.SetArgs(args)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(30 * time.Second):
			return errors.New("it does not end")
		}
	}
}

// stored is a store with the list of the versions of one module.
func stored(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list := filepath.Join(dir, "example.com", "m", "@v")
	if err := os.MkdirAll(list, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"v1.0.0.mod": "module example.com/m\n", "v1.0.0.info": `{"Version":"v1.0.0"}`} {
		if err := os.WriteFile(filepath.Join(list, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestServes holds that what is stored is served, with the metrics at their own address
// as well, and that a certificate makes the address one of https.
func TestServes(t *testing.T) {
	certificate, ca, err := gitserver.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"tls.crt": ca, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	for scheme, with := range map[string][]string{
		"http://":  nil,
		"https://": {"--tls-cert", filepath.Join(dir, "tls.crt"), "--tls-key", filepath.Join(dir, "tls.key")},
	} {
		address, metrics := loopback.Address(t), loopback.Address(t)
		args := []string{"--store", stored(t), "--upstream", "off", "--listen", address, "--metrics-listen", metrics, "--name", "blue", "--temp-dir", t.TempDir(), "--shutdown-timeout", "10s"}
		stop := started(t, append(args, with...)...)
		if code, text := loopback.Page(t, client, scheme+address+"/example.com/m/@v/v1.0.0.mod", loopback.Any); code != http.StatusOK || text != "module example.com/m\n" {
			t.Errorf("%s: %d, %q", scheme, code, text)
		}
		if code, _ := loopback.Page(t, client, scheme+address+"/healthz", loopback.Any); code != http.StatusOK {
			t.Errorf("%s: /healthz: %d", scheme, code)
		}
		if code, text := loopback.Page(t, client, "http://"+metrics+"/metrics", loopback.Any); code != http.StatusOK || !strings.Contains(text, "gocache_proxy_") {
			t.Errorf("%s: metrics: %d, %.200s", scheme, code, text)
		}
		if code, _ := loopback.Page(t, client, "http://"+metrics+"/example.com/m/@v/v1.0.0.mod", loopback.Any); code == http.StatusOK {
			t.Errorf("%s: the address of the metrics serves modules", scheme)
		}
		if err := stop(); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// TestRefuses holds which flags and which world the command does not start with, and that
// no address is in use after it.
func TestRefuses(t *testing.T) {
	used, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }()
	store, free := stored(t), loopback.Address(t)
	good := []string{"--store", store, "--upstream", "off", "--listen", free}
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no store":                   {nil, `required flag(s) "store" not set`},
		"an argument":                {append(good[:6:6], "x"), "unknown command"},
		"a certificate without key":  {append(good[:6:6], "--tls-cert", "/none"), "if any flags in the group [tls-cert tls-key] are set"},
		"patterns without a server":  {append(good[:6:6], "--private-modules", "a.example.com"), "if any flags in the group [version-control private-modules] are set"},
		"no such certificate":        {append(good[:6:6], "--tls-cert", "/none", "--tls-key", "/none"), "load the certificate: "},
		"an address in use":          {append(good[:4:4], "--listen", used.Addr().String()), "listen on " + used.Addr().String()},
		"its metrics' address":       {append(good[:6:6], "--metrics-listen", used.Addr().String()), "listen on " + used.Addr().String()},
		"a store that is not a path": {[]string{"--store", filepath.Join(store, "example.com", "m", "@v", "v1.0.0.mod"), "--upstream", "off", "--listen", free}, ""},
	} {
		cmd := command()
		cmd.SetArgs(tt.args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		if err := cmd.ExecuteContext(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		stop()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", free)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = l.Close()
	}
}

// TestDefaults holds what a proxy does that gets no flag but its store.
func TestDefaults(t *testing.T) {
	t.Setenv("GOROOT", "/opt/go")
	t.Setenv("GOCACHE_PROXY_PEERS", "http://a,http://b")
	t.Setenv("GOCACHE_PROXY_MAX_USED_PERCENT", "80")
	t.Setenv("GOCACHE_PROXY_VOLUME_SIZE", "1000")
	fs := command().Flags()
	for name, want := range map[string]string{
		"listen": ":8080", "metrics-listen": "", "upstream": "", "toolchain-defaults": "/opt/go/go.env", "peers": "http://a,http://b",
		"fetch-timeout": "10m0s", "max-fetches": "32", "max-fetch-bytes": "2147483648", "max-requests": "1024", "max-used-percent": "80",
		"volume-size": "1000", "min-free": "67108864", "ready-timeout": "1s", "shutdown-timeout": "5m0s", "policy": "", "tls-cert": "",
	} {
		f := fs.Lookup(name)
		if f == nil || f.DefValue != want {
			t.Errorf("--%s: %+v, want %q", name, f, want)
		}
	}
	t.Setenv("GOROOT", "")
	if got := goroot(); got != "/usr/local/go" {
		t.Errorf("without GOROOT: %s", got)
	}
	if name, err := os.Hostname(); err != nil || hostname() != name {
		t.Errorf("%s, %v; named %s", name, err, hostname())
	}
}

// TestRenewedCertificate holds that a handshake uses the certificate that lies there now.
func TestRenewedCertificate(t *testing.T) {
	if c, err := loadTLS("", ""); c != nil || err != nil {
		t.Errorf("without a file: %v, %v", c, err)
	}
	dir := t.TempDir()
	cert, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	renew := func(host string) []byte {
		t.Helper()
		pair, _, err := gitserver.Certificate(host)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600),
			os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)); err != nil {
			t.Fatal(err)
		}
		return pair.Certificate[0]
	}
	first := renew("127.0.0.1")
	c, err := loadTLS(cert, keyFile)
	if err != nil || c.MinVersion != tls.VersionTLS12 {
		t.Fatalf("%+v, %v", c, err)
	}
	if got, err := c.GetCertificate(nil); err != nil || !bytes.Equal(got.Certificate[0], first) {
		t.Errorf("another certificate: %v", err)
	}
	second := renew("localhost")
	if got, err := c.GetCertificate(nil); err != nil || !bytes.Equal(got.Certificate[0], second) {
		t.Errorf("the certificate before is used: %v", err)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetCertificate(nil); err == nil {
		t.Error("a handshake without a key")
	}
}

// TestWhereModulesComeFrom holds that what is not stored comes from the upstream of the flag, or
// that of the go command, and first from the other instances.
func TestWhereModulesComeFrom(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	of := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(r.URL.Path, "example.com") {
				asked = append(asked, name)
			}
			http.NotFound(w, r)
		}))
		t.Cleanup(s.Close)
		return s
	}
	upstream, byDefault, peer := of("upstream"), of("default"), of("peer")
	t.Setenv("GOPROXY", byDefault.URL)
	t.Setenv("GOSUMDB", "off")
	for name, tt := range map[string]struct {
		flags []string
		want  string
	}{
		"of the flag":        {[]string{"--upstream", upstream.URL}, "upstream"},
		"of the go command":  {nil, "default"},
		"none":               {[]string{"--upstream", "off"}, ""},
		"of other instances": {[]string{"--upstream", upstream.URL, "--peers", peer.URL}, "peer upstream"},
	} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		address := loopback.Address(t)
		stop := started(t, append([]string{"--store", stored(t), "--listen", address, "--temp-dir", t.TempDir()}, tt.flags...)...)
		loopback.Page(t, http.DefaultClient, "http://"+address+"/healthz", loopback.Any)
		if code, text := loopback.Page(t, http.DefaultClient, "http://"+address+"/example.com/none/@v/v1.0.0.mod", loopback.Any); code != http.StatusNotFound {
			t.Errorf("%s: %d %s", name, code, text)
		}
		mu.Lock()
		if got := strings.Join(slices.Compact(asked), " "); got != tt.want {
			t.Errorf("%s: asked %q, want %q", name, got, tt.want)
		}
		mu.Unlock()
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
