package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/internal/router/weights"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestDefaults holds where a router listens, and what it reads, that gets no flag.
func TestDefaults(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "ci")
	fs := command().Flags()
	for name, want := range map[string]string{
		"listen": "127.0.0.1:9777", "pages-listen": ":9778", "weights-file": "/etc/gocache/weights/weights.json", "weights-interval": "5s",
		"configmap": "", "servers": "[]", "namespace": "ci", "answers-listen": "", "answers-attempt": "[]", "answers-database": "[]", "answers-private": "", "answers-spool": "",
		"certificate-dir": "", "certificate-file": "/run/gocache/tls.pem", "haproxy-socket": "/run/gocache/admin.sock", "certificate-host": "",
		"clients-dir": "", "clients-file": "/run/gocache/clients", "kubeconfig": "",
	} {
		f := fs.Lookup(name)
		if f == nil || f.DefValue != want {
			t.Errorf("--%s: %+v, want %q", name, f, want)
		}
	}
}

// kubeconfig is one for an API server.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a}]\nclusters: [{name: a, cluster: {server: '" + server + "'}}]\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestNewClient holds that the API server is asked under the name of the program, and
// that nothing is asked without a configuration.
func TestNewClient(t *testing.T) {
	var agent atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent.Store(r.UserAgent())
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	c, err := newClient(kubeconfig(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CoreV1().ConfigMaps("n").Get(t.Context(), "c", metav1.GetOptions{}); err == nil || agent.Load() != "gocache-router" {
		t.Errorf("%v; asked by %v", err, agent.Load())
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, name := range []string{"", filepath.Join(t.TempDir(), "none")} {
		if c, err := newClient(name); err == nil || c != nil || !strings.HasPrefix(err.Error(), "find the API server: ") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestServes holds that a router answers from the file of weights, also where there is no
// API server, and that it ends without an error.
func TestServes(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	text, err := weights.Format(weights.Weights{Owner: "o", Generation: 7, Servers: map[string]weights.Server{"blue": {State: weights.Ready, Weight: 100}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "weights.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	pages := loopback.Address(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := command()
	cmd.SetArgs([]string{"--listen", loopback.Address(t), "--pages-listen", pages, "--weights-file", file, "--configmap", "weights"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	loopback.Page(t, http.DefaultClient, "http://"+pages+"/metrics", func(_ int, text string) bool {
		return strings.Contains(text, "gocache_router_weights_generation 7\n")
	})
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
	cmd = command()
	cmd.SetArgs([]string{"extra"})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	if err := cmd.ExecuteContext(t.Context()); err == nil {
		t.Error("an argument is accepted")
	}
}
