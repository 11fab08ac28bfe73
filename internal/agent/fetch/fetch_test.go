package fetch_test

import (
	"bytes"
	"crypto/tls"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/agent/fetch"
	"gocache.dev/operator/internal/testing/gitserver"
)

func TestRun(t *testing.T) {
	r, err := gitserver.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	commit, err := r.Commit(t.Context(), map[string]string{"go.mod": "module m\n"})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := r.Handler(t.Context(), "ci", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	certificate, ca, err := gitserver.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	secret := t.TempDir()
	for name, text := range map[string]string{"username": "ci", "password": "s3cret", "ca.crt": string(ca)} {
		if err := os.WriteFile(filepath.Join(secret, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	o := fetch.Options{URL: server.URL + "/program.git", Commit: commit, Dir: t.TempDir(), Secret: secret, Stdout: &out}
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
