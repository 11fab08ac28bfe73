package goproxy

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
)

// ProxyStatus is the header field (RFC 9209) in which our own server reports why
// its upstream gave no answer.
const ProxyStatus = "Proxy-Status"

// Cause is why an upstream gave no answer: one of the sentences below, and never
// what a server sent.
type Cause string

// The causes. Those of a certificate are the sentences of package untrusted.
const (
	UnknownAuthority Cause = "its certificate is signed by an unknown authority"
	OtherNames       Cause = "its certificate is valid for other names"
	Unverifiable     Cause = "its certificate cannot be verified"
	UnknownHost      Cause = "its name cannot be resolved"
	Refused          Cause = "it refuses connections"
	TimedOut         Cause = "it does not answer in time"
)

// certificates are the causes that a certificate authority of one's own corrects.
var certificates = []Cause{UnknownAuthority, OtherNames, Unverifiable}

// errorTypes are the causes in the words of RFC 9209.
var errorTypes = map[Cause]string{
	UnknownAuthority: "tls_certificate_error", OtherNames: "tls_certificate_error", Unverifiable: "tls_certificate_error",
	UnknownHost: "dns_error", Refused: "connection_refused", TimedOut: "connection_timeout",
}

// CertificateCause is the cause for a refused certificate with this sentence.
func CertificateCause(sentence string) Cause {
	if c := Cause(sentence); slices.Contains(certificates, c) {
		return c
	}
	return Unverifiable
}

var status = regexp.MustCompile(`^gocache-proxy; error=([a-z_]+); next-hop="([A-Za-z0-9.:\[\]_-]{1,262})"; details="([a-z ]{1,80})"$`)

// Report writes the cause, and the upstream by its host, into the header of an
// answer. A cause or a host that [UpstreamCause] would not read is not written.
func (c Cause) Report(header http.Header, host string) {
	value := fmt.Sprintf("gocache-proxy; error=%s; next-hop=%q; details=%q", errorTypes[c], host, string(c))
	if status.MatchString(value) {
		header.Set(ProxyStatus, value)
	}
}

// Sentence is what a person reads: the upstream, the cause, and what corrects it.
func (c Cause) Sentence(host string) string {
	text := fmt.Sprintf("upstream %s: %s", host, c)
	if slices.Contains(certificates, c) {
		text += "; set server.image to an image that trusts its authority"
	}
	return text
}

// UpstreamCause reads what [Cause.Report] has written; empty: there is nothing, or
// it is something else.
func UpstreamCause(header http.Header) string {
	parts := status.FindStringSubmatch(header.Get(ProxyStatus))
	if parts == nil || errorTypes[Cause(parts[3])] != parts[1] {
		return ""
	}
	return Cause(parts[3]).Sentence(parts[2])
}
