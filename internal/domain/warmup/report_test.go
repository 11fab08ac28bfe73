package warmup_test

import (
	"reflect"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
)

var full = warmup.Report{
	Outcome: warmup.Corrupt, Message: "m", GoVersion: "go1.26.8 linux/amd64", GoSHA256: "aa", CompileSHA256: "bb", GoFlags: "-race", CGOEnabled: "1",
	Modules: 1, BuildEntries: 2, UsedBytes: 3, CapacityBytes: 4, DurationSeconds: 5.5, ManifestDigest: "sha256:cc",
	Sources: []warmup.SourceReport{{Name: "a", Entries: 6, Seconds: 7.5}, {Name: "b", Failed: true, Reason: warmup.ToolchainTooOld, Message: "n"}},
}

// Agents of one release report to operators of another: these names stay.
const written = `{"outcome":"Corrupt","message":"m","sources":[{"name":"a","entries":6,"seconds":7.5},{"name":"b","failed":true,"reason":"ToolchainTooOld","message":"n"}],"goVersion":"go1.26.8 linux/amd64","goSHA256":"aa","compileSHA256":"bb","goFlags":"-race","cgoEnabled":"1",` +
	`"modules":1,"buildEntries":2,"usedBytes":3,"capacityBytes":4,"durationSeconds":5.5,"manifestDigest":"sha256:cc"}`

func TestFormat(t *testing.T) {
	if got := string(full.Fit(4096)); got != written {
		t.Errorf("got  %s\nwant %s", got, written)
	}
	if got, err := warmup.Parse([]byte(written)); err != nil || !reflect.DeepEqual(got, full) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "{}", "[]", `{"outcome":"Splendid"}`, `{"outcome":"Failed","modules":"many"}`, written[:len(written)-1]} {
		if got, err := warmup.Parse([]byte(text)); err == nil {
			t.Errorf("%q passes for %+v", text, got)
		}
	}
}

// TestLongDigest holds that a report is refused whose digest cannot be stored: truncated, it
// would be of something else.
func TestLongDigest(t *testing.T) {
	for n, fits := range map[int]bool{128: true, 129: false} {
		text := `{"outcome":"Succeeded","manifestDigest":"` + strings.Repeat("d", n) + `"}`
		if got, err := warmup.Parse([]byte(text)); (err == nil) != fits || len(got.ManifestDigest) != map[bool]int{true: n}[fits] {
			t.Errorf("%d bytes: %v", n, err)
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
	if got := string(full.Fit(len(written))); got != written {
		t.Errorf("with room for all of it: %s", got)
	}
	if got := string(full.Fit(30)); got != `{"outcome":"Corrupt"}` {
		t.Errorf("with no room: %s", got)
	}
}

// Each source keeps its name and outcome, whatever they printed; the longest
// messages give way.
func TestFitOfSources(t *testing.T) {
	r := warmup.Report{Outcome: warmup.Failed}
	for i := range 16 {
		r.Sources = append(r.Sources, warmup.SourceReport{Name: strings.Repeat("n", 62) + string(rune('a'+i)), Failed: true, Message: strings.Repeat("x", 100*i) + "the end"})
	}
	data := r.Fit(4096)
	got, err := warmup.Parse(data)
	if err != nil || len(data) > 4096 || len(got.Sources) != 16 {
		t.Fatalf("%d bytes, %v: %s", len(data), err, data)
	}
	for i, s := range got.Sources {
		if s.Name != r.Sources[i].Name || !s.Failed || !strings.HasSuffix(s.Message, "the end") {
			t.Errorf("source %d: %+v", i, s)
		}
	}
	if r.Sources[15].Message[0] != 'x' {
		t.Error("the report itself was changed")
	}
}

func TestSummary(t *testing.T) {
	r := warmup.Report{Message: "m", Sources: []warmup.SourceReport{{Name: "a", Message: "note"}, {Name: "b", Failed: true, Message: "why"}, {Name: "c"}}}
	if got := r.Summary(); got != "1 of 3 sources failed: b: why; m; a: note" || len(r.FailedSources()) != 1 {
		t.Errorf("%q, %v", got, r.FailedSources())
	}
	if got := (warmup.Report{}).Summary(); got != "" {
		t.Errorf("nothing to say: %q", got)
	}
	if got := warmup.OneLine("go mod download: exit status 1\ngo: downloading x v1\n\n# pkg\n\ta.go:1:  undefined: C\r\n"); got != "go mod download: exit status 1 | # pkg | a.go:1: undefined: C" {
		t.Errorf("%q", got)
	}
}

func TestSourceFlag(t *testing.T) {
	for _, s := range []warmup.Source{
		{Name: "a", Dir: "/sources/0"},
		{Name: "b", Dir: "/sources/1", Repository: true, Packages: []string{"./...", "example.com/$(HOME)"}},
	} {
		flag := s.Flag()
		got, err := warmup.ParseSource(flag)
		if err != nil || !reflect.DeepEqual(got, s) || strings.Contains(flag, "$") {
			t.Errorf("%s: %+v, %v", flag, got, err)
		}
	}
	if s, err := warmup.ParseSource("/a"); err != nil || s.Dir != "/a" {
		t.Errorf("a directory: %+v, %v", s, err)
	}
	for _, text := range []string{"", "{}", `{"dir":"/a","packages":["-toolexec=x"]}`, `{"dir":"/a","packages":[""]}`, `{"dir":"/a","newer":1}`, `{"dir":`} {
		if s, err := warmup.ParseSource(text); err == nil {
			t.Errorf("%q passes for %+v", text, s)
		}
	}
}

// TestBuildsAreValidated holds that a build from a repository, which its authors write,
// passes nothing to the go command but what chooses what is compiled.
func TestBuildsAreValidated(t *testing.T) {
	for name, tt := range map[string]struct {
		build warmup.Build
		want  string // in the error; empty: it is valid
	}{
		"nothing": {},
		"flags and variables": {build: warmup.Build{
			Flags: []string{"-race", "-tags=a,b", "-ldflags=-s -X main.version=1"}, Packages: []string{"./..."},
			Env: map[string]string{"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -race", "GOWORK": "off"},
		}},
		"a program":                    {warmup.Build{Flags: []string{"-race", "-toolexec=/bin/sh"}}, `flag "-toolexec=/bin/sh"`},
		"a program in GOFLAGS":         {warmup.Build{Env: map[string]string{"GOFLAGS": "-race -toolexec=/bin/sh"}}, `flag "-toolexec=/bin/sh"`},
		"a file to write":              {warmup.Build{Flags: []string{"-o=/cache/x"}}, `flag "-o=/cache/x"`},
		"a variable of the go command": {warmup.Build{Env: map[string]string{"GOPROXY": "https://example.com"}}, "the variable GOPROXY"},
		"a value":                      {warmup.Build{Env: map[string]string{"GOOS": "linux\nGOPROXY=x"}}, "GOOS="},
		"a workspace":                  {warmup.Build{Env: map[string]string{"GOWORK": "/tmp/go.work"}}, "GOWORK="},
		"a flag for a package":         {warmup.Build{Packages: []string{"-exec=x"}}, "-exec=x"},
	} {
		err := tt.build.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
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
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v becomes %+v, %v", r, again, err)
		}
	})
}
