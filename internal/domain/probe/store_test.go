package probe_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
)

// agent serves what an agent beside a store answers.
func agent(t *testing.T, handler http.HandlerFunc) probe.Target {
	t.Helper()
	target := serve(t, handler)
	return probe.Target{Agent: target.Base + "/", Token: "secret", HTTP: target.HTTP}
}

// TestStore holds that a report is used as a whole or not at all.
func TestStore(t *testing.T) {
	intact := `{"verdict":{"verdict":"Intact","digest":"sha256:x"},"began":3000000000,"ended":1000000000,"sample":[{"Path":"example.com/c","Version":"v1.0.0","Zip":"h1:x"}]}`
	for name, tt := range map[string]struct {
		status  int
		text    string
		verdict integrity.Outcome
		fails   string // in the error
	}{
		"a check ended":                     {text: intact, verdict: integrity.Intact},
		"none has ended":                    {text: `{"running":1}`},
		"unavailable":                       {status: http.StatusServiceUnavailable, text: intact, fails: "503"},
		"a redirect":                        {status: http.StatusNotModified, fails: "304"},
		"not JSON":                          {text: "<html>", fails: "read the report"},
		"longer than any report":            {text: `{"x":"` + strings.Repeat("x", 2<<20) + `"}`, fails: "read the report"},
		"a verdict that there is not":       {text: `{"verdict":{"verdict":"Splendid"}}`, fails: "the report of the agent"},
		"a verdict that contradicts itself": {text: `{"verdict":{"verdict":"Intact","digest":"sha256:x","corrupt":1}}`, fails: "the report of the agent"},
	} {
		target := agent(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/report" || r.Header.Get("Authorization") != "" {
				t.Errorf("%s: %s %s, Authorization %q", name, r.Method, r.URL, r.Header.Get("Authorization"))
			}
			if tt.status != 0 {
				w.WriteHeader(tt.status)
			}
			_, _ = w.Write([]byte(tt.text))
		})
		report, err := target.Store(t.Context())
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) || report.Verdict != nil {
				t.Errorf("%s: %+v, %v, want an error with %q", name, report, err, tt.fails)
			}
			continue
		}
		if err != nil || (report.Verdict == nil) != (tt.verdict == "") || report.Verdict != nil && report.Verdict.Verdict != tt.verdict {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		if report.Verdict != nil && (report.Began != 3*time.Second || report.Ended != time.Second || len(report.Sample) != 1 || report.Sample[0].Zip != "h1:x") {
			t.Errorf("%s: %+v", name, report)
		}
	}
	down := probe.Target{Agent: "http://127.0.0.1:1"}
	if report, err := down.Store(t.Context()); err == nil {
		t.Errorf("an agent that is down reports %+v", report)
	}
}

// TestCheckStore holds that a check is requested with the token, and that what the
// agent refuses is an error.
func TestCheckStore(t *testing.T) {
	for query, unhurried := range map[string]bool{"": true, "unhurried=false": false} {
		asked := 0
		target := agent(t, func(_ http.ResponseWriter, r *http.Request) {
			asked++
			if r.Method != http.MethodPost || r.URL.Path != "/check" || r.URL.RawQuery != query || r.Header.Get("Authorization") != "Bearer secret" {
				t.Errorf("%s %s, Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
			}
		})
		if err := target.CheckStore(t.Context(), unhurried); err != nil || asked != 1 {
			t.Errorf("asked %d times: %v", asked, err)
		}
	}
	refuses := agent(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	if err := refuses.CheckStore(t.Context(), true); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("refused: %v", err)
	}
}
