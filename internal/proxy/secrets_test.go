package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"gocache.dev/operator/internal/proxy"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestSecretsInAddresses holds that a token in the address of an upstream, a peer, or the
// server for version control is in no answer, no log and no error, wherever in the address
// it is.
func TestSecretsInAddresses(t *testing.T) {
	t.Parallel()
	fails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }))
	t.Cleanup(fails.Close)
	_, answering, _ := strings.Cut(fails.URL, "://")
	for name, host := range map[string]string{"answers with an error": answering, "does not listen": loopback.Address(t)} {
		for _, address := range []string{"http://user:s3cret@" + host, "http://s3cret@" + host + "/base", "http://" + host + "/base?token=s3cret", "http://" + host + "#s3cret"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if text := reportedWith(t, address); strings.Contains(text, "s3cret") || !strings.Contains(text, host) {
					t.Errorf("%s: %s", address, text)
				}
			})
		}
	}
	for _, address := range []string{"http://user:s3cret@%zz", "http://user:s3cret@host:port", "s3cret@host", "ftp://host/?s3cret"} {
		options := proxy.Options{Store: t.TempDir(), Now: time.Now, Environment: proxy.Environment{GOPROXY: "off", GOSUMDB: "off"}}
		for _, change := range []func(*proxy.Options){
			func(o *proxy.Options) { o.Environment.GOPROXY = address },
			func(o *proxy.Options) { o.Environment.GOPROXY = "direct," + address },
			func(o *proxy.Options) { o.Peers = []string{address} },
			func(o *proxy.Options) { o.VersionControl = address },
		} {
			o := options
			change(&o)
			if _, err := proxy.New(o); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
}

// reportedWith is all that an instance with an address reports: its answers to requests of all kinds, its
// log, and its pages.
func reportedWith(t *testing.T, address string) string {
	t.Helper()
	var mu sync.Mutex
	var all strings.Builder
	write := func(_, text string) {
		mu.Lock()
		defer mu.Unlock()
		all.WriteString(text + "\n")
	}
	server, _ := instance(t, startUpstream(t), func(o *proxy.Options) {
		o.FetchTimeout, o.Log = 2*time.Second, funcr.New(write, funcr.Options{Verbosity: 10})
		o.Environment = proxy.Environment{GOPROXY: address + "|" + address, GOSUMDB: databaseKey(t) + " " + address}
		o.Peers, o.VersionControl, o.PrivateModules = []string{address}, address, "corp.test"
	})
	for _, path := range []string{infoPath, modPath, zipPath, "/example.com/m/@v/list", "/example.com/m/@latest", "/corp.test/m/@v/v1.0.0.info", "/corp.test/m/@v/list", "/sumdb/db.test/latest", "/sumdb/db.test/supported"} {
		write("", get(t, server, path).Body.String())
	}
	write("", get(t, server.Pages(), "/metrics").Body.String())
	mu.Lock()
	defer mu.Unlock()
	return all.String()
}
