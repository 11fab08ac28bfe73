package integrity_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/integrity"
)

// A verdict of any size fits into a termination log and means the same.
func TestFit(t *testing.T) {
	v := integrity.Verdict{
		Verdict: integrity.OutcomeCorrupt, Message: strings.Repeat("é\x00", 5000), Digest: "sha256:x", Corrupt: 3,
		Findings: map[integrity.Class]int{integrity.Corrupt: 3}, Toolchain: &integrity.Toolchain{GOFLAGS: strings.Repeat("f", 3000)},
	}
	for range 100 {
		v.Examples = append(v.Examples, integrity.Example{Class: integrity.Corrupt, Path: strings.Repeat("\"<>", 100)})
	}
	for _, limit := range []int{integrity.TerminationLimit, 2000, 400, 40} {
		data := v.Fit(limit)
		var got integrity.Verdict
		if err := json.Unmarshal(data, &got); err != nil || len(data) > limit || got.Verdict != integrity.OutcomeCorrupt {
			t.Errorf("limit %d: %d bytes, %v: %.100s", limit, len(data), err, data)
		}
	}
	if len(v.Examples) != 100 {
		t.Error("fitting changed the verdict itself")
	}
}

// A report that contradicts itself proves nothing.
func TestParseVerdictRefuses(t *testing.T) {
	for _, text := range []string{
		"", "{}", `{"verdict":"intact","digest":"x"}`, `{"verdict":"Intact"}`, `{"verdict":"Intact","digest":"x","corrupt":1}`,
		`{"verdict":"Intact","digest":"x","unreadable":1}`, `{"verdict":"Corrupt"}`, `{"verdict":"Intact","digest":"x"`, `{"verdict":"Intact","digest":"x"}x`,
		`{"verdict":"Intact","digest":"` + strings.Repeat("d", 129) + `"}`, `{"verdict":"Inconclusive","digest":"` + strings.Repeat("d", 129) + `"}`,
	} {
		if v, err := integrity.ParseVerdict([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", text, v)
		}
	}
	longest := strings.Repeat("d", 128)
	if v, err := integrity.ParseVerdict([]byte(`{"verdict":"Intact","digest":"` + longest + `"}`)); err != nil || v.Digest != longest {
		t.Errorf("the longest digest: %v", err)
	}
}

func FuzzParseVerdict(f *testing.F) {
	f.Add([]byte(`{"verdict":"Intact","digest":"sha256:x","counts":{"modules":1},"recoverable":2,"findings":{"Truncated":2},"examples":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := integrity.ParseVerdict(data)
		if err != nil {
			return
		}
		text := v.Fit(1 << 20)
		again, err := integrity.ParseVerdict(text)
		if err != nil {
			t.Fatalf("%s is accepted but %s is not: %v", data, text, err)
		}
		if !bytes.Equal(again.Fit(1<<20), text) {
			t.Fatalf("%s becomes %s", text, again.Fit(1<<20))
		}
	})
}

func FuzzGoSum(f *testing.F) {
	f.Add("example.com/lib v1.2.0 h1:g52VgphPSaK+9iVTWqTHH74atAmNv+jZls74eXeSSog=\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_ = integrity.NewTrust().AddGoSum("go.sum", strings.NewReader(text)) // must not panic
	})
}
