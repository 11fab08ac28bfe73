package probe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/probe"
)

// TestMoved holds which of the versions that a server names are taken over: those that are
// versions and commits, 16 at most, and of a server that counts none it is not asked.
func TestMoved(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 64)
	entry := func(module, version, stored, moved string) string {
		return fmt.Sprintf(`{"module":%q,"version":%q,"stored":%q,"moved":%q,"noticed":"2026-11-29T14:00:00Z"}`, module, version, stored, moved)
	}
	good := probe.MovedVersion{Module: "corp.test/m", Version: "v1.0.0", Stored: a, Moved: b, Noticed: time.Date(2026, 11, 29, 14, 0, 0, 0, time.UTC)}
	many := make([]string, 20)
	for i := range many {
		many[i] = entry("corp.test/m", fmt.Sprintf("v1.0.%d", i), a, b)
	}
	for name, tt := range map[string]struct {
		count, page string
		status      int
		want        []string
		err         string
	}{
		"one":             {"1", "[" + entry("corp.test/m", "v1.0.0", a, b) + "]", 200, []string{"v1.0.0"}, ""},
		"none":            {"0", "[" + entry("corp.test/m", "v1.0.0", a, b) + "]", 200, nil, ""},
		"no metric":       {"", "[" + entry("corp.test/m", "v1.0.0", a, b) + "]", 200, nil, ""},
		"what is neither": {"1", "[" + strings.Join([]string{entry("../x", "v1.0.0", a, b), entry("corp.test/m", "v1", a, b), entry("corp.test/m", "v1.0.0", "x", b), entry("corp.test/m", "v1.0.0", a, a), strings.Replace(entry("corp.test/m", "v1.0.0", a, b), "2026-11-29T14:00:00Z", "0001-01-01T00:00:00Z", 1), entry("corp.test/m", "v1.0.1", a, b)}, ",") + "]", 200, []string{"v1.0.1"}, ""},
		"many":            {"20", "[" + strings.Join(many, ",") + "]", 200, []string{"v1.0.4", "v1.0.19"}, ""},
		"no list":         {"1", "inside", 200, nil, "not a list of versions"},
		"an endless list": {"1", "[" + strings.Repeat(" ", 1<<20) + "]", 200, nil, "not a list of versions"},
		"no page":         {"1", "inside", 404, nil, "status 404"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/moved":
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.page))
			case tt.count != "":
				_, _ = fmt.Fprintf(w, "# TYPE %s gauge\n%s %s\n", probe.MovedMetric, probe.MovedMetric, tt.count)
			}
		}))
		got, err := probe.Target{Pages: server.URL}.Moved(t.Context())
		server.Close()
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "inside") {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		var versions []string
		for _, v := range got {
			versions = append(versions, v.Version)
		}
		if name == "many" && len(versions) == probe.MaxMoved {
			versions = []string{versions[0], versions[len(versions)-1]}
		}
		if err != nil || !slices.Equal(versions, tt.want) {
			t.Errorf("%s: %v, %v, want %v", name, versions, err, tt.want)
		}
		if name == "one" && (len(got) != 1 || got[0] != good) {
			t.Errorf("%+v", got)
		}
	}
}

// TestMovedInAnotherTimeZone holds that two answers with one page are equal, whatever the
// offset and the fractions of its times.
func TestMovedInAnotherTimeZone(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			_, _ = fmt.Fprintf(w, `[{"module":"corp.test/m","version":"v1.0.0","stored":%q,"moved":%q,"noticed":"2026-11-29T19:45:00.25+05:45"}]`, a, b)
			return
		}
		_, _ = fmt.Fprintf(w, "# TYPE %s gauge\n%s 1\n", probe.MovedMetric, probe.MovedMetric)
	}))
	t.Cleanup(server.Close)
	var rounds [2][]probe.MovedVersion
	for i := range rounds {
		var err error
		if rounds[i], err = (probe.Target{Pages: server.URL}).Moved(t.Context()); err != nil || len(rounds[i]) != 1 {
			t.Fatalf("%v, %v", rounds[i], err)
		}
	}
	if !slices.Equal(rounds[0], rounds[1]) {
		t.Errorf("%v is not %v", rounds[0], rounds[1])
	}
	if got, want := rounds[0][0].Noticed, time.Date(2026, 11, 29, 14, 0, 0, 0, time.UTC); got != want {
		t.Errorf("noticed at %v, want %v", got, want)
	}
}
