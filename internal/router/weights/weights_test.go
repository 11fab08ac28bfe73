package weights_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/router/weights"
)

const sample = `{
  "version": 1,
  "owner": "0b9f2c",
  "generation": 7,
  "servers": {
    "blue": {
      "state": "ready",
      "weight": 50
    },
    "green": {
      "state": "drain"
    },
    "red": {
      "state": "down"
    }
  }
}
`

func TestFormatAndParseAreInverse(t *testing.T) {
	want := weights.Weights{Owner: "0b9f2c", Generation: 7, Servers: map[string]weights.Server{
		"blue": {State: weights.Ready, Weight: 50}, "green": {State: weights.Drain}, "red": {State: weights.Down},
	}}
	got, err := weights.Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	text, err := weights.Format(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample, string(text)); diff != "" {
		t.Errorf("Format (-want +got):\n%s", diff)
	}
}

func TestParseErrorHasTheCause(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(sample, old) {
			t.Fatalf("the sample does not hold %q", old)
		}
		return strings.Replace(sample, old, new, 1)
	}
	tests := map[string]struct{ text, reason string }{
		"empty":           {"", "EOF"},
		"no JSON":         {"ready", "invalid character"},
		"list":            {"[]", "list"},
		"other version":   {replace(`"version": 1`, `"version": 2`), "version 2"},
		"no version":      {replace(`"version": 1,`, ""), "version 0"},
		"no owner":        {replace("0b9f2c", ""), "owner"},
		"no generation":   {replace("7", "0"), "generation 0"},
		"fraction":        {replace("50", "50.5"), "50.5"},
		"too much":        {replace("50", "257"), "weight 257"},
		"ready with none": {replace("50", "0"), "ready with weight 0"},
		"drain with some": {replace(`"drain"`, `"drain", "weight": 3`), "drain with weight 3"},
		"unknown state":   {replace("drain", "maint"), `unknown state "maint"`},
		"unknown member":  {replace(`"state": "down"`, `"state": "down", "share": 1`), "share"},
		"bad name":        {replace("green", "Green"), "DNS-1035"},
		"name twice":      {replace("green", "blue"), "twice"},
		"state twice":     {replace(`"state": "down"`, `"state": "down", "state": "ready"`), "twice"},
		"twice by case":   {replace(`"owner": "0b9f2c",`, `"owner": "0b9f2c", "Owner": "x",`), "twice"},
		"trailing text":   {sample + "{}", "after the document"},
		"too long":        {sample + strings.Repeat(" ", 70000), "at most"},
		"no servers":      {`{"version":1,"owner":"a","generation":1,"servers":{}}`, "0 servers"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := weights.Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("err = %v, want one that says %q", err, test.reason)
			}
			if diff := cmp.Diff(weights.Weights{}, got); diff != "" {
				t.Errorf("a refused text has a value: %s", diff)
			}
		})
	}
}

func TestNewer(t *testing.T) {
	current := weights.Weights{Owner: "a", Generation: 5}
	for _, test := range []struct {
		next weights.Weights
		want bool
	}{
		{weights.Weights{Owner: "a", Generation: 6}, true},
		{weights.Weights{Owner: "a", Generation: 5}, false},
		{weights.Weights{Owner: "a", Generation: 4}, false},
		{weights.Weights{Owner: "b", Generation: 1}, true},
	} {
		if got := test.next.Newer(current); got != test.want {
			t.Errorf("%+v newer than %+v: %v", test.next, current, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"version":1,"owner":"a","generation":1,"servers":{"a":{"state":"down"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := weights.Parse(text)
		if err != nil {
			return
		}
		formatted, err := weights.Format(w)
		if err != nil {
			t.Fatalf("parsed but cannot be formatted: %v", err)
		}
		again, err := weights.Parse(formatted)
		if err != nil {
			t.Fatalf("formatted but cannot be parsed: %v", err)
		}
		if diff := cmp.Diff(w, again); diff != "" {
			t.Fatalf("Parse∘Format (-before +after):\n%s", diff)
		}
	})
}
