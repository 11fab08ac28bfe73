package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

func read(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestEveryCertificateIsOfTheClustersAuthority(t *testing.T) {
	t.Parallel()
	spec := cluster.Spec{StateDir: filepath.Join(t.TempDir(), "s")}.WithDefaults()
	if err := Write(spec); err != nil {
		t.Fatal(err)
	}
	paths := spec.Paths()
	roots := x509.NewCertPool()
	roots.AddCert(read(t, paths.Certificate("ca")))

	names := []string{"kube-apiserver", "kubelet-server", "kubelet-client", "front-proxy-client"}
	for _, u := range Users(spec) {
		names = append(names, u.File)
	}
	for _, name := range names {
		certificate := read(t, paths.Certificate(name))
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tls.LoadX509KeyPair(paths.Certificate(name), paths.Key(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	server := read(t, paths.Certificate("kube-apiserver"))
	for _, host := range []string{spec.NodeIP().String(), spec.APIServiceIP().String(), "127.0.0.1", "kubernetes.default.svc"} {
		if err := server.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if admin := read(t, paths.Certificate("admin")); !slices.Contains(admin.Subject.Organization, "system:masters") {
		t.Errorf("admin is in %v", admin.Subject.Organization)
	}
	info, err := os.Stat(paths.Kubeconfig("admin"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: mode %v, %v", info.Mode(), err)
	}
}
