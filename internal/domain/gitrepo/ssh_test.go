package gitrepo_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/testing/gitserver"
)

// newSilent listens and sends nothing.
func newSilent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	signer, file, err := gitserver.Key()
	must(t, err)
	return signer, file
}

// serveSSH lets one user with one key read repositories.
func serveSSH(t *testing.T, host ssh.Signer, login string, user ssh.PublicKey) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go gitserver.ServeSSH(t.Context(), l, host, login, user)
	return l.Addr().String()
}

// Keys are checked both ways: nothing is sent to an unknown server.
func TestSSH(t *testing.T) {
	r, _, second := repository(t)
	host, _ := newKey(t)
	other, stranger := newKey(t)
	user, identity := newKey(t)
	address := serveSSH(t, host, "git", user.PublicKey())
	known := func(key ssh.PublicKey) []byte {
		return gitserver.KnownHost(address, key, true)
	}
	url := "ssh://" + address + r.Dir
	for name, tt := range map[string]struct {
		credentials gitrepo.Credentials
		want        string
	}{
		"right":               {gitrepo.Credentials{"identity": identity, "known_hosts": known(host.PublicKey())}, ""},
		"another server":      {gitrepo.Credentials{"identity": identity, "known_hosts": known(other.PublicKey())}, "key mismatch"},
		"a stranger":          {gitrepo.Credentials{"identity": stranger, "known_hosts": known(host.PublicKey())}, "unable to authenticate"},
		"unknown server":      {gitrepo.Credentials{"identity": identity, "known_hosts": []byte("# none\n")}, "key is unknown"},
		"no known_hosts":      {gitrepo.Credentials{"identity": identity}, "needs the keys identity and known_hosts"},
		"not a key":           {gitrepo.Credentials{"identity": []byte("x"), "known_hosts": known(host.PublicKey())}, "no private key"},
		"not a list of hosts": {gitrepo.Credentials{"identity": identity, "known_hosts": []byte("x y")}, "known_hosts"},
		"nothing":             {nil, "needs the keys identity and known_hosts"},
	} {
		got, err := gitrepo.Remote{URL: url, Ref: "main", Credentials: tt.credentials}.Resolve(t.Context())
		if tt.want == "" && (err != nil || got != second) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %s, %v, want %q", name, got, err, tt.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	right := gitrepo.Credentials{"identity": identity, "known_hosts": known(host.PublicKey())}
	if _, err := (gitrepo.Remote{URL: "ssh://" + newSilent(t) + "/x", Credentials: right}).Resolve(ctx); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("a server that says nothing: %v after %s", err, time.Since(began))
	}
	content, commit := checkout(t, gitrepo.Remote{URL: url, Credentials: gitrepo.Credentials{"identity": identity, "known_hosts": known(host.PublicKey())}})
	if content != "2" || commit != second {
		t.Errorf("checked out %q of %s", content, commit)
	}
}

// The user in the URL is the one that logs in; without one it is git.
func TestSSHUser(t *testing.T) {
	r, _, second := repository(t)
	host, _ := newKey(t)
	user, identity := newKey(t)
	address := serveSSH(t, host, "deploy", user.PublicKey())
	credentials := gitrepo.Credentials{"identity": identity, "known_hosts": gitserver.KnownHost(address, host.PublicKey(), false)}
	for login, want := range map[string]string{"deploy@": second, "git@": "", "": ""} {
		got, err := gitrepo.Remote{URL: "ssh://" + login + address + r.Dir, Ref: "main", Credentials: credentials}.Resolve(t.Context())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v; want %q", login, got, err, want)
		}
	}
}

// The known hosts are written to a temporary file: without one no request
// is sent.
func TestSSHWithoutTemporaryFiles(t *testing.T) {
	host, identity := newKey(t)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	credentials := gitrepo.Credentials{"identity": identity, "known_hosts": gitserver.KnownHost("127.0.0.1", host.PublicKey(), false)}
	_, err := gitrepo.Remote{URL: "ssh://127.0.0.1:1/x", Ref: "main", Credentials: credentials}.Resolve(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "known_hosts") {
		t.Errorf("err = %v, want one about the file for known_hosts", err)
	}
}
