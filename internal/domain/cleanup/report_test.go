package cleanup_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/domain/cleanup"
)

func full() cleanup.Report {
	used := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return cleanup.Report{
		Outcome: cleanup.Applied, Message: "m",
		Preflight: []cleanup.Check{{Name: cleanup.Ownership, Result: cleanup.Pass}, {Name: cleanup.Index, Result: cleanup.Fail, Message: "f"}},
		Plan: &cleanup.Plan{
			Digest: "sha256:dd", AsOf: used, Entries: 3, Bytes: 30, OverBytes: 1,
			Modules: &cleanup.Layer{Entries: 1, Bytes: 10, BeforeBytes: 100},
			Build:   &cleanup.Layer{Entries: 2, Outputs: 2, Bytes: 20, BeforeBytes: 200, Oldest: &used, Newest: &used},
		},
		RemovedEntries: 5, FreedBytes: 30, Proof: &cleanup.Proof{Result: cleanup.Pass},
		Modules: 7, BuildEntries: 8, UsedBytes: 9, CapacityBytes: 10, DurationSeconds: 1.5, ManifestDigest: "sha256:cc",
	}
}

// Agents of one release report to operators of another: these names stay.
const written = `{"outcome":"Applied","message":"m","preflight":[{"name":"ownership","result":"Passed"},{"name":"index","result":"Failed","message":"f"}],` +
	`"plan":{"digest":"sha256:dd","asOf":"2026-01-01T00:00:00Z","entries":3,"bytes":30,"modules":{"entries":1,"bytes":10,"beforeBytes":100},` +
	`"build":{"entries":2,"outputs":2,"bytes":20,"beforeBytes":200,"oldest":"2026-01-01T00:00:00Z","newest":"2026-01-01T00:00:00Z"},"overBytes":1},` +
	`"removedEntries":5,"freedBytes":30,"proof":{"result":"Passed","compiled":0},"modules":7,"buildEntries":8,"usedBytes":9,"capacityBytes":10,"durationSeconds":1.5,"manifestDigest":"sha256:cc"}`

func TestFormat(t *testing.T) {
	if got := string(full().Fit(4096)); got != written {
		t.Errorf("got  %s\nwant %s", got, written)
	}
	got, err := cleanup.Parse([]byte(written))
	if diff := cmp.Diff(full(), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "{}", "[]", `{"outcome":"Splendid"}`, written[:len(written)-1],
		`{"outcome":"Planned"}`, `{"outcome":"Changed","plan":{"digest":""}}`, `{"outcome":"Planned","plan":{"digest":"sha256:dd"}}`,
		`{"outcome":"Applied","manifestDigest":"sha256:cc"}`, `{"outcome":"Applied","proof":{"result":"Passed"}}`,
		`{"outcome":"Paused","preflight":[{"name":"index","result":"Passed"}]}`,
		`{"outcome":"Failed","manifestDigest":"` + strings.Repeat("d", 129) + `"}`,
		`{"outcome":"Planned","plan":{"digest":"` + strings.Repeat("d", 129) + `","asOf":"2026-11-30T12:00:00Z"}}`,
	} {
		if got, err := cleanup.Parse([]byte(text)); err == nil {
			t.Errorf("%q passes for %+v", text, got)
		}
	}
	longest := strings.Repeat("d", 128)
	if got, err := cleanup.Parse([]byte(`{"outcome":"Planned","manifestDigest":"` + longest + `","plan":{"digest":"` + longest + `","asOf":"2026-11-30T12:00:00Z"}}`)); err != nil || got.Plan.Digest != longest {
		t.Errorf("the longest digests: %v", err)
	}
}

// Whatever the messages are, the report fits, parses, and keeps all but messages.
func TestFit(t *testing.T) {
	for name, message := range map[string]string{
		"long": strings.Repeat("a line\n", 2000), "escapes": strings.Repeat("\x01<", 5000), "not UTF-8": strings.Repeat("\xff\xfe", 5000),
	} {
		r := full()
		r.Message, r.Preflight[1].Message, r.Proof.Message = message, message, message
		data := r.Fit(4096)
		got, err := cleanup.Parse(data)
		if err != nil || len(data) > 4096 || len(data) < 500 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
		if diff := cmp.Diff(full().Plan, got.Plan); diff != "" || got.Failing() == nil || got.Failing().Name != cleanup.Index {
			t.Errorf("%s: %+v\n%s", name, got, diff)
		}
		if r.Proof.Message != message {
			t.Errorf("%s: the report itself was cut", name)
		}
	}
}

// Only a plan that removes nothing is empty: entries may be of 0 bytes, and
// outputs that no entry names are bytes without an entry.
func TestEmpty(t *testing.T) {
	for plan, want := range map[cleanup.Plan]bool{
		{}: true, {OverBytes: 1, Digest: "sha256:dd"}: true,
		{Entries: 1}: false, {Bytes: 1}: false, {Entries: 1, Bytes: 1}: false,
	} {
		if got := plan.Empty(); got != want {
			t.Errorf("%+v: %t, want %t", plan, got, want)
		}
	}
}
