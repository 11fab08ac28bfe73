package probe_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestSecretsInAddresses holds that a token in the address of an instance is in no message,
// wherever in the address it is: messages become conditions.
func TestSecretsInAddresses(t *testing.T) {
	t.Parallel()
	answers := map[string]http.HandlerFunc{
		"fails":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		"has other pages":  func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "up 1\n") },
		"has no pages":     func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") },
		"has no list":      func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, "%s 1\n", probe.MovedMetric) },
		"has no database":  func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, "%s 1\n", probe.DatabaseMetric) },
		"does not listen":  nil,
		"leads to another": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	}
	ask := func(ctx context.Context, address string) string {
		to := probe.Target{Base: address, Pages: address, Own: true, HTTP: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		_, disk := to.Disk(ctx, 90)
		_, moved := to.Moved(ctx)
		_, name := to.DatabaseName(ctx)
		database, _ := to.Database(ctx, probe.Database{Name: "db.test"})
		modules := to.ReferenceModules(ctx, []probe.ReferenceModule{{Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}}})
		return fmt.Sprint(to.Ready(ctx, probe.OwnPage), to.Ready(ctx, probe.AnyPage), to.StoreFull(ctx), disk, moved, name, database, modules)
	}
	for name, answer := range answers {
		host := loopback.Address(t)
		if answer != nil {
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			_, host, _ = strings.Cut(server.URL, "://")
		}
		for _, address := range []string{"http://user:s3cret@" + host, "http://s3cret@" + host, "http://" + host + "/?token=s3cret", "http://" + host + "/#s3cret"} {
			if text := ask(t.Context(), address); strings.Contains(text, "s3cret") || !strings.Contains(text, host) {
				t.Errorf("%s: %s: %s", name, address, text)
			}
		}
	}
	for _, address := range []string{"http://user:s3cret@%zz", "http://user:s3cret@host:port", "://s3cret"} {
		if text := ask(t.Context(), address); strings.Contains(text, "s3cret") {
			t.Errorf("%s: %s", address, text)
		}
	}
}
