package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// validity is longer than any test cluster lives.
const validity = 365 * 24 * time.Hour

// User is one identity that gets a kubeconfig.
type User struct {
	// File is the name of the kubeconfig, certificate, and key.
	File string
	// CommonName is the user as the API server sees it.
	CommonName string
	// Groups are the user's groups.
	Groups []string
}

// Users are all identities of a cluster.
func Users(spec cluster.Spec) []User {
	users := []User{
		{File: "admin", CommonName: "admin", Groups: []string{"system:masters"}},
		{File: "kube-controller-manager", CommonName: "system:kube-controller-manager"},
		{File: "kube-scheduler", CommonName: "system:kube-scheduler"},
		{File: "kube-proxy", CommonName: "system:kube-proxy"},
		// The sidecars' RBAC differs from release to release and is not what is tested here.
		{File: "csi", CommonName: "csi-sidecars", Groups: []string{"system:masters"}},
	}
	for _, n := range spec.AllNodes() {
		users = append(users, User{
			File: n.Named("kubelet"), CommonName: "system:node:" + n.Name(), Groups: []string{"system:nodes"},
		})
	}
	return users
}

// Write fills the cluster's PKI folder.
func Write(spec cluster.Spec) error {
	paths := spec.Paths()
	if err := os.MkdirAll(paths.PKI(), 0o700); err != nil {
		return err
	}
	ca, err := newAuthority("gocache-devcluster-" + spec.Name)
	if err != nil {
		return err
	}
	if err := ca.write(paths, "ca"); err != nil {
		return err
	}
	if err := writeServiceAccountKey(paths); err != nil {
		return err
	}
	for _, s := range servers(spec) {
		pair, err := ca.issue(s)
		if err != nil {
			return err
		}
		if err := pair.write(paths, s.file); err != nil {
			return err
		}
	}
	for _, u := range Users(spec) {
		pair, err := ca.issue(subject{file: u.File, commonName: u.CommonName, groups: u.Groups})
		if err != nil {
			return err
		}
		if err := pair.write(paths, u.File); err != nil {
			return err
		}
		config, err := kubeconfig(spec, u.CommonName, ca.certPEM(), pair)
		if err != nil {
			return err
		}
		if err := cluster.WriteFile(paths.Kubeconfig(u.File), config, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// subject is what a certificate is issued for.
type subject struct {
	file       string
	commonName string
	groups     []string
	dnsNames   []string
	addresses  []netip.Addr
}

func servers(spec cluster.Spec) []subject {
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	service := "kubernetes.default.svc"
	all := []subject{
		{
			file: "kube-apiserver", commonName: "kube-apiserver",
			dnsNames:  []string{"localhost", "kubernetes", "kubernetes.default", service, service + "." + cluster.Domain},
			addresses: []netip.Addr{local, spec.NodeIP(), spec.APIServiceIP()},
		},
		{file: "kubelet-client", commonName: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "front-proxy-client", commonName: "front-proxy-client"},
	}
	for _, n := range spec.AllNodes() {
		all = append(all, subject{
			file: n.Named("kubelet-server"), commonName: "system:node:" + n.Name(), groups: []string{"system:nodes"},
			dnsNames: []string{n.Name()}, addresses: []netip.Addr{local, n.IP()},
		})
	}
	return all
}

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*pair, error) {
	return newPair(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil)
}

func (p *pair) issue(s subject) (*pair, error) {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: s.commonName, Organization: s.groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:    s.dnsNames,
	}
	for _, a := range s.addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	issued, err := newPair(t, p)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", s.file, err)
	}
	return issued, nil
}

// newPair signs a template with ca, or with its own key when ca is nil.
func newPair(t *x509.Certificate, ca *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	t.NotBefore = time.Now().Add(-time.Hour) // a clock that is set back does not end the cluster
	t.NotAfter = t.NotBefore.Add(validity)
	if ca == nil {
		ca = &pair{cert: t, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &pair{cert: cert, key: key}, nil
}

func (p *pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p *pair) keyPEM() ([]byte, error) { return encodeKey(p.key) }

func (p *pair) write(paths cluster.Paths, name string) error {
	key, err := p.keyPEM()
	if err != nil {
		return err
	}
	if err := cluster.WriteFile(paths.Key(name), key, 0o600); err != nil {
		return err
	}
	return cluster.WriteFile(paths.Certificate(name), p.certPEM(), 0o644)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeServiceAccountKey makes the key that service account tokens are signed with.
func writeServiceAccountKey(paths cluster.Paths) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := cluster.WriteFile(paths.Key("service-account"), private, 0o600); err != nil {
		return err
	}
	return cluster.WriteFile(paths.Certificate("service-account"),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644)
}

// kubeconfig is self-contained: it can be copied anywhere.
func kubeconfig(spec cluster.Spec, user string, ca []byte, p *pair) ([]byte, error) {
	key, err := p.keyPEM()
	if err != nil {
		return nil, err
	}
	type object = map[string]any
	return yaml.Marshal(object{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []object{{"name": spec.Name, "cluster": object{
			"server": spec.Server(), "certificate-authority-data": ca,
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": p.certPEM(), "client-key-data": key,
		}}},
		"contexts":        []object{{"name": spec.Name, "context": object{"cluster": spec.Name, "user": user}}},
		"current-context": spec.Name,
	})
}
