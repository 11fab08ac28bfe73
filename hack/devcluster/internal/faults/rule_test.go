package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want string
	}{
		"nothing":              {`{}`, ""},
		"all that can be said": {`{"rules":[{"operation":"snapshot","namespace":"a*","name":"b","delay":"1s","error":"e","code":"Aborted","times":2,"notReady":true,"readyAfter":"1m","unsynced":true,"sizeUnknown":true,"every":"1s"}]}`, ""},
		"of copies":            {`{"rules":[{"operation":"restore","sameSize":true},{"operation":"delete-snapshot","whileCopied":true}]}`, ""},
		"loaded later":         {`{"rules":[{"operation":"restore","lazy":"20ms"}]}`, ""},
		"nothing to load":      {`{"rules":[{"operation":"clone","lazy":"20ms"}]}`, "restore only"},
		"loaded before":        {`{"rules":[{"operation":"restore","lazy":"-1ms"}]}`, "negative"},
		"no copy":              {`{"rules":[{"operation":"create","sameSize":true}]}`, "restore and clone only"},
		"no source":            {`{"rules":[{"operation":"create","every":"1s"}]}`, "clone and snapshot only"},
		"no snapshot":          {`{"rules":[{"operation":"delete","whileCopied":true}]}`, "delete-snapshot only"},
		"unknown operation":    {`{"rules":[{"operation":"explode","delay":"1s"}]}`, `operation "explode": want one of create,`},
		"misspelt field":       {`{"rules":[{"operation":"create","dealy":"1s"}]}`, "dealy"},
		"no effect":            {`{"rules":[{"operation":"create"}]}`, "does nothing"},
		"bad duration":         {`{"rules":[{"operation":"create","delay":"soon"}]}`, "soon"},
		"bad pattern":          {`{"rules":[{"operation":"create","delay":"1s","name":"["}]}`, "pattern"},
		"code without error":   {`{"rules":[{"operation":"create","delay":"1s","code":"Aborted"}]}`, "without an error"},
		"unknown code":         {`{"rules":[{"operation":"create","error":"x","code":"Bad"}]}`, "code"},
		"of each volume":       {`{"rules":[{"operation":"mount","delay":"1s","times":1,"each":true}]}`, ""},
		"each of all":          {`{"rules":[{"operation":"mount","delay":"1s","each":true}]}`, "rule with times"},
		"negative":             {`{"rules":[{"operation":"create","error":"x","times":-1}]}`, "negative"},
		"not for that":         {`{"rules":[{"operation":"create","notReady":true}]}`, "for operation snapshot only"},
		"the second is wrong":  {`{"rules":[{"operation":"create","delay":"1s"},{}]}`, "rule 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(test.text))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNoFileMeansNoFaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "faults.json")
	if set, err := Load(file); err != nil || len(set.Rules) != 0 {
		t.Errorf("got %v, %v", set, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Error("half a file is no error")
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	rule := Rule{Operation: Snapshot, Namespace: "ci-*", Name: "nightly"}
	for _, c := range []struct {
		op              Operation
		namespace, name string
		want            bool
	}{
		{Snapshot, "ci-1", "nightly", true},
		{Snapshot, "prod", "nightly", false},
		{Snapshot, "ci-1", "weekly", false},
		{Restore, "ci-1", "nightly", false},
	} {
		if got := rule.Matches(c.op, c.namespace, c.name); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	if !(Rule{Operation: Expand}).Matches(Expand, "any", "any") {
		t.Error("a rule without patterns does not match")
	}
}

func TestFromParameters(t *testing.T) {
	t.Parallel()
	parameters := map[string]string{
		"fault/operation": "restore", "fault/delay": "2s", "fault/error": "no", "fault/times": "3", "fault/lazy": "20ms", "other": "x",
	}
	got, found, err := FromParameters(Restore, parameters)
	want := Rule{Operation: Restore, Delay: Duration(2 * time.Second), Error: "no", Times: 3, Lazy: Duration(20 * time.Millisecond)}
	if diff := cmp.Diff(want, got); diff != "" || !found || err != nil {
		t.Error(diff, found, err)
	}
	if _, found, err := FromParameters(Create, parameters); found || err != nil {
		t.Errorf("of another operation: %v, %v", found, err)
	}
	if _, found, err := FromParameters(Create, map[string]string{"type": "fast"}); found || err != nil {
		t.Errorf("no fault: %v, %v", found, err)
	}
	for _, bad := range []map[string]string{{"fault/dealy": "1s"}, {"fault/delay": "x"}, {"fault/notReady": "true"}} {
		if _, _, err := FromParameters(Create, bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
