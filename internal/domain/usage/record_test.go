package usage_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/usage"
)

const text = `gocache-usage 1
warm-up 2026-03-01T10:00:00Z 2026-03-01T10:05:00Z
m example.com/Lib v1.2.0 2026-03-01T10:00:00Z 2026-03-01T10:00:00Z
m example.com/lib v1.1.0 2026-02-01T10:00:00Z 2026-03-01T10:00:00Z
m example.com/lib v1.2.0 - 2026-01-01T10:00:00Z
end 3
`

func TestRecordIsCanonical(t *testing.T) {
	r, err := usage.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	want := &usage.Record{Began: began, Ended: began.Add(5 * time.Minute), Modules: map[module.Version]usage.Use{
		{Path: "example.com/Lib", Version: "v1.2.0"}: {Contents: began, GoMod: began},
		{Path: "example.com/lib", Version: "v1.1.0"}: {Contents: began.AddDate(0, -1, 0), GoMod: began},
		{Path: "example.com/lib", Version: "v1.2.0"}: {GoMod: began.AddDate(0, -2, 0)},
	}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	var again bytes.Buffer
	if err := r.Write(&again); err != nil || again.String() != text {
		t.Errorf("%v\n%s", err, cmp.Diff(text, again.String()))
	}
	if got := r.Since(); !got.Equal(began.Add(-time.Hour)) {
		t.Errorf("used by the last warm-up since %s", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"nothing":            func(string) string { return "" },
		"another format":     func(s string) string { return strings.Replace(s, "usage 1", "usage 2", 1) },
		"no last newline":    func(s string) string { return strings.TrimSuffix(s, "\n") },
		"carriage returns":   func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"cut":                func(s string) string { return s[:len(s)-len("end 3\n")] },
		"another count":      func(s string) string { return strings.Replace(s, "end 3", "end 2", 1) },
		"more behind":        func(s string) string { return s + "m\n" },
		"another order":      func(s string) string { return strings.Replace(s, "example.com/Lib", "example.com/zzz", 1) },
		"twice":              func(s string) string { return strings.Replace(s, "lib v1.1.0", "lib v1.2.0", 1) },
		"no path":            func(s string) string { return strings.Replace(s, "example.com/Lib", "../x", 1) },
		"another zone":       func(s string) string { return strings.Replace(s, "10:05:00Z", "10:05:00+00:00", 1) },
		"no time of use":     func(s string) string { return strings.Replace(s, "v1.2.0 2026-03-01T10:00:00Z", "v1.2.0 yesterday", 1) },
		"no time of go.mod":  func(s string) string { return strings.Replace(s, "v1.2.0 - 2026-01-01T10:00:00Z", "v1.2.0 - never", 1) },
		"ends before begins": func(s string) string { return strings.Replace(s, "10:05:00Z", "09:05:00Z", 1) },
		"never warmed":       func(s string) string { return strings.Replace(s, "warm-up 2026-03-01T10:00:00Z", "warm-up -", 1) },
		"zeros":              func(s string) string { return s + string(make([]byte, 9000)) },
	} {
		if _, err := usage.Parse(strings.NewReader(damage(text))); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := usage.Parse(strings.NewReader(s))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := r.Write(&again); err != nil || again.String() != s {
			t.Errorf("%v: %q is read and written as %q", err, s, again.String())
		}
	})
}
