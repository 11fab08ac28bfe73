package router

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
)

// TestDatabaseThroughTheUpstream holds that a checksum database which the
// instances do not reach is asked through their upstream, that nothing of the
// client gets there, and that the instances are still asked for all else.
func TestDatabaseThroughTheUpstream(t *testing.T) {
	t.Parallel()
	const private = "/sumdb/sum.example.com/lookup/git.example.com/team/m@v1.0.0"
	var through atomic.Int64
	var upstream http.HandlerFunc
	server := quiet(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through.Add(1)
		for _, name := range []string{"X-Forwarded-For", "Authorization", "Cookie"} {
			if value := r.Header.Get(name); value != "" {
				t.Errorf("the upstream gets %s: %s", name, value)
			}
		}
		upstream(w, r)
	}))
	instances := &instance{name: "blue", serve: func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no route to the database", http.StatusBadGateway)
	}}
	urls := []string{quiet(t, instances)}
	a, err := newAnswers(AnswersOptions{Now: time.Now, Attempts: urls, DatabaseUpstreams: []string{server + "/goproxy"}, Private: "git.example.com/*"},
		newMetrics(), testr.NewWithOptions(t, testr.Options{Verbosity: -1}))
	if err != nil {
		t.Fatal(err)
	}
	w := &way{url: quiet(t, a.handler()), metrics: a.metrics}
	for _, c := range []struct {
		name, path string
		upstream   http.HandlerFunc
		status     int
		// asked are how often upstream and instances were.
		through, instances int64
	}{
		{"a lookup", lookupPath, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.URL.EscapedPath()) }, 200, 1, 0},
		{"the upstream does not have it", lookupPath, http.NotFound, 502, 1, 1},
		{"the upstream sends elsewhere", lookupPath, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}, 502, 1, 1},
		{"the upstream breaks off", lookupPath, half(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "a lookup") }, breakOff), 502, 1, 1},
		{"a module", modPath, http.NotFound, 502, 0, 1},
		{"a private module", private, http.NotFound, 502, 0, 1},
	} {
		upstream = c.upstream
		through.Store(0)
		instances.asked.Store(0)
		status, body, err := w.get(t, c.path, "X-Forwarded-For", "10.0.0.1", "Authorization", "Basic eA==", "Cookie", "a=b")
		if err != nil || status != c.status {
			t.Errorf("%s: status %d, %q, %v; want %d", c.name, status, body, err, c.status)
		}
		if status == http.StatusOK && body != "/goproxy"+c.path {
			t.Errorf("%s: the upstream was asked for %s", c.name, body)
		}
		if through.Load() != c.through || instances.asked.Load() != c.instances {
			t.Errorf("%s: the upstream was asked %d times and the instances %d, want %d and %d", c.name, through.Load(), instances.asked.Load(), c.through, c.instances)
		}
	}
}
