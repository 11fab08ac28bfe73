package certificate

import (
	"crypto/sha1" //nolint:gosec // HAProxy names certificates by it; nothing is secured by it
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Path of the sidecar's page that answers a Report.
const Path = "/certificate"

// Report is the report of a router's sidecar on the certificate.
type Report struct {
	// Fingerprint of the certificate that HAProxy serves: the SHA-1 of its DER
	// form in upper case hex, as HAProxy shows it. Empty: none.
	Fingerprint string `json:"fingerprint,omitempty"`
	// NotAfter is when it expires.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// Problem is why the Secret's pair is not the one that serves. Empty: it is.
	Problem string `json:"problem,omitempty"`
	// NameMismatch is why clients refuse it under the published name, although
	// it serves.
	NameMismatch string `json:"nameMismatch,omitempty"`
}

// maxSize of a bundle: HAProxy takes it over its socket into one buffer of
// 16 KiB.
const maxSize = 15 << 10

// Pair is a certificate with its key that may serve.
type Pair struct {
	// Bundle is the chain and the key, in PEM without anything else.
	Bundle []byte
	// Fingerprint as in Report.
	Fingerprint string
	// Leaf is the certificate itself.
	Leaf *x509.Certificate
}

// Parse accepts a certificate chain and a key in PEM that belong together and
// are valid now. Its errors are for the person who made the Secret; they hold
// nothing of the key. With an error about its validity or size, the pair is
// returned too.
func Parse(chain, key []byte, now time.Time) (Pair, error) {
	certificates := blocks(chain, func(kind string) bool { return kind == "CERTIFICATE" })
	keys := blocks(key, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") })
	switch {
	case len(certificates) == 0:
		return Pair{}, errors.New("tls.crt holds no certificate in PEM")
	case len(keys) == 0:
		return Pair{}, errors.New("tls.key holds no private key in PEM")
	}
	pair, err := tls.X509KeyPair(certificates, keys)
	if err != nil {
		return Pair{}, fmt.Errorf("tls.crt and tls.key are no pair: %w", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return Pair{}, fmt.Errorf("tls.crt: %w", err)
	}
	p := Pair{Bundle: append(certificates, keys...), Leaf: leaf, Fingerprint: fingerprint(leaf)}
	switch {
	case now.After(leaf.NotAfter):
		return p, fmt.Errorf("tls.crt has expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return p, fmt.Errorf("tls.crt is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	case len(p.Bundle) > maxSize:
		return p, fmt.Errorf("tls.crt and tls.key have %d bytes, HAProxy takes %d: leave out of the chain what clients trust anyway", len(p.Bundle), maxSize)
	}
	return p, nil
}

// NameMismatch returns why clients that connect to host refuse the certificate,
// or "".
func (p Pair) NameMismatch(host string) string {
	if host == "" {
		return ""
	}
	if err := p.Leaf.VerifyHostname(host); err != nil {
		return err.Error()
	}
	return ""
}

func fingerprint(leaf *x509.Certificate) string {
	sum := sha1.Sum(leaf.Raw) //nolint:gosec // a name, see above
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// blocks are the PEM blocks of a kind, one after the other and without an
// empty line: that would end what HAProxy reads.
func blocks(text []byte, desired func(kind string) bool) []byte {
	var all []byte
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if desired(block.Type) {
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
}
