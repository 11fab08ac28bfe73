package gitrepo_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/testing/gitserver"
)

// repository has two commits on main, a branch, and tags of the first commit.
func repository(t *testing.T) (r *gitserver.Repository, first, second string) {
	t.Helper()
	ctx := t.Context()
	r, err := gitserver.New(ctx, t.TempDir())
	must(t, err)
	first, err = r.Commit(ctx, map[string]string{"go.mod": "module m\n", "deep/a.txt": "1"})
	must(t, err)
	for _, args := range [][]string{
		{"tag", "plain"}, {"tag", "--annotate", "--message", "m", "annotated"}, {"tag", "main"},
		{"branch", "other", "HEAD"}, {"push", "--quiet", "origin", "--tags", "other"},
	} {
		_, err = r.InWork(ctx, args...)
		must(t, err)
	}
	second, err = r.Commit(ctx, map[string]string{"deep/a.txt": "2"})
	must(t, err)
	return r, first, second
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// served returns the address of a repository, for all users or for one.
func served(t *testing.T, r *gitserver.Repository, user, password string) string {
	t.Helper()
	handler, err := r.Handler(t.Context(), user, password)
	must(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/program.git"
}

// servedTLS is served over TLS, with the authority of the server's certificate.
func servedTLS(t *testing.T, handler http.Handler) (server *httptest.Server, ca []byte) {
	t.Helper()
	certificate, ca, err := gitserver.Certificate("127.0.0.1")
	must(t, err)
	server = httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, ca
}

// checkout is the content of deep/a.txt after a checkout, and its commit.
func checkout(t *testing.T, r gitrepo.Remote) (content, commit string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "here")
	commit, err := r.Checkout(t.Context(), dir)
	must(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "deep", "a.txt"))
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, ".git")); !os.IsNotExist(err) {
		t.Errorf("the history is left: %v", err)
	}
	return string(data), commit
}

func TestRefs(t *testing.T) {
	r, first, second := repository(t)
	url := served(t, r, "", "")
	for ref, want := range map[string]struct{ commit, content string }{
		"":                 {second, "2"},
		"main":             {second, "2"}, // and no tag of that name
		"refs/heads/main":  {second, "2"},
		"refs/tags/main":   {first, "1"},
		"other":            {first, "1"},
		"plain":            {first, "1"},
		"annotated":        {first, "1"},
		second:             {second, "2"},
		first:              {first, "1"}, // newest of branch other
		"refs/heads/other": {first, "1"},
	} {
		remote := gitrepo.Remote{URL: url, Ref: ref}
		if got, err := remote.Resolve(t.Context()); err != nil || got != want.commit {
			t.Errorf("ref %q resolves to %s, %v, want %s", ref, got, err, want.commit)
		}
		if content, commit := checkout(t, remote); content != want.content || commit != want.commit {
			t.Errorf("ref %q: %q of commit %s, want %q of %s", ref, content, commit, want.content, want.commit)
		}
	}
	for _, ref := range []string{"none", first[:10], strings.Repeat("0", 40) + "1"} {
		_, err := gitrepo.Remote{URL: url, Ref: ref}.Resolve(t.Context())
		if !errors.Is(err, gitrepo.ErrNoRef) || !strings.Contains(err.Error(), ref) {
			t.Errorf("ref %q: %v", ref, err)
		}
	}
}

// TestNoDefaultBranch holds that a repository whose HEAD names no branch needs a ref.
func TestNoDefaultBranch(t *testing.T) {
	r, first, _ := repository(t)
	_, err := gitserver.Git(t.Context(), "-C", r.Dir, "symbolic-ref", "HEAD", "refs/heads/none")
	must(t, err)
	url := served(t, r, "", "")
	if commit, err := (gitrepo.Remote{URL: url}).Resolve(t.Context()); !errors.Is(err, gitrepo.ErrNoRef) || !strings.Contains(err.Error(), "default branch") {
		t.Errorf("resolves to %q, %v", commit, err)
	}
	if commit, err := (gitrepo.Remote{URL: url, Ref: "other"}).Resolve(t.Context()); err != nil || commit != first {
		t.Errorf("a branch resolves to %q, %v", commit, err)
	}
}

// A commit that no ref names is found, whether the server gives it out by its
// name or not.
func TestOlderCommit(t *testing.T) {
	for _, allowed := range []string{"true", "false"} {
		r, _, second := repository(t)
		_, err := r.Commit(t.Context(), map[string]string{"deep/a.txt": "3"})
		must(t, err)
		_, err = gitserver.Git(t.Context(), "--git-dir", r.Dir, "config", "uploadpack.allowReachableSHA1InWant", allowed)
		must(t, err)
		if content, commit := checkout(t, gitrepo.Remote{URL: served(t, r, "", ""), Ref: second}); content != "2" || commit != second {
			t.Errorf("allowed %s: %q of commit %s, want 2 of %s", allowed, content, commit, second)
		}
	}
}

func TestPassword(t *testing.T) {
	r, _, second := repository(t)
	handler, err := r.Handler(t.Context(), "ci", "s3cret")
	must(t, err)
	server, ca := servedTLS(t, handler)
	url := server.URL + "/program.git"
	if _, err := (gitrepo.Remote{URL: url, Credentials: gitrepo.Credentials{"password": []byte("s3cret")}}).Resolve(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}
	for name, tt := range map[string]struct {
		credentials gitrepo.Credentials
		want        string
	}{
		"right":       {gitrepo.Credentials{"username": []byte("ci"), "password": []byte("s3cret\n")}, ""},
		"wrong":       {gitrepo.Credentials{"username": []byte("ci"), "password": []byte("guess")}, "credentials"},
		"none":        {nil, "credentials"},
		"of another":  {gitrepo.Credentials{"identity": []byte("x")}, "needs the keys username and password"},
		"no password": {gitrepo.Credentials{"username": []byte("ci")}, "needs the keys username and password"},
	} {
		got, err := gitrepo.Remote{URL: url, Credentials: tt.credentials, CA: ca}.Resolve(t.Context())
		if tt.want == "" && (err != nil || got != second) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %s, %v, want %q", name, got, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "guess")) {
			t.Errorf("%s: a password is told: %v", name, err)
		}
	}
	if _, commit := checkout(t, gitrepo.Remote{URL: url, CA: ca, Credentials: gitrepo.Credentials{"username": []byte("ci"), "password": []byte("s3cret")}}); commit != second {
		t.Errorf("checked out %s, want %s", commit, second)
	}
}

// TestCredentialsStay holds that credentials are sent neither over http, nor to
// where a server redirects.
func TestCredentialsStay(t *testing.T) {
	var got atomic.Value
	got.Store("")
	listen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			got.Store(a)
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	})
	plain := httptest.NewServer(listen)
	defer plain.Close()
	other, otherCA := servedTLS(t, listen)
	secret := gitrepo.Credentials{"username": []byte("ci"), "password": []byte("s3cret")}
	if _, err := (gitrepo.Remote{URL: plain.URL + "/a.git", Credentials: secret}).Resolve(t.Context()); err == nil || !strings.Contains(err.Error(), "not sent over http") {
		t.Errorf("over http: %v", err)
	}
	for _, target := range []string{plain.URL, other.URL, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)} {
		redirects, ca := servedTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target+r.URL.RequestURI(), http.StatusMovedPermanently)
		}))
		r := gitrepo.Remote{URL: redirects.URL + "/a.git", Credentials: secret, CA: append(ca, otherCA...)}
		if _, err := r.Resolve(t.Context()); err == nil {
			t.Errorf("redirected to %s: no error", target)
		}
	}
	if got.Load() != "" {
		t.Errorf("another server got %q", got.Load())
	}
}

// endless serves a list of refs without an end.
func endless(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		packet := func(text string) []byte { return fmt.Appendf(nil, "%04x%s", len(text)+4, text) }
		ref := strings.Repeat("1", 40) + " refs/heads/branch"
		_, _ = w.Write(append(packet("# service=git-upload-pack\n"), "0000"...))
		_, _ = w.Write(packet(ref + "\x00ofs-delta\n"))
		for {
			if _, err := w.Write(packet(ref + "\n")); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// What cannot work is refused with a reason, and never for long.
func TestUnusable(t *testing.T) {
	r, _, _ := repository(t)
	url := served(t, r, "", "")
	empty, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	silent := newSilent(t)
	for name, tt := range map[string]struct{ url, want string }{
		"no such repository": {strings.Replace(url, "program", "none", 1), "see the URL"},
		"empty":              {served(t, empty, "", ""), "empty"},
		"nobody listens":     {"http://127.0.0.1:1/x", "connection refused"},
		"a file":             {"file://" + r.Dir, "https, http or ssh"},
		"silent":             {"http://" + silent + "/x", "deadline"},
		"endless":            {endless(t) + "/x", "more than 4 MiB of refs"},
	} {
		limit := time.Minute
		if name == "silent" {
			limit = 2 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := gitrepo.Remote{URL: tt.url}.Resolve(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestReadCredentials(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "username"), []byte("u"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "else"), []byte("x"), 0o600))
	c, err := gitrepo.ReadCredentials(dir)
	if err != nil || len(c) != 1 || string(c["username"]) != "u" {
		t.Errorf("%v, %v", c, err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "password"), 0o700))
	if _, err := gitrepo.ReadCredentials(dir); err == nil {
		t.Error("a directory passes for a password")
	}
}
