package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/test/scenario"
)

// TestGitSource warms a cache from a private repository, pushes to it, and
// builds what was pushed on a clone: the push alone leads there, and nothing is
// compiled any more.
func TestGitSource(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "e2e-git")
	if s.HostIP == "" {
		s.Skip("pods of this cluster do not reach a repository on this machine")
	}
	repository, err := gitserver.New(s.ctx, s.TempDir())
	s.must(err)
	files := s.program()
	first, err := repository.Commit(s.ctx, files)
	s.must(err)
	url, ca := s.serve(repository, "ci", "correct horse")
	s.must(s.Client.Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "git", Annotations: map[string]string{v1alpha1.HostsAnnotation: s.HostIP}},
		StringData: map[string]string{"username": "ci", "password": "correct horse", "ca.crt": string(ca)},
	}))
	s.must(s.WarmFrom(s.ctx, v1alpha1.GitSource{URL: url, Ref: "main", SecretRef: &v1alpha1.LocalReference{Name: "git"}}))
	cache, err := s.WarmedAt(s.ctx, first)
	s.must(err)
	s.Logf("warm from commit %s in %s: %+v", first, took(cache.Status.WarmUp), cache.Status.Counts)

	// A package that nothing has needed so far.
	files["main_test.go"] = "package main\n\nimport (\n\t\"testing\"\n\n\t\"golang.org/x/text/width\"\n)\n\nfunc TestWidth(t *testing.T) {\n\tif width.Narrow.String(\"Ａ\") != \"A\" {\n\t\tt.Fail()\n\t}\n}\n"
	second, err := repository.Commit(s.ctx, files)
	s.must(err)
	pushed := time.Now()
	cache, err = s.WarmedAt(s.ctx, second)
	s.must(err)
	s.Logf("a verified snapshot of commit %s %s after the push; the warm-up took %s: %+v", second, time.Since(pushed).Round(time.Second), took(cache.Status.WarmUp), cache.Status.Counts)
	n, err := s.CompilesOnClone(s.ctx, "build-of-push", files)
	s.must(err)
	s.Logf("build, vet and tests of commit %s on a clone, offline: %d packages compiled", second, n)
	if n != 0 {
		s.Errorf("%d packages had to be compiled on a clone that was warmed from the same commit", n)
	}
}

func took(w v1alpha1.WarmUpStatus) time.Duration { return w.CompletionTime.Sub(w.StartTime.Time) }

// program is the samples' program by file name.
func (s *fixture) program() map[string]string {
	s.Helper()
	files := map[string]string{}
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(scenario.Root(), "config", "samples", "program", name))
		s.must(err)
		files[name] = string(text)
	}
	return files
}

// serve serves a repository from this machine until the test ends, over TLS with
// a certificate of its own authority.
func (s *fixture) serve(r *gitserver.Repository, user, password string) (url string, ca []byte) {
	s.Helper()
	certificate, ca, err := gitserver.Certificate(s.HostIP)
	s.must(err)
	handler, err := r.Handler(s.ctx, user, password)
	s.must(err)
	listener, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", net.JoinHostPort(s.HostIP, "0"))
	s.must(err)
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	})
	return "https://" + listener.Addr().String() + "/program.git", ca
}
