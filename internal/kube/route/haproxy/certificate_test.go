package haproxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/routetest"
	"gocache.dev/operator/internal/router/certificate"
	"gocache.dev/operator/internal/testing/loopback"
)

// secret plays the Secret that is mounted into the sidecar.
type secret struct {
	t   *testing.T
	dir string
}

func newSecret(t *testing.T, c tls.Certificate) secret {
	t.Helper()
	s := secret{t, t.TempDir()}
	s.set(c)
	return s
}

func (s secret) set(c tls.Certificate) {
	s.t.Helper()
	cert, key, err := encode(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("tls.key", key) // a moment without a pair, as no kubelet makes it
	s.write("tls.crt", cert)
}

func (s secret) write(name string, text []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// serial of the certificate that a new client gets.
func serial(t *testing.T, url string) string {
	t.Helper()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func serialOf(t *testing.T, c tls.Certificate) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.String()
}

func (b backend) report(t *testing.T) certificate.Report {
	t.Helper()
	resp, err := http.Get("http://" + b.sidecar + certificate.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var r certificate.Report
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBadSecrets: whatever becomes of the Secret, the certificate that works
// stays, also when HAProxy is started again, and a good one takes its place.
func TestBadSecrets(t *testing.T) {
	requireHAProxy(t)
	good, _ := selfSigned(t, "localhost")
	other, _ := selfSigned(t, "localhost")
	expired, err := newCertificate("localhost", time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	s := newSecret(t, good)
	instance := httptest.NewServer(http.NotFoundHandler())
	defer instance.Close()
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(instance.URL, "http://")}}}, s.dir)
	for what, spoil := range map[string]struct {
		do      func()
		message string
	}{
		"another key":    {func() { _, key, _ := encode(other); s.write("tls.key", key) }, "no pair"},
		"no PEM":         {func() { s.write("tls.crt", []byte("x")) }, "no certificate in PEM"},
		"an empty key":   {func() { s.write("tls.key", nil) }, "no private key in PEM"},
		"an expired one": {func() { s.set(expired) }, "expired"},
		"none":           {func() { _ = os.Remove(filepath.Join(s.dir, "tls.crt")) }, "does not exist"},
		"a long chain": {func() {
			cert, key, _ := encode(good)
			s.write("tls.key", key)
			s.write("tls.crt", []byte(strings.Repeat(string(cert), 40)))
		}, "bytes"},
	} {
		t.Run(what, func(t *testing.T) {
			spoil.do()
			eventually(t, "the problem to be said", func() bool { return strings.Contains(b.report(t).Problem, spoil.message) })
			b.Restart(t)
			if got, want := serial(t, b.URL), serialOf(t, good); got != want {
				t.Errorf("serves %s, want the old certificate %s", got, want)
			}
			s.set(good)
			eventually(t, "the problem to go", func() bool { return b.report(t).Problem == "" })
		})
	}
	s.set(other)
	eventually(t, "the new certificate", func() bool { return serial(t, b.URL) == serialOf(t, other) })
	b.Restart(t)
	if got, want := serial(t, b.URL), serialOf(t, other); got != want {
		t.Errorf("serves %s after a restart, want the new certificate %s", got, want)
	}
	wrongName, _ := selfSigned(t, "elsewhere.example.com")
	s.set(wrongName)
	eventually(t, "the name to be said", func() bool { return strings.Contains(b.report(t).NameMismatch, "elsewhere.example.com") })
}

// TestRotation changes the certificate again and again under real go commands
// and under one download that takes all the while.
func TestRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real go commands")
	}
	s := &site{instances: map[string]*process{}}
	requireHAProxy(t)
	s.makeModules(t)
	blue := startInstance(t, "blue", s.publishModules(t))
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			s.pass(w, r, blue.url)
			return
		}
		w.Header().Set("Content-Length", "20")
		_, _ = io.WriteString(w, "0123456789")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "0123456789")
	}))
	defer slow.Close()

	first, _ := selfSigned(t, "localhost")
	mounted := newSecret(t, first)
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: strings.TrimPrefix(slow.URL, "http://")}}}, mounted.dir)
	b.URL = strings.Replace(b.URL, "127.0.0.1", "localhost", 1)
	trust := []tls.Certificate{first}
	for range 5 {
		c, _ := selfSigned(t, "localhost")
		trust = append(trust, c)
	}
	var bundle []byte
	pool := x509.NewCertPool()
	for _, c := range trust {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
	}
	pool.AppendCertsFromPEM(bundle)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}}
	if err := b.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the router to open", func() bool {
		o, err := b.Router.Observe(t.Context())
		ok, _ := o.Confirms(want)
		return err == nil && ok
	})

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	long, err := client.Get(b.URL + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = long.Body.Close() }()

	var rotations atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			n := rotations.Add(1)
			c := trust[int(n)%len(trust)]
			mounted.set(c)
			for range 250 {
				if ctx.Err() != nil || serial(t, b.URL2()) == serialOf(t, c) {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}()
	s.backend = routetest.Backend{URL: b.URL}
	r := s.run(t, b.URL, func() {}) // a single mention: nothing is tried again
	stop()
	<-done
	close(release)
	if body, err := io.ReadAll(long.Body); err != nil || len(body) != 20 {
		t.Errorf("the long download ended with %d of 20 bytes: %v", len(body), err)
	}
	t.Logf("failed client commands: %d of %d, %d rotations", r.failed, r.commands, rotations.Load())
	if r.failed > 0 {
		t.Errorf("for example: %s", r.errors[0])
	}
	if rotations.Load() < 3 {
		t.Errorf("only %d rotations", rotations.Load())
	}
}

// URL2 is the address in digits.
func (b backend) URL2() string { return strings.Replace(b.URL, "localhost", "127.0.0.1", 1) }

// pass asks another server.
func (*site) pass(w http.ResponseWriter, r *http.Request, url string) {
	resp, err := http.Get(url + r.URL.Path)
	if err != nil {
		http.Error(w, fmt.Sprint(err), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// TestOldTLS holds that the router accepts no TLS before version 1.2.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	certificate, _ := selfSigned(t, "localhost")
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: loopback.Address(t)}}}, newSecret(t, certificate).dir)
	for version, accepted := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}} //nolint:gosec // it is what is tested
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(b.URL, "https://"))
		if (err == nil) != accepted {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}
