package policy_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/policy"
)

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDecide(t *testing.T) {
	p := parse(t, `{"mode":"Enforce",
		"deny":[{"name":"cve","modules":["example.com/bad"],"versions":["<v1.4.2","v1.5.0"],"reason":"CVE-2026-1"},{"name":"all","modules":["*.example.org/x"]},{"name":"mixed","modules":["example.com/Mixed/*"]}],
		"allow":[{"name":"ours","modules":["corp.example.com","example.com"]},{"name":"some","modules":["example.net/*"],"versions":[">=v1.2.0 <v1.4.0"]},{"name":"one","modules":["example.edu/good"]}]}`)
	for _, tt := range []struct{ module, rule, reason string }{
		{"example.com/bad@v1.4.1", "deny/cve", "CVE-2026-1"},
		{"example.com/bad/sub@v1.0.0", "deny/cve", "CVE-2026-1"},
		{"example.com/bad@v1.4.2-rc.1", "deny/cve", "CVE-2026-1"},
		{"example.com/bad@v1.4.2", "", ""},
		{"example.com/bad@v1.5.0", "deny/cve", "CVE-2026-1"},
		{"example.com/bad@v1.5.1", "", ""},
		{"example.com/badly@v1.0.0", "", ""},
		{"a.example.org/x/y@v1.0.0", "deny/all", "it is denied"},
		{"example.com/Bad@v1.4.1", "deny/cve", "CVE-2026-1"}, // the same repository at many hosts
		{"example.com/bad/Sub@v1.5.0", "deny/cve", "CVE-2026-1"},
		{"example.com/Bad@v1.4.2", "", ""},
		{"example.com/mixed/m@v1.0.0", "deny/mixed", "it is denied"},
		{"example.com/mIXED/m@v1.0.0", "deny/mixed", "it is denied"},
		{"a.example.org/X@v1.0.0", "deny/all", "it is denied"},
		{"example.net/M@v1.2.0", "", ""},
		{"corp.example.com/Lib@v1.0.0", "", ""},
		{"example.edu/Good@v1.0.0", "allow", "no allow rule"}, // another module, as far as is known
		{"example.edu/good@v1.0.0", "", ""},
		{"a.example.org/y@v1.0.0", "allow", "no allow rule"},
		{"corp.example.com/a/b@v0.0.0-20260101000000-0123456789ab", "", ""},
		{"example.net/m@v1.2.0", "", ""},
		{"example.net/m@v1.3.9+incompatible", "", ""},
		{"example.net/m@v1.4.0", "allow", "no allow rule"},
		{"example.net/m@v1.1.9", "allow", "no allow rule"},
		{"example.net@v1.2.0", "allow", "no allow rule"},
	} {
		path, version, _ := strings.Cut(tt.module, "@")
		d := p.Decide(module.Version{Path: path, Version: version})
		if d.Rule != tt.rule || !strings.Contains(d.Reason, tt.reason) || d.Refused() != (tt.rule != "") {
			t.Errorf("%s: %+v, want rule %q", tt.module, d, tt.rule)
		}
	}
}

func TestYoung(t *testing.T) {
	p := parse(t, `{"mode":"DryRun","minimumAge":"168h","minimumAgeExempt":["corp.example.com"],"vetted":["example.com/m@v1.0.0"]}`)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		module    string
		published time.Time
		want      string
	}{
		{"example.com/m@v1.1.0", now.Add(-168 * time.Hour), ""},
		{"example.com/m@v1.1.0", now.Add(-168*time.Hour + time.Second), "at least 168h old: it is served from 2026-03-10T12:00:01Z"},
		{"example.com/m@v1.1.0", now.Add(time.Hour), "at least 168h old"},
		{"example.com/m@v1.1.0", time.Time{}, "its age is not known"},
		{"example.com/m@v1.0.0", now, ""},
		{"corp.example.com/m@v1.1.0", time.Time{}, ""},
	} {
		path, version, _ := strings.Cut(tt.module, "@")
		d := p.Young(module.Version{Path: path, Version: version}, tt.published, now)
		if d.Refused() != (tt.want != "") || !strings.Contains(d.Reason, tt.want) {
			t.Errorf("%s of %s: %+v, want %q", tt.module, tt.published, d, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                    "not valid JSON",
		`{"mode":"Enforce"} x`:                 "followed by other text",
		`{"mode":"Off"}`:                       `mode "Off"`,
		`{"mode":"DryRun","a":1}`:              "unknown field",
		`{"mode":"DryRun","minimumAge":"7d"}`:  "minimumAge",
		`{"mode":"DryRun","minimumAge":"-1h"}`: "minimumAge",
		`{"mode":"DryRun","minimumAgeExempt":["a,b"]}`:                                      "minimumAgeExempt[0]",
		`{"mode":"DryRun","deny":[{"name":"n","modules":[]}]}`:                              "deny[n].modules is empty",
		`{"mode":"DryRun","deny":[{"name":"n","modules":["a["]}]}`:                          `deny[n].modules[0]: "a["`,
		`{"mode":"DryRun","allow":[{"name":"n","modules":["a"],"versions":["1.2.3"]}]}`:     "allow[n].versions[0]",
		`{"mode":"DryRun","allow":[{"name":"n","modules":["a"],"versions":["v1"]}]}`:        "allow[n].versions[0]",
		`{"mode":"DryRun","allow":[{"name":"n","modules":["a"],"versions":[" "]}]}`:         "it is empty",
		`{"mode":"DryRun","allow":[{"name":"n","modules":["a"],"versions":[">= v1.2.0"]}]}`: "is no version",
		`{"mode":"DryRun","deny":[{"name":"` + strings.Repeat("x", policy.MaxSize) + `"}]}`: "bytes",
	} {
		if _, err := policy.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

// TestFormat holds that a policy is read as it was written.
func TestFormat(t *testing.T) {
	const text = `{"mode":"Enforce","deny":[{"name":"n","modules":["a.example"],"versions":["<v2"],"reason":"r"}],"minimumAge":"1h"}`
	p := parse(t, text)
	got, err := p.Format()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(t, string(got)).Format()
	if err != nil || string(again) != string(got) || p.Deny[0].Versions[0] != "<v2" {
		t.Errorf("%s, then %s, %v", got, again, err)
	}
	if !p.Rules()["deny/n"] || len(p.Rules()) != 3 {
		t.Errorf("the rules are %v", p.Rules())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"mode":"Enforce","deny":[{"name":"n","modules":["a*"],"versions":[">=v1 <v2"]}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if p, err := policy.Parse(text); err == nil {
			p.Decide(module.Version{Path: "a.example/b", Version: "v1.0.0"})
		}
	})
}
