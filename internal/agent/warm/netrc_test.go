package warm_test

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// TestProxyCredentials holds that a warm-up downloads through a module proxy that
// requires credentials, with a real go command; that they are in nothing that it
// prints or leaves; and that its report names what is wrong with them.
func TestProxyCredentials(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.RemoveAll(t, tree.ModCache)
	modules := http.FileServer(http.Dir(tree.Proxy))
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ci" || password != "s3cret" {
			http.Error(w, "credentials are required", http.StatusUnauthorized)
			return
		}
		modules.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	secret, roots := t.TempDir(), filepath.Join(t.TempDir(), "roots.pem")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})))
	write(filepath.Join(secret, "username"), "ci")
	write(filepath.Join(secret, "password"), "s3cret")
	source := configMap(t, map[string]string{
		"go.mod": read(t, filepath.Join(tree.Main, "go.mod")), "go.sum": read(t, tree.GoSum()), "packages": "example.com/lib\n",
	})
	o := options(t, tree, source)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var printed bytes.Buffer
	o.Stdout, o.Stderr = &printed, &printed
	o.Env = append(o.Env, "GOPROXY="+proxy.URL, "SSL_CERT_FILE="+roots)
	if r := run(t, o); r.Outcome != warmup.Failed || !strings.Contains(r.Summary(), "401 Unauthorized") {
		t.Errorf("without credentials: %+v", r)
	}
	o.ProxyURL, o.ProxyCredentials = proxy.URL, secret
	if r := run(t, o); r.Outcome != warmup.Succeeded || r.Modules != 2 {
		t.Errorf("with credentials: %+v", r)
	}
	if strings.Contains(printed.String(), "s3cret") {
		t.Error("the password is printed")
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for name, tt := range map[string]struct{ url, password, want string }{
		"a line break":     {proxy.URL, "s3cret\n", "white space"},
		"two words":        {proxy.URL, "s3c ret", "white space"},
		"nothing":          {proxy.URL, "", "is empty"},
		"a plain http URL": {strings.Replace(proxy.URL, "https", "http", 1), "s3cret", "over https only"},
	} {
		o.ProxyURL = tt.url
		write(filepath.Join(secret, "password"), tt.password)
		if r := run(t, o); r.Outcome != warmup.Failed || !strings.Contains(r.Summary(), tt.want) || strings.Contains(r.Summary(), "s3c") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
