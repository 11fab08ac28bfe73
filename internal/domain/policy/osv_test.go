package policy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"gocache.dev/operator/internal/domain/policy"
)

// advised is a policy of advisories alone, as an instance reads it.
func advised(t *testing.T, text string) *policy.Policy {
	t.Helper()
	all, err := policy.ParseOSV([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	formatted, err := (&policy.Policy{Mode: policy.Enforce, Advisories: all}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(formatted))
}

// affected is a document about one package of the ecosystem Go.
func affected(id, name, rest string) string {
	return fmt.Sprintf(`{"schema_version":"1.3.1","id":%q,"summary":"Flaw in it","affected":[{"package":{"name":%q,"ecosystem":"Go"}%s}]}`, id, name, rest)
}

func semverRange(events string) string {
	return `,"ranges":[{"type":"SEMVER","events":[` + events + `]}]`
}

// TestAdvisories holds which versions are denied by documents such as those of the
// Go vulnerability database, and by which of them.
func TestAdvisories(t *testing.T) {
	p := advised(t, `[`+strings.Join([]string{
		`{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-02-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
		  "aliases":["CVE-2026-1","GHSA-aaaa-bbbb-cccc"],"summary":"Denial of service in example.com/m","details":"Long.",
		  "affected":[
		    {"package":{"name":"example.com/m","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.4.2"},{"introduced":"1.5.0-rc.1"},{"fixed":"1.5.3"}]}],
		     "ecosystem_specific":{"imports":[{"path":"example.com/m/x","symbols":["F"]}]}},
		    {"package":{"name":"example.com/m/v2","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"2.1.0"}]},{"type":"SEMVER","events":[{"introduced":"2.0.0"},{"fixed":"2.0.1"}]}]}],
		  "references":[{"type":"FIX","url":"https://example.com/m/1"}],"credits":[{"name":"n"}],"database_specific":{"url":"u","review_status":"REVIEWED"}}`,
		affected("GO-2026-0002", "example.com/unordered", semverRange(`{"fixed":"1.5.0"},{"introduced":"1.4.0"},{"fixed":"1.1.0"},{"introduced":"0"}`)),
		affected("GHSA-2222-3333-4444", "example.com/last", semverRange(`{"introduced":"1.0.0"},{"last_affected":"1.2.0"}`)),
		affected("GHSA-3333-3333-4444", "example.com/single", semverRange(`{"last_affected":"1.2.0"},{"introduced":"1.2.0"}`)),
		strings.Replace(affected("GO-2026-0003", "example.com/withdrawn", ""), `"summary"`, `"withdrawn":"2026-01-01T00:00:00Z","summary"`, 1),
		affected("GO-2026-0004", "stdlib", semverRange(`{"introduced":"0"}`)),
		affected("GO-2026-0005", "toolchain", semverRange(`{"introduced":"0"}`)),
		strings.Replace(affected("PYSEC-1", "example.com/python", ""), `"Go"`, `"PyPI"`, 1),
		affected("GO-2026-0006", "example.com/versions", `,"versions":["1.0.0","v1.1.0","2.0.0+incompatible","0.0.0-20260101000000-0123456789ab"]`),
		affected("MAL-2026-1", "example.com/malicious", semverRange(`{"introduced":"0"}`)),
		affected("MAL-2026-2", "example.com/all", ""),
		affected("GO-2026-0007", "example.com/both", semverRange(`{"introduced":"0"},{"fixed":"1.0.0"}`)+`,"versions":["1.3.0"]`),
		affected("GO-2026-0008", "example.com/commits", `,"ranges":[{"type":"GIT","repo":"r","events":[{"introduced":"0"},{"fixed":"8bb6da6"}]},{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.0.0-20260101000000-0123456789ab"}]}]`),
		affected("GO-2026-0009", "example.com/limit", semverRange(`{"introduced":"1.0.0"},{"limit":"1.1.0"},{"limit":"1.2.0"}`)),
		affected("GO-2026-0010", "example.com/Mixed", semverRange(`{"introduced":"0"},{"fixed":"1.0.0"},{"introduced":"1.0.0"},{"fixed":"1.1.0"}`)),
		affected("GO-2026-0011", "example.com/never", semverRange(`{"introduced":"1.0.0"},{"fixed":"1.0.0"}`)),
		affected("GO-2026-0012", "example.com/star", semverRange(`{"introduced":"1.0.0"},{"limit":"1.1.0"},{"limit":"*"}`)),
	}, ",")+`]`)
	for _, tt := range []struct{ version, rule, reason string }{
		{"example.com/m@v1.4.1", "advisory/GO-2026-0001", "CVE-2026-1, GHSA-aaaa-bbbb-cccc: Denial of service in example.com/m; fixed in v1.4.2"},
		{"example.com/m@v0.0.0-20200101000000-0123456789ab", "advisory/GO-2026-0001", "v1.4.2"},
		{"example.com/m@v1.4.2-rc.1", "advisory/GO-2026-0001", "v1.4.2"},
		{"example.com/m@v1.4.2", "", ""},
		{"example.com/m@v1.4.9", "", ""},
		{"example.com/m@v1.5.0-rc.1", "advisory/GO-2026-0001", "v1.5.3"},
		{"example.com/m@v1.5.2", "advisory/GO-2026-0001", "v1.5.3"},
		{"example.com/m@v1.5.3", "", ""},
		{"example.com/m@v2.0.0+incompatible", "", ""},
		{"example.com/M@v1.4.1", "advisory/GO-2026-0001", ""}, // the same repository at many hosts
		{"example.com/m/v2@v2.0.0", "advisory/GO-2026-0001", "v2.0.1"},
		{"example.com/m/v2@v2.0.1", "", ""},
		{"example.com/m/v2@v2.9.0", "advisory/GO-2026-0001", "example.com/m"},
		{"example.com/m/v3@v3.0.0", "", ""},
		{"example.com/m/x@v1.0.0", "", ""}, // a module of its own
		{"example.com/unordered@v1.0.9", "advisory/GO-2026-0002", "Flaw in it; fixed in v1.1.0"},
		{"example.com/unordered@v1.1.0", "", ""},
		{"example.com/unordered@v1.4.0", "advisory/GO-2026-0002", "v1.5.0"},
		{"example.com/unordered@v1.5.0", "", ""},
		{"example.com/last@v1.2.0", "advisory/GHSA-2222-3333-4444", "Flaw in it"},
		{"example.com/last@v1.2.1", "", ""},
		{"example.com/last@v0.9.0", "", ""},
		{"example.com/single@v1.2.0", "advisory/GHSA-3333-3333-4444", ""},
		{"example.com/single@v1.2.1", "", ""},
		{"example.com/single@v1.1.9", "", ""},
		{"example.com/withdrawn@v1.0.0", "", ""},
		{"stdlib@v1.0.0", "", ""},
		{"toolchain@v1.0.0", "", ""},
		{"example.com/python@v1.0.0", "", ""},
		{"example.com/versions@v1.0.0", "advisory/GO-2026-0006", ""},
		{"example.com/versions@v1.0.1", "", ""},
		{"example.com/versions@v1.1.0", "advisory/GO-2026-0006", ""},
		{"example.com/versions@v2.0.0+incompatible", "advisory/GO-2026-0006", ""},
		{"example.com/versions@v0.0.0-20260101000000-0123456789ab", "advisory/GO-2026-0006", ""},
		{"example.com/malicious@v0.0.0-20200101000000-0123456789ab", "advisory/MAL-2026-1", ""},
		{"example.com/malicious@v99.0.0+incompatible", "advisory/MAL-2026-1", ""},
		{"example.com/all@v0.1.0", "advisory/MAL-2026-2", ""},
		{"example.com/both@v0.9.0", "advisory/GO-2026-0007", "fixed in v1.0.0"},
		{"example.com/both@v1.3.0", "advisory/GO-2026-0007", ""},
		{"example.com/both@v1.2.0", "", ""},
		{"example.com/commits@v0.0.0-20251231000000-0123456789ab", "advisory/GO-2026-0008", ""},
		{"example.com/commits@v0.0.0-20260102000000-0123456789ab", "", ""},
		{"example.com/limit@v1.1.9", "advisory/GO-2026-0009", ""},
		{"example.com/limit@v1.2.0", "", ""},
		{"example.com/star@v1.5.0", "advisory/GO-2026-0012", ""},
		{"example.com/mixed@v1.0.0", "advisory/GO-2026-0010", ""},
		{"example.com/mixed@v1.1.0", "", ""},
		{"example.com/never@v1.0.0", "", ""},
	} {
		path, version, _ := strings.Cut(tt.version, "@")
		d := p.Decide(module.Version{Path: path, Version: version})
		if d.Rule != tt.rule || !strings.Contains(d.Reason, tt.reason) || d.Refused() && d.Reason == "" {
			t.Errorf("%s: %+v, want rule %q and reason %q", tt.version, d, tt.rule, tt.reason)
		}
	}
	if !p.Rules()["advisory/GO-2026-0001"] || p.Rules()["advisory/GO-2026-0004"] {
		t.Errorf("the rules are %v", p.Rules())
	}
}

// TestAdvisoriesAmongRules holds that deny rules come before advisories, and that
// what is allowed is denied by an advisory all the same.
func TestAdvisoriesAmongRules(t *testing.T) {
	p := parse(t, `{"mode":"Enforce","deny":[{"name":"own","modules":["example.com/a"]}],"allow":[{"name":"ours","modules":["example.com"]}],
		"advisories":[{"id":"GO-1","affected":[{"module":"example.com/a"},{"module":"example.com/b","versions":["<v1.1.0"]}]}]}`)
	for version, rule := range map[string]string{
		"example.com/a@v1.0.0": "deny/own", "example.com/b@v1.0.0": "advisory/GO-1", "example.com/b@v1.1.0": "", "example.net/b@v1.0.0": "allow",
	} {
		path, v, _ := strings.Cut(version, "@")
		if d := p.Decide(module.Version{Path: path, Version: v}); d.Rule != rule || d.Refused() && d.Reason == "" {
			t.Errorf("%s: %+v, want %q", version, d, rule)
		}
	}
}

// TestParseOSVRefuses holds that an error has where it is, and nothing else of the
// text: it is in conditions and events, which more people read than the ConfigMap.
func TestParseOSVRefuses(t *testing.T) {
	const secret = "c0nfidential"
	for text, want := range map[string]string{
		``:                             "not valid JSON",
		secret:                         "not valid JSON at byte 1",
		`[{"id":"GO-1"},` + secret:     "not valid JSON at byte 16",
		`{"id":"GO-1"} {"id":"GO-2"}`:  "not valid JSON at byte",
		`null`:                         "no id",
		`{"summary":"` + secret + `"}`: "no id",
		`[{"id":"GO-1"},{"id":"` + secret + `<script>"}]`:                                 "[1] it has no id",
		`[{"id":"GO-1","affected":"` + secret + `"}]`:                                     "[0] it is no document in the OSV format",
		`{"id":"GO-1","withdrawn":8675309}`:                                               "another type",
		affected("GO-2", "", ""):                                                          "GO-2: affected[0].package.name",
		affected("GO-2", "example.com/"+strings.Repeat("x", 512), ""):                     "GO-2: affected[0].package.name",
		affected("GO-2", "example.com/m", semverRange(``)):                                "GO-2: affected[0].ranges[0].events has no introduced",
		affected("GO-2", "example.com/m", semverRange(`{"fixed":"1.0.0"}`)):               "events has no introduced",
		affected("GO-2", "m", semverRange(`{"introduced":"0"},{"fixed":"`+secret+`"}`)):   "GO-2: affected[0].ranges[0].events[1] has no version",
		affected("GO-2", "m", semverRange(`{"introduced":"0"},{"fixed":"0"}`)):            "events[1] has no version",
		affected("GO-2", "m", semverRange(`{"introduced":"*"}`)):                          "events[0] has no version",
		affected("GO-2", "m", `,"versions":["1.0.0","`+secret+`"]`):                       "GO-2: affected[0].versions[1] is no version",
		affected("GO-2", "m", `,"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]`): "GO-2: affected[0].ranges has only commits",
		`[` + strings.Repeat(" ", policy.MaxOSV) + `]`:                                    "bytes, of 1048576",
	} {
		_, err := policy.ParseOSV([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "8675309") {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{`[]`, `{"id":"GO-1"}`, ` [ {"id":"GO-1","affected":null} ] `} {
		if all, err := policy.ParseOSV([]byte(text)); err != nil || len(all) > 0 {
			t.Errorf("%s: %v, %v", text, all, err)
		}
	}
}

// TestTextOfAdvisories holds that what people see is bounded, and does nothing to a
// terminal.
func TestTextOfAdvisories(t *testing.T) {
	summary, err := json.Marshal("a\x1b[31mb\r\n\tc\u202ed\u200b" + strings.Repeat("é", 1000))
	if err != nil {
		t.Fatal(err)
	}
	all, err := policy.ParseOSV([]byte(`{"id":"GO-1","summary":` + string(summary) + `,"aliases":["x\u001b[0m","CVE-2026-1","` + strings.Repeat("A", 60) + `"],"affected":[{"package":{"ecosystem":"Go","name":"example.com/m"}}]}`))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	reason := all[0].Reason
	if !strings.HasPrefix(reason, "CVE-2026-1: a [31mb c d éé") || !strings.HasSuffix(reason, "é…") || len([]rune(reason)) > 260 ||
		strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the reason is %q", reason)
	}
}

// TestManyAdvisories holds that thousands of advisories fit into a policy, and that
// more are refused with the reason.
func TestManyAdvisories(t *testing.T) {
	var all []policy.Advisory
	for i := range 4000 {
		one, err := policy.ParseOSV([]byte(strings.Replace(affected(fmt.Sprintf("GO-2026-%04d", i), fmt.Sprintf("example.com/organization/repository-%d", i),
			semverRange(`{"introduced":"1.2.0"},{"fixed":"1.12.3"}`)), "Flaw in it", "Denial of service by a crafted request in the package", 1)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one...)
	}
	format := func(all []policy.Advisory) []byte {
		text, err := (&policy.Policy{Mode: policy.Enforce, Advisories: all}).Format()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	p := parse(t, string(format(all)))
	if d := p.Decide(module.Version{Path: "example.com/organization/repository-3999", Version: "v1.12.2"}); d.Rule != "advisory/GO-2026-3999" {
		t.Errorf("the last one: %+v", d)
	}
	if _, err := policy.Parse(format(append(all, all...))); err == nil || !strings.Contains(err.Error(), "only advisories on modules that clients use") {
		t.Errorf("too many: %v", err)
	}
}

// TestEvaluationOfRanges holds that a decision is that of the algorithm which the
// OSV format defines, for random ranges and versions.
func TestEvaluationOfRanges(t *testing.T) {
	type event struct{ kind, version string }
	pool := []string{
		"0.0.0-20200101000000-0123456789ab", "0.0.0-20260101000000-0123456789ab", "0.1.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.0.1-0.20260101000000-0123456789ab",
		"1.0.1", "1.2.0", "1.10.0", "1.10.1", "2.0.0+incompatible", "2.0.1", "3.0.0-rc.1",
	}
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 1))
		closing := []string{"fixed", "last_affected"}[random.IntN(2)] // a range has one of the two
		var ranges [][]event
		var versions []string
		for range random.IntN(4) {
			at := random.Perm(len(pool)) // no version twice in a range
			events := []event{{"introduced", pool[at[0]]}}
			if random.IntN(2) == 0 {
				events[0].version = "0"
			}
			for _, i := range at[1 : 1+random.IntN(6)] {
				events = append(events, event{[]string{"introduced", closing, closing}[random.IntN(3)], pool[i]})
			}
			if random.IntN(5) == 0 {
				events = append(events, event{"limit", pool[at[len(at)-1]]})
			}
			random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			ranges = append(ranges, events)
		}
		for range random.IntN(3) {
			versions = append(versions, pool[random.IntN(len(pool))])
		}
		// less is the order of the format: 0 is before every version.
		less := func(a, b string) bool { return b != "0" && (a == "0" || semver.Compare("v"+a, "v"+b) < 0) }
		affects := func(v string) bool {
			if len(ranges)+len(versions) == 0 || slices.ContainsFunc(versions, func(other string) bool { return v == other }) {
				return true
			}
			for _, events := range ranges {
				sorted := slices.Clone(events)
				slices.SortFunc(sorted, func(a, b event) int {
					switch {
					case less(a.version, b.version):
						return -1
					case less(b.version, a.version):
						return 1
					}
					return 0
				})
				vulnerable, limited, before := false, false, false
				for _, e := range sorted {
					switch {
					case e.kind == "introduced" && !less(v, e.version):
						vulnerable = true
					case e.kind == "fixed" && !less(v, e.version):
						vulnerable = false
					case e.kind == "last_affected" && less(e.version, v):
						vulnerable = false
					case e.kind == "limit":
						limited, before = true, before || less(v, e.version)
					}
				}
				if vulnerable && (!limited || before) {
					return true
				}
			}
			return false
		}
		var parts []string
		for _, events := range ranges {
			var texts []string
			for _, e := range events {
				texts = append(texts, fmt.Sprintf(`{%q:%q}`, e.kind, e.version))
			}
			parts = append(parts, `{"type":"SEMVER","events":[`+strings.Join(texts, ",")+`]}`)
		}
		list, err := json.Marshal(versions)
		if err != nil {
			t.Fatal(err)
		}
		text := affected("GO-1", "example.com/m", fmt.Sprintf(`,"ranges":[%s],"versions":%s`, strings.Join(parts, ","), list))
		p := advised(t, text)
		for _, v := range pool {
			if d := p.Decide(module.Version{Path: "example.com/m", Version: "v" + v}); d.Refused() != affects(v) {
				t.Fatalf("seed %d: v%s: %+v, by the format: %t\n%s", seed, v, d, affects(v), text)
			}
		}
	}
}

func FuzzParseOSV(f *testing.F) {
	f.Add([]byte(affected("GO-1", "example.com/m", semverRange(`{"introduced":"0"},{"fixed":"1.4.2"}`))))
	f.Add([]byte(`[` + affected("GO-1", "m", `,"versions":["1.0.0"]`) + `]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := policy.ParseOSV(text)
		if err != nil {
			return
		}
		p := policy.Policy{Mode: policy.Enforce, Advisories: all}
		formatted, err := p.Format()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(formatted); err != nil && len(formatted) <= policy.MaxSize {
			t.Errorf("%q becomes %q: %v", text, formatted, err)
		}
	})
}
