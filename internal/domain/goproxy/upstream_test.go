package goproxy

import (
	"net/http"
	"strings"
	"testing"
)

// TestUpstreamCause holds that only sentences of this package are read from a
// header, and which upstreams they may name.
func TestUpstreamCause(t *testing.T) {
	for cause := range errorTypes {
		header := http.Header{}
		cause.Report(header, "[2001:db8::1]:8443")
		if got, want := UpstreamCause(header), cause.Sentence("[2001:db8::1]:8443"); got != want || !strings.Contains(got, string(cause)) {
			t.Errorf("%s: read %q, want %q", cause, got, want)
		}
	}
	for _, value := range []string{
		"", "gocache-proxy", `gocache-proxy; error=dns_error; next-hop="a"; details="call this number"`,
		`gocache-proxy; error=dns_error; next-hop="a b"; details="its name cannot be resolved"`,
		`gocache-proxy; error=dns_error; next-hop=""; details="its name cannot be resolved"`,
		`gocache-proxy; error=dns_error; next-hop="` + strings.Repeat("a", 300) + `"; details="its name cannot be resolved"`,
		`gocache-proxy; error=connection_refused; next-hop="a"; details="its name cannot be resolved"`,
		`other; error=dns_error; next-hop="a"; details="its name cannot be resolved"`,
	} {
		if got := UpstreamCause(http.Header{ProxyStatus: {value}}); got != "" {
			t.Errorf("%s: read %q", value, got)
		}
	}
	header := http.Header{}
	Cause("").Report(header, "a")
	UnknownHost.Report(header, `a"; b`)
	if len(header) > 0 {
		t.Errorf("written: %v", header)
	}
	if got := CertificateCause("no such sentence"); got != Unverifiable {
		t.Errorf("an unknown sentence is %q", got)
	}
}
