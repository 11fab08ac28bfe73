package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/testing/loopback"
)

// parsed are the options of a command line.
func parsed(t *testing.T, args ...string) *options {
	t.Helper()
	o := &options{}
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.bind(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestFlags holds what the manager does by default, and where images come from.
func TestFlags(t *testing.T) {
	for _, name := range []string{"OPERATOR_IMAGE", "TOOLCHAIN_IMAGE", "HAPROXY_IMAGE", "ATHENS_IMAGE"} {
		t.Setenv(name, "")
	}
	t.Setenv("POD_NAMESPACE", "operators")
	o := parsed(t)
	if o.images != (images.Images{Toolchain: images.DefaultToolchain, HAProxy: images.DefaultHAProxy}) || o.namespace != "operators" {
		t.Errorf("%+v", o)
	}
	if o.leaderElect || !o.metricsSecure || o.metricsAddress != ":8443" || o.probeAddress != ":8081" || o.maxSnapshots != 8 || o.maxVerifications != 4 || o.allowLoopback || o.refusePrivate || o.push.Address != "0" {
		t.Errorf("%+v", o)
	}
	for name, value := range map[string]string{"OPERATOR_IMAGE": "operator:1", "TOOLCHAIN_IMAGE": "go:{version}", "HAPROXY_IMAGE": "haproxy:1", "ATHENS_IMAGE": "athens:1"} {
		t.Setenv(name, value)
	}
	want := images.Images{Operator: "operator:1", Toolchain: "go:{version}", HAProxy: "haproxy:1", Athens: "athens:1"}
	if o := parsed(t); o.images != want {
		t.Errorf("by the environment: %+v", o.images)
	}
	want.HAProxy = "haproxy:2"
	if o := parsed(t, "--haproxy-image", "haproxy:2"); o.images != want {
		t.Errorf("by a flag: %+v", o.images)
	}
}

// TestManagerOptions holds what of the flags reaches the manager.
func TestManagerOptions(t *testing.T) {
	m := parsed(t).manager()
	if m.Cache.DefaultNamespaces != nil || m.LeaderElection || m.LeaderElectionID != "manager.cache.gocache.dev" || !m.LeaderElectionReleaseOnCancel || m.HealthProbeBindAddress != ":8081" || m.NewCache == nil || m.NewClient == nil {
		t.Errorf("%+v", m)
	}
	live := m.Client.Cache.DisableFor
	if len(live) != 2 || !slices.ContainsFunc([]any{live[0], live[1]}, func(o any) bool { _, is := o.(*corev1.Secret); return is }) {
		t.Errorf("not cached: %v", live)
	}
	if m.Metrics.BindAddress != ":8443" || !m.Metrics.SecureServing || m.Metrics.FilterProvider == nil {
		t.Errorf("metrics: %+v", m.Metrics)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS10} //nolint:gosec // what the options are to raise
	for _, set := range m.Metrics.TLSOpts {
		set(config)
	}
	if config.MinVersion != tls.VersionTLS12 {
		t.Errorf("metrics from TLS %x on", config.MinVersion)
	}
	m = parsed(t, "--watch-namespace", "a,b", "--leader-elect", "--leader-election-namespace", "l", "--metrics-secure=false", "--metrics-cert-dir", "/certs", "--health-probe-bind-address", "0").manager()
	if len(m.Cache.DefaultNamespaces) != 2 || !m.LeaderElection || m.LeaderElectionNamespace != "l" || m.Metrics.SecureServing || m.Metrics.CertDir != "/certs" || m.HealthProbeBindAddress != "0" {
		t.Errorf("%+v", m)
	}
	if _, is := m.Cache.DefaultNamespaces["a"]; !is {
		t.Errorf("namespaces: %v", m.Cache.DefaultNamespaces)
	}
}

// TestServedMetrics holds that metrics over TLS need a token that the API server
// authenticates, and others none.
func TestServedMetrics(t *testing.T) {
	for flag, want := range map[string]int{"--metrics-secure=false": http.StatusOK, "--metrics-secure": http.StatusUnauthorized} {
		filter, err := parsed(t, flag).manager().Metrics.FilterProvider(&rest.Config{Host: "http://127.0.0.1:1"}, http.DefaultClient)
		if err != nil {
			t.Fatal(err)
		}
		h, err := filter(testr.New(t), http.NotFoundHandler())
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		if has := strings.Contains(w.Body.String(), "\ncontroller_runtime_"); w.Code != want || has != (want == http.StatusOK) {
			t.Errorf("%s: %d, with metrics: %t; want %d", flag, w.Code, has, want)
		}
		if want == http.StatusOK {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/other", nil)); w.Code != http.StatusNotFound {
				t.Errorf("%s: another path has metrics: %d", flag, w.Code)
			}
		}
	}
	if _, err := parsed(t, "--metrics-secure").manager().Metrics.FilterProvider(&rest.Config{Host: "http://[bad"}, http.DefaultClient); err == nil {
		t.Error("metrics with an authorization by an API server without an address")
	}
}

// page waits until an address answers with a code.
func page(t *testing.T, url string, want int) {
	t.Helper()
	loopback.Page(t, http.DefaultClient, url, func(code int, _ string) bool { return code == want })
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

// TestRun holds that the process is live and not ready while the API server is away, that
// it is ready once its caches are filled, and that it ends without an error.
func TestRun(t *testing.T) {
	s := newEmptyServer(t)
	s.goAway(true)
	t.Setenv("KUBECONFIG", kubeconfig(t, s.URL))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	probes := loopback.Address(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := Command()
	cmd.SetArgs([]string{"--operator-image", "operator:1", "--manager-namespace", "n", "--metrics-bind-address", "0", "--health-probe-bind-address", probes})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	page(t, "http://"+probes+"/healthz", http.StatusOK)
	page(t, "http://"+probes+"/healthz/ping", http.StatusOK)
	page(t, "http://"+probes+"/readyz", http.StatusInternalServerError)
	s.goAway(false)
	page(t, "http://"+probes+"/readyz/caches", http.StatusOK)
	page(t, "http://"+probes+"/healthz", http.StatusOK)
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Error("it does not end")
	}
}

// TestRunRefuses holds what the process does not start with.
func TestRunRefuses(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for name, tt := range map[string]struct {
		args  []string
		proxy string
		want  string
	}{
		"no image":          {[]string{"--operator-image", ""}, "", "the operator image is"},
		"a proxy of no URL": {[]string{"--operator-image", "o:1"}, "ftp://proxy.example.com", "proxy"},
		"no cluster":        {[]string{"--operator-image", "o:1"}, "", "find a cluster: "},
		"an argument":       {[]string{"x"}, "", "unknown command"},
	} {
		t.Setenv("HTTPS_PROXY", tt.proxy)
		cmd := Command()
		cmd.SetArgs(tt.args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(strings.ToLower(err.Error()), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestConnectEnds holds that waiting for an API server ends with the context, that probes
// are served only at an address, and that an unusable configuration is no server to wait for.
func TestConnectEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, address := range []string{"", "0"} {
		o := parsed(t, "--health-probe-bind-address", address)
		if mgr, addresses, err := o.connect(ctx, &rest.Config{Host: "http://127.0.0.1:1"}); mgr != nil || addresses != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v, %v, %v", address, mgr, addresses, err)
		}
		o.serveProbes(t.Context(), nil)()
	}
	s := newEmptyServer(t)
	o := parsed(t, "--metrics-bind-address", "0", "--health-probe-bind-address", "no address")
	if mgr, _, err := o.connect(t.Context(), &rest.Config{Host: s.URL}); mgr != nil || err == nil || !strings.HasPrefix(err.Error(), "make the manager: ") {
		t.Errorf("an address that is none: %v", err)
	}
	if _, err := locate(t.Context(), &rest.Config{Host: "http://["}); err == nil || !strings.HasPrefix(err.Error(), "make a client: ") {
		t.Errorf("a server without an address: %v", err)
	}
}
