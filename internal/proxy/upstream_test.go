package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/proxy"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestWhyTheUpstreamGaveNoAnswer holds that clients and probes get the cause of an
// upstream without an answer: the log of the instance is not the only place.
func TestWhyTheUpstreamGaveNoAnswer(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // its authority is not trusted
	t.Cleanup(secure.Close)
	closed := "http://" + loopback.Address(t)
	for _, tt := range []struct{ name, upstream, want string }{
		{"a certificate of an unknown authority", secure.URL, "its certificate is signed by an unknown authority; set server.image to an image that trusts its authority"},
		{"nothing listens", closed, "it refuses connections"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := instance(t, startUpstream(t), func(o *proxy.Options) { o.Environment.GOPROXY = tt.upstream })
			_, host, _ := strings.Cut(tt.upstream, "://")
			want := "upstream " + host + ": " + tt.want
			f := front(t, server)
			status, body, err := download(t, f.URL+infoPath)
			must(t, err)
			if status != http.StatusBadGateway || !strings.Contains(string(body), want) {
				t.Errorf("a client gets %d %q, want %q", status, body, want)
			}
			target := probe.Target{Base: f.URL, Own: true}
			reference := []probe.ReferenceModule{{Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}}}
			if got := probe.Protocol(target.ReferenceModules(t.Context(), reference)); got.Outcome != probe.Failed || !strings.HasSuffix(got.Message, want) {
				t.Errorf("the probe reports %+v, want %q", got, want)
			}
			target.Own = false // an address that a user has named: nothing that it sends is repeated
			if got := probe.Protocol(target.ReferenceModules(t.Context(), reference)); got.Outcome != probe.Failed || strings.Contains(got.Message, tt.want) {
				t.Errorf("the probe of a server that is not our own reports %+v", got)
			}
		})
	}
}

// TestUpstreamsThatCannotBeAsked holds that an upstream which fails every request
// is refused at the start, with what is wrong and without its credentials.
func TestUpstreamsThatCannotBeAsked(t *testing.T) {
	for upstream, want := range map[string]string{
		"file:x":                           "it needs an absolute path and no host, such as file:///modules",
		"file:x/y":                         "it needs an absolute path and no host",
		"file://x":                         "it needs an absolute path and no host",
		"file://host/modules":              "it needs an absolute path and no host",
		"proxy.example.com":                "it has no scheme",
		"/modules":                         "it has no scheme",
		"https:proxy.example.com":          "it names no host",
		"https:///modules":                 "it names no host",
		"https://:8080":                    "it names no host",
		"ftp://proxy.example.com":          `scheme "ftp" is none of https, http and file`,
		"https://proxy.example.com/%zz":    "is not a URL",
		"https://a.example.com|file:x,off": "it needs an absolute path",
		"ftp://user:secret@example.com":    `scheme "ftp"`,
	} {
		_, err := proxy.New(proxy.Options{Store: t.TempDir(), Now: time.Now, Environment: proxy.Environment{GOPROXY: upstream, GOSUMDB: "off"}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", upstream, err, want)
		}
	}
	for _, upstream := range []string{"file:///modules", "file:/modules", "file://localhost/modules", "off", "https://[::1]:8080/base", "HTTPS://Proxy.example.com|http://b.example.com,direct"} {
		if _, err := proxy.New(proxy.Options{Store: t.TempDir(), Now: time.Now, Environment: proxy.Environment{GOPROXY: upstream, GOSUMDB: "off"}}); err != nil {
			t.Errorf("%s: %v", upstream, err)
		}
	}
}
