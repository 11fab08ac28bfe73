package check_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
)

const (
	intact  = `{"verdict":"Intact","digest":"sha256:aa","bytes":5,"durationSeconds":1.5,"counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"findings":{}}`
	corrupt = `{"verdict":"Corrupt","message":"1 corrupt: FlippedZip 1","corrupt":1,"findings":{"FlippedZip":1},"examples":[{"class":"FlippedZip","cache":"module","path":"a.zip","detail":"d"}]}`
)

// TestVerdict holds that a verdict is taken only from an agent that ended by
// itself and does not contradict itself.
func TestVerdict(t *testing.T) {
	run := func(code int32, message, cause string) jobrun.Outcome {
		return jobrun.Outcome{Phase: jobrun.Ended, ExitCode: ptr.To(code), Message: message, Cause: cause}
	}
	for name, tt := range map[string]struct {
		run  jobrun.Outcome
		want integrity.Outcome
		text string
	}{
		"intact":                     {run(0, intact, ""), integrity.Intact, ""},
		"corrupt":                    {run(3, corrupt, ""), integrity.OutcomeCorrupt, "1 corrupt"},
		"corrupt, evicted meanwhile": {run(3, corrupt, "evicted"), integrity.Inconclusive, "evicted"},
		"no exit code":               {jobrun.Outcome{Phase: jobrun.Ended, Cause: "the pod is gone"}, integrity.Inconclusive, "the pod is gone"},
		"code and report disagree":   {run(3, intact, ""), integrity.Inconclusive, "exit code 3 and reported Intact"},
		"half a report":              {run(0, intact[:50], ""), integrity.Inconclusive, "left no report"},
	} {
		if v := check.Verdict(tt.run); v.Verdict != tt.want || !strings.Contains(v.Message, tt.text) {
			t.Errorf("%s: %s, %q; want %s, %q", name, v.Verdict, v.Message, tt.want, tt.text)
		}
	}
}

func TestStatus(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	v, err := integrity.ParseVerdict([]byte(corrupt))
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		v.Examples = append(v.Examples, integrity.Example{Path: strings.Repeat("é", 400)})
	}
	s := check.Status(v, "run", now)
	if s.Verdict != v1alpha1.VerdictCorrupt || s.Run != "run" || !s.CompletionTime.Time.Equal(now) || s.Findings["FlippedZip"] != 1 || s.Message == "" {
		t.Errorf("%+v", s)
	}
	if len(s.Examples) != 10 || s.Examples[0].Path != "module cache: a.zip" || len(s.Examples[9].Path) > 512 {
		t.Errorf("%d examples %+v", len(s.Examples), s.Examples[0])
	}
}
