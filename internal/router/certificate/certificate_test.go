package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the fingerprint's own algorithm
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/router/certificate"
)

var (
	from = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to   = from.Add(90 * 24 * time.Hour)
)

// pair is a certificate for proxy.test, valid between from and to, and its key.
func pair(t *testing.T) (chain, key, der []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ignored.test"}, DNSNames: []string{"proxy.test", "*.wild.test"},
		NotBefore: from, NotAfter: to,
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", secret), der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// filler makes a block of exactly size bytes, for behind a key. Its kind, which
// is written twice, makes up for the sizes that base64 cannot have.
func filler(t *testing.T, size int) []byte {
	t.Helper()
	content := make([]byte, size/3*2)
	for ; len(content) < size; content = append(content, 0) {
		if missing := size - len(block("X PRIVATE KEY", content)); missing >= 0 && missing < 20 && missing%2 == 0 {
			return block(strings.Repeat("X", 1+missing/2)+" PRIVATE KEY", content)
		}
	}
	t.Fatalf("no block of %d bytes", size)
	return nil
}

func TestParse(t *testing.T) {
	chain, key, der := pair(t)
	_, otherKey, _ := pair(t)
	issuer, _, _ := pair(t)
	const limit = 15 << 10 // see HAProxy's buffer
	fits := filler(t, limit-len(chain)-len(key))
	large := filler(t, limit-len(chain)-len(key)+1)
	now := from.Add(time.Hour)
	clean := join(chain, key)
	for name, tt := range map[string]struct {
		chain, key []byte
		now        time.Time
		bundle     []byte // nil: there is no pair
		problem    string // "": it may serve
	}{
		"right":              {chain, key, now, clean, ""},
		"with its issuer":    {join(chain, issuer), key, now, join(chain, issuer, key), ""},
		"with other text":    {join([]byte("# my certificate\n\n"), chain, []byte("\nthe end")), join([]byte("\n"), key), now, clean, ""},
		"with other blocks":  {join(block("X509 CRL", []byte("x")), chain, key), join(block("EC PARAMETERS", []byte("x")), key, issuer), now, clean, ""},
		"the first instant":  {chain, key, from, clean, ""},
		"the last instant":   {chain, key, to, clean, ""},
		"too early":          {chain, key, from.Add(-time.Second), clean, "not valid before 2026-01-01T00:00:00Z"},
		"expired":            {chain, key, to.Add(time.Second), clean, "expired at 2026-04-01T00:00:00Z"},
		"of the size limit":  {chain, join(key, fits), now, join(chain, key, fits), ""},
		"above the limit":    {chain, join(key, large), now, join(chain, key, large), "leave out of the chain"},
		"no certificate":     {nil, key, now, nil, "tls.crt holds no certificate"},
		"a key for chain":    {key, key, now, nil, "tls.crt holds no certificate"},
		"no key":             {chain, nil, now, nil, "tls.key holds no private key"},
		"a chain for key":    {chain, chain, now, nil, "tls.key holds no private key"},
		"of two pairs":       {chain, otherKey, now, nil, "no pair"},
		"a damaged chain":    {block("CERTIFICATE", der[:len(der)-1]), key, now, nil, "no pair"},
		"a damaged key":      {chain, block("PRIVATE KEY", []byte("x")), now, nil, "no pair"},
		"DER instead of PEM": {der, key, now, nil, "tls.crt holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := certificate.Parse(tt.chain, tt.key, tt.now)
			if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("err = %v, want %q", err, tt.problem)
			}
			if !bytes.Equal(got.Bundle, tt.bundle) {
				t.Errorf("the bundle is\n%s\nwant\n%s", got.Bundle, tt.bundle)
			}
			if tt.bundle == nil {
				if got.Fingerprint != "" || got.Leaf != nil {
					t.Errorf("there is no pair, but %+v", got)
				}
				return
			}
			if want := fmt.Sprintf("%X", sha1.Sum(der)); got.Fingerprint != want { //nolint:gosec // as above
				t.Errorf("fingerprint %s, want %s", got.Fingerprint, want)
			}
			if !got.Leaf.NotAfter.Equal(to) {
				t.Errorf("expires %v, want %v", got.Leaf.NotAfter, to)
			}
		})
	}
}

func TestNameMismatch(t *testing.T) {
	chain, key, _ := pair(t)
	p, err := certificate.Parse(chain, key, from)
	if err != nil {
		t.Fatal(err)
	}
	for host, fits := range map[string]bool{
		"": true, "proxy.test": true, "PROXY.test": true, "a.wild.test": true,
		"a.b.wild.test": false, "other.test": false, "ignored.test": false, "127.0.0.1": false,
	} {
		if got := p.NameMismatch(host); (got == "") != fits || !fits && !strings.Contains(got, host) {
			t.Errorf("%q: %q, want it accepted: %t", host, got, fits)
		}
	}
}

// The operator of one release reads the report of a router of another.
func TestReportFormat(t *testing.T) {
	for want, r := range map[string]certificate.Report{
		`{}`: {},
		`{"fingerprint":"AB","notAfter":"2026-04-01T00:00:00Z","problem":"p","nameMismatch":"n"}`: {Fingerprint: "AB", NotAfter: to, Problem: "p", NameMismatch: "n"},
	} {
		if got, err := json.Marshal(r); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	if certificate.Path != "/certificate" {
		t.Errorf("the report is at %s", certificate.Path)
	}
}
