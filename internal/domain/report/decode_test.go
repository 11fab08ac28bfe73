package report_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/offlinebuild"
	"gocache.dev/operator/internal/domain/report"
	"gocache.dev/operator/internal/domain/warmup"
)

// parsers are those of all reports, each with a report that it accepts.
var parsers = map[string]struct {
	parse func([]byte) error
	good  string
}{
	"verdict": {func(b []byte) error { _, err := integrity.ParseVerdict(b); return err }, `{"verdict":"Inconclusive"}`},
	"repair":  {func(b []byte) error { _, err := integrity.ParseRepaired(b); return err }, `{"removed":1,"after":{"verdict":"Inconclusive"}}`},
	"warm-up": {func(b []byte) error { _, err := warmup.Parse(b); return err }, `{"outcome":"Succeeded"}`},
	"cleanup": {func(b []byte) error { _, err := cleanup.Parse(b); return err }, `{"outcome":"Failed"}`},
	"build":   {func(b []byte) error { _, err := offlinebuild.Parse(b); return err }, `{"outcome":"Succeeded"}`},
	"any":     {func(b []byte) error { return report.Decode(b, &struct{}{}) }, `{}`},
}

// TestEveryReportIsBounded holds that no parser of reports accepts what no agent
// writes: the operator computes with the numbers, and the text is untrusted.
func TestEveryReportIsBounded(t *testing.T) {
	for name, p := range parsers {
		with := func(field string) string {
			return strings.TrimSuffix(p.good, "}") + map[bool]string{true: ",", false: ""}[p.good != "{}"] + field + "}"
		}
		for _, good := range []string{" " + p.good + "\n", with(`"a":9007199254740992`), with(`"a":0`), with(`"durationSeconds":1e9`)} {
			if err := p.parse([]byte(good)); err != nil {
				t.Errorf("%s: %s: %v", name, good, err)
			}
		}
		for _, bad := range []string{
			"", "null", "[]", `"text"`, "1", p.good + p.good, p.good + "x",
			with(`"durationSeconds":1e300`), with(`"durationSeconds":1e10`), with(`"durationSeconds":-1`), with(`"usedBytes":-1`), with(`"a":{"b":[1,-2]}`),
			with(`"a":9007199254740994`), with(`"pad":"` + strings.Repeat("x", report.MaxSize) + `"`),
		} {
			if err := p.parse([]byte(bad)); err == nil {
				t.Errorf("%s: %.80s was accepted", name, bad)
			} else if len(err.Error()) > 300 {
				t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
			}
		}
	}
}
