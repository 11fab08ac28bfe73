package haproxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
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
		Name: "goproxy", Bind: ":8080", PagesBind: ":8404", Agent: "127.0.0.1:9777",
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
		"plain":        func(*haproxy.Config) {},
		"TLS":          func(c *haproxy.Config) { c.CertificateFile = certificate },
		"one instance": func(c *haproxy.Config) { c.Instances = c.Instances[:1] },
		"IPv6":         func(c *haproxy.Config) { c.Instances[0].Address = "[fd00::1]:8080" },
	} {
		t.Run(name, func(t *testing.T) {
			config := sampleConfig()
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

// writeCertificate lays a certificate and its key out as the Deployment
// mounts them from a Secret.
func writeCertificate(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tls.crt")
	for name, block := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: cert}, file + ".key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
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
		"port out of bounds": {func(c *haproxy.Config) { c.Bind = ":70000" }, "bind"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := sampleConfig()
			test.change(&config)
			text, err := haproxy.Render(config)
			if err == nil || !strings.Contains(err.Error(), test.reason) || text != "" {
				t.Errorf("Render = %q, %v; want an error that says %q", text, err, test.reason)
			}
		})
	}
}
