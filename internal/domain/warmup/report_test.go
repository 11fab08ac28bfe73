package warmup_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
)

var full = warmup.Report{
	Outcome: warmup.Corrupt, Message: "m", GoVersion: "go1.26.8 linux/amd64", GoSHA256: "aa", CompileSHA256: "bb", GoFlags: "-race", CGOEnabled: "1",
	Modules: 1, BuildEntries: 2, UsedBytes: 3, CapacityBytes: 4, DurationSeconds: 5.5, ManifestDigest: "sha256:cc",
}

// Agents of one release report to operators of another: these names stay.
const written = `{"outcome":"Corrupt","message":"m","goVersion":"go1.26.8 linux/amd64","goSHA256":"aa","compileSHA256":"bb","goFlags":"-race","cgoEnabled":"1",` +
	`"modules":1,"buildEntries":2,"usedBytes":3,"capacityBytes":4,"durationSeconds":5.5,"manifestDigest":"sha256:cc"}`

func TestFormat(t *testing.T) {
	if got := string(full.Fit(4096)); got != written {
		t.Errorf("got  %s\nwant %s", got, written)
	}
	if got, err := warmup.Parse([]byte(written)); err != nil || got != full {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "{}", "[]", `{"outcome":"Splendid"}`, `{"outcome":"Failed","modules":"many"}`, written[:len(written)-1]} {
		if got, err := warmup.Parse([]byte(text)); err == nil {
			t.Errorf("%q passes for %+v", text, got)
		}
	}
}

// Whatever the go command printed, the report fits, parses, and keeps the end.
func TestFit(t *testing.T) {
	for name, message := range map[string]string{
		"lines": strings.Repeat("a line\n", 2000) + "the end", "runes": strings.Repeat("é", 5000) + "the end",
		"escapes": strings.Repeat("\x01<", 5000) + "the end", "not UTF-8": strings.Repeat("\xff\xfe", 5000) + "the end",
	} {
		r := full
		r.Message = message
		data := r.Fit(4096)
		got, err := warmup.Parse(data)
		if err != nil || len(data) > 4096 || name != "not UTF-8" && len(data) < 3000 || !strings.HasSuffix(got.Message, "the end") {
			t.Errorf("%s: %d bytes, %v, message %.80q", name, len(data), err, got.Message)
		}
	}
	if got := string(full.Fit(30)); got != `{"outcome":"Corrupt"}` {
		t.Errorf("with no room: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(written))
	f.Add([]byte(`{"outcome":"Failed","message":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := warmup.Parse(data)
		if err != nil {
			return
		}
		again, err := warmup.Parse(r.Fit(max(4096, 2*len(data)+1024)))
		if err != nil || again != r {
			t.Errorf("%+v becomes %+v, %v", r, again, err)
		}
	})
}
