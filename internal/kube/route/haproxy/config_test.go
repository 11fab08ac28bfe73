package haproxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/kube/route/haproxy"
)

func sampleConfig() haproxy.Config {
	return haproxy.Config{
		Name: "goproxy", Bind: ":8080", PagesBind: ":8404", Agent: "127.0.0.1:9777", Answers: "127.0.0.1:9779", Attempts: "127.0.0.1:9780",
		Instances: []haproxy.Instance{
			{Name: "blue", Address: "10.96.0.11:8080"},
			{Name: "green", Address: "10.96.0.12:8080"},
			{Name: "spare", Address: "10.96.0.13:3000", Standby: true},
		},
	}
}

func TestRenderGolden(t *testing.T) {
	got, err := haproxy.Render(sampleConfig())
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "haproxy.cfg")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("haproxy.cfg differs from %s; set UPDATE_GOLDEN=1 to accept (-want +got):\n%s", golden, diff)
	}
}

// TestRenderIsAccepted asks HAProxy itself.
func TestRenderIsAccepted(t *testing.T) {
	program := requireHAProxy(t)
	dir := t.TempDir()
	certificate := writeCertificate(t, dir)
	for name, change := range map[string]func(*haproxy.Config){
		"plain": func(*haproxy.Config) {},
		"TLS":   func(c *haproxy.Config) { c.CertificateFile, c.RunDir = certificate, dir },
		"clients that authenticate": func(c *haproxy.Config) {
			c.CertificateFile, c.ClientsFile, c.RunDir = certificate, filepath.Join(dir, "clients"), dir
			if err := os.WriteFile(c.ClientsFile, nil, 0o600); err != nil { // as long as there is no Secret
				t.Fatal(err)
			}
		},
		"one instance": func(c *haproxy.Config) { c.Instances = c.Instances[:1] },
		"IPv6":         func(c *haproxy.Config) { c.Instances[0].Address = "[fd00::1]:8080" },
		"external": func(c *haproxy.Config) {
			c.Instances[0] = haproxy.Instance{Name: "blue", External: "https://localhost/goproxy/"}
			c.Instances[2] = haproxy.Instance{Name: "spare", External: "http://localhost:3000", Standby: true}
		},
		"own check port":  func(c *haproxy.Config) { c.Instances[1].CheckPort = 9103 },
		"answers passed":  func(c *haproxy.Config) { c.PassModules = true },
		"no sidecar":      func(c *haproxy.Config) { c.Answers, c.Attempts = "", "" },
		"own check paths": func(c *haproxy.Config) { c.Instances[1].CheckPath = "/" },
	} {
		t.Run(name, func(t *testing.T) {
			config := sampleConfig()
			config.RunDir = "/run/gocache"
			change(&config)
			text, err := haproxy.Render(config)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(program, "-c", "-f", file).CombinedOutput()
			if err != nil || strings.Contains(string(out), "WARNING") {
				t.Errorf("haproxy -c: %v\n%s", err, out)
			}
		})
	}
}

// writeCertificate writes a certificate and its key as the sidecar does.
func writeCertificate(t *testing.T, dir string) string {
	t.Helper()
	certificate, err := newCertificate("localhost", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := encode(certificate)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tls.pem")
	if err := os.WriteFile(file, append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// newCertificate makes one for a name that signs itself.
func newCertificate(host string, notAfter time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: host},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// encode is what a kubernetes.io/tls Secret holds.
func encode(c tls.Certificate) (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func TestRenderRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*haproxy.Config)
		reason string
	}{
		"no instance":        {func(c *haproxy.Config) { c.Instances = nil }, "no instance"},
		"name twice":         {func(c *haproxy.Config) { c.Instances[1].Name = "blue" }, "given twice"},
		"a second word":      {func(c *haproxy.Config) { c.Instances[0].Name = "blue check" }, "DNS-1035"},
		"a second line":      {func(c *haproxy.Config) { c.Name = "a\nb" }, "DNS-1035"},
		"no port":            {func(c *haproxy.Config) { c.Instances[0].Address = "10.0.0.1" }, "missing port"},
		"words in a host":    {func(c *haproxy.Config) { c.Instances[0].Address = "a ssl:80" }, "no host:port"},
		"odd check path":     {func(c *haproxy.Config) { c.CheckPath = "/a b" }, "check path"},
		"odd certificate":    {func(c *haproxy.Config) { c.CertificateFile = "/a b" }, "certificate"},
		"no agent":           {func(c *haproxy.Config) { c.Agent = "" }, "agent"},
		"no run directory":   {func(c *haproxy.Config) { c.CertificateFile = "/a" }, "run directory"},
		"external FTP":       {external("ftp://example.com"), "neither http nor https"},
		"external secret":    {external("https://me:secret@example.com"), "credentials"},
		"external address":   {external("https://10.0.0.1"), "host name to verify"},
		"words in a URL":     {external("http://a;b/"), "host name"},
		"odd external path":  {external("http://example.com/a%20b"), "URL path"},
		"external secrets":   {external("ftp://user:s3cret@example.com/?s3cret#s3cret"), `"ftp://example.com/"`},
		"external unread":    {external("http://user:s3cret@%zz"), "cannot be parsed"},
		"external and not":   {func(c *haproxy.Config) { c.RunDir, c.Instances[0].External = "/run", "http://example.com" }, "an address and is external"},
		"own odd check path": {func(c *haproxy.Config) { c.Instances[0].CheckPath = "/)" }, "check path"},
		"port out of bounds": {func(c *haproxy.Config) { c.Bind = ":70000" }, "bind"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := sampleConfig()
			test.change(&config)
			text, err := haproxy.Render(config)
			if err == nil || !strings.Contains(err.Error(), test.reason) || strings.Contains(err.Error(), "s3cret") || text != "" {
				t.Errorf("Render = %q, %v; want an error that says %q", text, err, test.reason)
			}
		})
	}
}

func external(url string) func(*haproxy.Config) {
	return func(c *haproxy.Config) {
		c.RunDir = "/run/gocache"
		c.Instances[0] = haproxy.Instance{Name: "blue", External: url}
	}
}
