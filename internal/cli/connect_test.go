package cli

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
)

// TestConnect holds that the command of the program reaches the cluster of a
// kubeconfig, and names what is wrong with one that cannot be used.
func TestConnect(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; !strings.HasPrefix(r.UserAgent(), "kubectl-gocache") {
			t.Errorf("user agent %q", r.UserAgent())
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	for name, tt := range map[string]struct {
		cluster string
		want    string
		asks    bool
	}{
		"a cluster":                      {"server: " + server.URL, "", true},
		"an authority that is none":      {"server: https://127.0.0.1:1, certificate-authority-data: bm9uZQ==", "connect to the API server", false},
		"no kubeconfig that can be read": {"server: [", "", false},
	} {
		asked = 0
		file := filepath.Join(t.TempDir(), "config")
		config := "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {" + tt.cluster + "}}], contexts: [{name: c, context: {cluster: c, namespace: ci}}]}"
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		streams, _, out, _ := genericiooptions.NewTestIOStreams()
		cmd := New(streams, Options{Version: "v0.1.0", Now: func() time.Time { return now }, NoColor: true})
		cmd.SetArgs([]string{"status", "--kubeconfig", file})
		err := cmd.ExecuteContext(t.Context())
		if err == nil || errors.Is(err, ErrReported) || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 || (asked > 0) != tt.asks {
			t.Errorf("%s: %v, asked %d times, printed %q", name, err, asked, out)
		}
	}
}

// TestLimits holds that the API server is asked as often as by kubectl: a status reads a
// volume for each PVC.
func TestLimits(t *testing.T) {
	a, _, _ := fakeApp(t, nil, nil)
	a.flags.APIServer = ptr.To("https://127.0.0.1:1")
	config, err := a.config()
	if err != nil || config.QPS != 50 || config.Burst != 300 || config.UserAgent != "kubectl-gocache" {
		t.Errorf("%+v, %v", config, err)
	}
}
