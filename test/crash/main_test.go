package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestSummarize holds the last line against reports that are complete and that
// are not.
func TestSummarize(t *testing.T) {
	const declared = `{"suite":"a","declared":["x","y"]}` + "\n"
	tests := map[string]struct{ report, last, wrong string }{
		"whole": {declared + `{"suite":"a","flow":"x","writes":3,"before":3,"after":3}
{"suite":"a","flow":"y","writes":2,"before":2,"after":2}`, "crash points: 5 run, 0 failed", ""},
		"a point failed":      {declared + `{"suite":"a","flow":"x","writes":3,"before":3,"after":3,"failed":1}` + "\n" + `{"suite":"a","flow":"y","writes":2,"before":2,"after":2}`, "crash points: 5 run, 1 failed", "1 crash points failed"},
		"a flow is missing":   {declared + `{"suite":"a","flow":"x","writes":3,"before":3,"after":3}`, "crash points: 3 run, 0 failed", "a/y was declared"},
		"a point was not run": {declared + `{"suite":"a","flow":"x","writes":3,"before":3,"after":2}` + "\n" + `{"suite":"a","flow":"y","writes":2,"before":2,"after":2}`, "crash points: 4 run, 0 failed", "after 2 of them"},
		"a suite is missing":  {`{"suite":"b","declared":[]}`, "crash points: 0 run, 0 failed", "a suite"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lines, err := read(strings.NewReader(tt.report))
			if err != nil {
				t.Fatal(err)
			}
			packages := 1
			if name == "a suite is missing" {
				packages, tt.wrong = 2, "1 suites reported, of 2"
			}
			var out bytes.Buffer
			err = summarize(&out, lines, packages)
			if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("says %v, want %q", err, tt.wrong)
			}
			if !strings.HasSuffix(out.String(), "\n"+tt.last+"\n") {
				t.Errorf("ends otherwise than %q:\n%s", tt.last, out.String())
			}
		})
	}
}
