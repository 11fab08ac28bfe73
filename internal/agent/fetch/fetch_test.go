package fetch_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/agent/fetch"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/gitserver"
)

func TestRun(t *testing.T) {
	url, commit, ca := secure(t, "ci", "s3cret")
	secret := t.TempDir()
	for name, text := range map[string]string{"username": "ci", "password": "s3cret", "ca.crt": string(ca)} {
		if err := os.WriteFile(filepath.Join(secret, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	o := fetch.Options{URL: url, Commit: commit, Dir: t.TempDir(), Secret: secret, Stdout: &out}
	if err := fetch.Run(t.Context(), o); err != nil || strings.TrimSpace(out.String()) != "checked out commit "+commit {
		t.Errorf("%v, said %q", err, out.String())
	}
	if text, err := os.ReadFile(filepath.Join(o.Dir, "go.mod")); err != nil || string(text) != "module m\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := fetch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("twice into one directory: %v", err)
	}
	o.Dir, o.Commit = filepath.Join(t.TempDir(), "new"), strings.Repeat("1", 40)
	if err := fetch.Run(t.Context(), o); err != nil || !strings.Contains(out.String(), "moved on") {
		t.Errorf("another commit: %v, said %q", err, out.String())
	}
	o.Dir, o.CAFile = t.TempDir(), filepath.Join(secret, "ca.crt")
	if err := fetch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "key ca.crt of their Secret") {
		t.Errorf("an authority beside the Secret: %v", err)
	}
	o.Dir, o.Secret = t.TempDir(), ""
	if err := fetch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("without the Secret: %v", err)
	}
}

// secure serves a repository over https, by an authority of its own, to one user or to all.
func secure(t *testing.T, user, password string) (url, commit string, ca []byte) {
	t.Helper()
	r, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	commit, err = r.Commit(t.Context(), map[string]string{"go.mod": "module m\n"})
	must(t, err)
	handler, err := r.Handler(t.Context(), user, password)
	must(t, err)
	certificate, ca, err := gitserver.Certificate("127.0.0.1")
	must(t, err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that do not trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL + "/program.git", commit, ca
}

// TestFailureOfAHostileRepository holds that the report of a failure is all that is left in
// the directory, a file of the agent's own, whatever a repository has at its place: else it
// would fail the run of all sources, or have the report written elsewhere.
func TestFailureOfAHostileRepository(t *testing.T) {
	t.Parallel()
	const fails, outside = "[submodule \"s\"]\n\tpath = s\n\turl = file:///x\n", "../outside"
	for name, tt := range map[string]struct {
		modules string                  // empty: the checkout succeeds
		add     func(work string) error // to the repository
		before  func(dir string) error  // a fetch that was ended while it wrote
		want    string
	}{
		"a directory": {fails, func(work string) error {
			if err := os.MkdirAll(filepath.Join(work, warmup.FetchFailed, "x"), 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(work, warmup.FetchFailed, "x", "y"), nil, 0o600)
		}, nil, `not "file"`},
		"a link out": {fails, func(work string) error {
			return os.Symlink(outside, filepath.Join(work, warmup.FetchFailed))
		}, nil, `not "file"`},
		"a link to a file of it": {fails, func(work string) error {
			return os.Symlink("go.mod", filepath.Join(work, warmup.FetchFailed))
		}, nil, `not "file"`},
		"a file": {fails, func(work string) error {
			return os.WriteFile(filepath.Join(work, warmup.FetchFailed), []byte("their words"), 0o600)
		}, nil, `not "file"`},
		"left by another fetch": {fails, nil, func(dir string) error {
			return errors.Join(os.Symlink("../outside", filepath.Join(dir, warmup.FetchFailed)), os.Symlink("../kept", filepath.Join(dir, "kept")))
		}, "not empty"},
		"a file, and no failure": {"", func(work string) error {
			return os.WriteFile(filepath.Join(work, warmup.FetchFailed), []byte("their words"), 0o600)
		}, nil, "has an entry gocache-fetch-failed"},
		"a link, and no failure": {"", func(work string) error {
			return os.Symlink("nowhere", filepath.Join(work, warmup.FetchFailed))
		}, nil, "has an entry gocache-fetch-failed"},
	} {
		url, top := hostile(t, tt.modules, tt.add), t.TempDir()
		dir := filepath.Join(top, "here")
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Mkdir(filepath.Join(top, "kept"), 0o700))
		must(t, os.WriteFile(filepath.Join(top, "kept", "file"), nil, 0o600))
		if tt.before != nil {
			must(t, tt.before(dir))
		}
		var out bytes.Buffer
		if err := fetch.Run(t.Context(), fetch.Options{URL: url, Dir: dir, Submodules: true, ReportInDir: true, Stdout: &out}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		report := filepath.Join(dir, warmup.FetchFailed)
		if info, err := os.Lstat(report); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: the report is no file: %v, %v", name, info, err)
		} else if text, err := os.ReadFile(report); err != nil || !strings.Contains(string(text), tt.want) || !strings.Contains(string(text), url) {
			t.Errorf("%s: the report is %q, %v, want %q", name, text, err, tt.want)
		}
		if found, err := os.ReadDir(dir); err != nil || len(found) != 1 {
			t.Errorf("%s: left are %v, %v", name, found, err)
		}
		if found, err := os.ReadDir(top); err != nil || len(found) != 2 {
			t.Errorf("%s: beside it are %v, %v", name, found, err)
		}
		if _, err := os.Lstat(filepath.Join(top, "kept", "file")); err != nil {
			t.Errorf("%s: deleted elsewhere: %v", name, err)
		}
	}
}

// TestFetchAgain holds that a directory can be fetched to again after a failure
// that is not reported in it, and that what was there before is left.
func TestFetchAgain(t *testing.T) {
	t.Parallel()
	url, dir := hostile(t, "[submodule \"s\"]\n\tpath = s\n\turl = file:///x\n", nil), t.TempDir()
	o := fetch.Options{URL: url, Dir: dir, Submodules: true, Stdout: io.Discard}
	for range 2 {
		if err := fetch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `not "file"`) {
			t.Errorf("%v", err)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	if err := fetch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "mine")); err != nil {
		t.Errorf("a file of another one: %v", err)
	}
}

// hostile serves a repository with what add makes in it, and with a submodule if its file
// of submodules is not empty.
func hostile(t *testing.T, modules string, add func(work string) error) (url string) {
	t.Helper()
	top := t.TempDir()
	r, err := gitserver.New(t.Context(), top)
	must(t, err)
	work := filepath.Join(top, "work")
	if add != nil {
		must(t, add(work))
	}
	content := map[string]string{"go.mod": "module m\n"}
	if modules != "" {
		content[".gitmodules"] = modules
		must(t, os.Mkdir(filepath.Join(work, "s"), 0o700))
		_, err = r.InWork(t.Context(), "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("2", 40)+",s")
		must(t, err)
	}
	_, err = r.Commit(t.Context(), content)
	must(t, err)
	handler, err := r.Handler(t.Context(), "", "")
	must(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/program.git"
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSecretsInTheAddress holds that the report of a failure, which becomes a condition, has
// no secret of the repository's address.
func TestSecretsInTheAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://user:s3cret@127.0.0.1:1/x.git?token=s3cret#s3cret", "http://s3cret@%zz", "ftp://s3cret@git.test/x"} {
		dir := t.TempDir()
		must(t, fetch.Run(t.Context(), fetch.Options{URL: address, Dir: dir, ReportInDir: true, Stdout: io.Discard}))
		if report, err := os.ReadFile(filepath.Join(dir, warmup.FetchFailed)); err != nil || len(report) == 0 || strings.Contains(string(report), "s3cret") {
			t.Errorf("%s: %q, %v", address, report, err)
		}
	}
}
