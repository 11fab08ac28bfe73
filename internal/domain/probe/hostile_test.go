package probe_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/untrusted"
)

// inside is text that only the instance has.
const inside = "internal-service-data"

// TestNothingIsRepeated holds that no message of any probe holds what the
// instance sent, and that none is long.
func TestNothingIsRepeated(t *testing.T) {
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, answer)
			_ = conn.Close()
		}
	}
	answers := map[string]http.HandlerFunc{
		"another protocol":  hijack("SSH-2.0-" + inside + "\r\n"),
		"a bad header":      hijack("HTTP/1.1 200 OK\r\n" + inside + "\r\n\r\n"),
		"a status of words": hijack("HTTP/1.1 500 " + inside + "\r\nContent-Length: 0\r\n\r\n"),
		"a list of metrics": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, "gocache_proxy_volume_used_bytes{%s} %s\n", inside, inside)
		},
		"a version": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"Version":%q}`, "v1.0.0-"+inside)
		},
		"an info and a go.mod": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, ".info") {
				_, _ = fmt.Fprint(w, `{"Version":"v1.0.0"}`)
				return
			}
			_, _ = fmt.Fprintln(w, "module "+inside)
		},
		"a long page": func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, strings.Repeat(inside, 10_000)) },
	}
	for _, status := range []int{400, 401, 403, 404, 410, 429, 500, 503} {
		answers[fmt.Sprint("status ", status)] = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat(inside, 1000), status) }
	}
	answers["a redirect"] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+inside, http.StatusFound) }
	modules := []probe.ReferenceModule{{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: "h1:x"}}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			target := serve(t, answer)
			target.Agent = target.Base
			target.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			var all []string
			for _, page := range []probe.Page{probe.OwnPage, probe.AgentPage, probe.AnyPage} {
				all = append(all, target.Ready(t.Context(), page).Message)
			}
			_, disk := target.Disk(t.Context(), 90)
			database, _ := target.Database(t.Context(), probe.Database{Name: "db.test"})
			served := target.ReferenceModules(t.Context(), modules)
			all = append(all, disk.Message, database.Message, probe.Protocol(served).Message, probe.Checksum(served).Message)
			for _, text := range all {
				if strings.Contains(text, inside) || len(text) > untrusted.MaxText {
					t.Errorf("%.300s", text)
				}
			}
		})
	}
}

// TestRedirects holds that an instance which redirects to where its modules lie
// has neither passed nor failed: clients follow, and the probe does not.
func TestRedirects(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
	})
	target.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	served := target.ReferenceModules(t.Context(), []probe.ReferenceModule{{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: "h1:x"}})
	if got := probe.Protocol(served); got.Outcome != probe.Unknown || !strings.Contains(got.Message, "redirected") {
		t.Errorf("protocol: %+v", got)
	}
	if got := probe.Checksum(served); got.Outcome != probe.Unknown {
		t.Errorf("checksum: %+v", got)
	}
	if got, absent := target.Database(t.Context(), probe.Database{Name: "db.test"}); got.Outcome != probe.Unknown || absent {
		t.Errorf("database: %+v, absent %v", got, absent)
	}
	if got := target.Ready(t.Context(), probe.OwnPage); got.Outcome != probe.Failed {
		t.Errorf("our own server does not redirect: %+v", got)
	}
	if got := target.Ready(t.Context(), probe.AnyPage); got.Outcome != probe.Passed {
		t.Errorf("another server: %+v", got)
	}
}

// TestLongMetrics holds that a page of metrics costs what is used of it.
func TestLongMetrics(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 40_000 {
			_, _ = fmt.Fprintf(w, "other_metric_%d{name=\"a\"} 1\n", i)
		}
		_, _ = fmt.Fprint(w, "# TYPE gocache_proxy_volume_used_bytes gauge\ngocache_proxy_volume_used_bytes 50\n"+
			"# TYPE gocache_proxy_volume_available_bytes gauge\ngocache_proxy_volume_available_bytes 50\n")
	})
	var percent int
	var result probe.Result
	got := testing.AllocsPerRun(1, func() { percent, result = target.Disk(t.Context(), 90) })
	if percent != 50 || result.Outcome != probe.Passed {
		t.Errorf("%d %%, %+v", percent, result)
	}
	if got > 200_000 { // most of them of the test's own server
		t.Errorf("%.0f allocations", got)
	}
	t.Logf("%.0f allocations", got)
}
