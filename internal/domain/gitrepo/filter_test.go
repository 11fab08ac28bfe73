package gitrepo_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/untrusted"
)

// TestRefusedAddresses holds that a filter is applied to the connections of all
// schemes, by address and by name, and reported.
func TestRefusedAddresses(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	r, _, second := repository(t)
	host, _ := newKey(t)
	user, identity := newKey(t)
	address := serveSSH(t, host, "git", user.PublicKey())
	keys := gitrepo.Credentials{"identity": identity, "known_hosts": []byte(knownhosts.Line([]string{knownhosts.Normalize(address)}, ssh.PublicKey(host.PublicKey())) + "\n")}
	byName := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for _, url := range []string{server.URL + "/x", byName + "/x", "ssh://" + address + r.Dir} {
		credentials := keys
		if strings.HasPrefix(url, "http") {
			credentials = nil
		}
		_, err := gitrepo.Remote{URL: url, Ref: "main", Credentials: credentials, Filter: &untrusted.Filter{}}.Resolve(t.Context())
		if err == nil || !strings.Contains(err.Error(), "does not connect to") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	got, err := gitrepo.Remote{URL: "ssh://" + address + r.Dir, Ref: "main", Credentials: keys, Filter: &untrusted.Filter{AllowLoopback: true}}.Resolve(t.Context())
	if err != nil || got != second {
		t.Errorf("allowed: %s, %v", got, err)
	}
}
