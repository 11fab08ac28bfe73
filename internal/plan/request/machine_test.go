package request_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
)

var (
	start      = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	persistent = request.Kind{Name: "GoCache", Supports: []request.Form{{Action: request.WarmUp}, {Action: request.Rollback}}}
	hasty      = request.Kind{Name: "ModProxy", Supersedes: true, Supports: []request.Form{{Action: request.Failover, Written: []string{"failover=INSTANCE"}}}}
	ignorant   = request.Kind{Name: "CacheSnapshot"}
)

func status(text string, outcome v1alpha1.RequestOutcome) *v1alpha1.RequestStatus {
	return &v1alpha1.RequestStatus{Request: text, Outcome: outcome, Time: metav1.NewTime(start)}
}

func TestTake(t *testing.T) {
	for name, tt := range map[string]struct {
		kind    request.Kind
		text    string
		absent  bool
		last    *v1alpha1.RequestStatus
		refuses string
		want    v1alpha1.RequestOutcome
		message string
	}{
		"no annotation":                    {kind: persistent, absent: true},
		"the first":                        {kind: persistent, text: "warm-up#1", want: v1alpha1.RequestAccepted},
		"handled before":                   {kind: persistent, text: "warm-up#1", last: status("warm-up#1", v1alpha1.RequestSucceeded)},
		"refused before":                   {kind: persistent, text: "nonsense", last: status("nonsense", v1alpha1.RequestRefused)},
		"after another was answered":       {kind: persistent, text: "warm-up#2", last: status("warm-up#1", v1alpha1.RequestFailed), want: v1alpha1.RequestAccepted},
		"while another waits":              {kind: persistent, text: "warm-up#2", last: status("warm-up#1", v1alpha1.RequestAccepted)},
		"in the place of one that waits":   {kind: hasty, text: "failover=b#2", last: status("failover=a#1", v1alpha1.RequestAccepted), want: v1alpha1.RequestAccepted},
		"the same that waits":              {kind: hasty, text: "failover=a#1", last: status("failover=a#1", v1alpha1.RequestAccepted)},
		"no request at all":                {kind: persistent, text: "warm up please", want: v1alpha1.RequestRefused, message: "is no request"},
		"unknown action":                   {kind: persistent, text: "failback#1", want: v1alpha1.RequestRefused, message: "for a GoCache: it supports warm-up and rollback"},
		"one known action":                 {kind: hasty, text: "failback#1", want: v1alpha1.RequestRefused, message: "it supports failover=INSTANCE"},
		"of a kind that knows none":        {kind: ignorant, text: "warm-up#1", want: v1alpha1.RequestRefused, message: "no request for a CacheSnapshot"},
		"that the kind refuses":            {kind: persistent, text: "rollback=x#1", refuses: "no such snapshot", want: v1alpha1.RequestRefused, message: "no such snapshot"},
		"an empty one":                     {kind: persistent, text: "", want: v1alpha1.RequestRefused, message: "is no request"},
		"nonsense while another waits":     {kind: persistent, text: "?", last: status("warm-up#1", v1alpha1.RequestAccepted)},
		"nonsense in the place of another": {kind: hasty, text: "?", last: status("failover=a#1", v1alpha1.RequestAccepted), want: v1alpha1.RequestRefused, message: "is no request"},
	} {
		got := tt.kind.Take(tt.text, !tt.absent, tt.last, func(request.Request) string { return tt.refuses })
		switch {
		case got == nil && tt.want == "":
		case got == nil || got.Outcome != tt.want || got.Text != tt.text || !strings.Contains(got.Message, tt.message):
			t.Errorf("%s: %+v, want %s, %q", name, got, tt.want, tt.message)
		}
	}
}

func TestOverdue(t *testing.T) {
	accepted := func(text, message string) *v1alpha1.RequestStatus {
		s := status(text, v1alpha1.RequestAccepted)
		s.Message = message
		return s
	}
	for name, tt := range map[string]struct {
		last    *v1alpha1.RequestStatus
		timeout request.Timeout
		after   time.Duration
		want    v1alpha1.RequestOutcome
		message string
		wake    bool
	}{
		"none":                    {},
		"answered":                {last: status("warm-up#1", v1alpha1.RequestSucceeded), after: time.Hour * 9},
		"in time":                 {last: accepted("warm-up#1", ""), timeout: request.Timeout{Within: time.Hour}, after: time.Minute, wake: true},
		"begun":                   {last: accepted("warm-up#1", ""), timeout: request.Timeout{Within: time.Hour, Begun: true}, after: 9 * time.Hour},
		"not begun":               {last: accepted("warm-up#1", ""), timeout: request.Timeout{Within: time.Hour, WaitsFor: ": it waited for x"}, after: time.Hour, want: v1alpha1.RequestFailed, message: "begun within 1h0m0s: it waited for x"},
		"no answer":               {last: accepted("warm-up#1", ""), timeout: request.Timeout{Within: time.Hour, Answer: true}, after: time.Hour, want: v1alpha1.RequestFailed, message: "no result within 1h0m0s"},
		"half an answer":          {last: accepted("warm-up#1", "attempt 1"), timeout: request.Timeout{Within: time.Hour, Answer: true}, after: time.Hour, want: v1alpha1.RequestFailed, message: "attempt 1; no more came"},
		"accepted by another":     {last: accepted("failback#1", ""), after: time.Minute, want: v1alpha1.RequestRefused, message: "does not support the request"},
		"accepted and no request": {last: accepted("?", ""), after: time.Minute, want: v1alpha1.RequestRefused, message: "it supports warm-up and rollback"},
	} {
		got, wake := persistent.Overdue(tt.last, start.Add(tt.after), func(request.Request) request.Timeout { return tt.timeout })
		switch {
		case wake.IsZero() == tt.wake:
			t.Errorf("%s: wakes at %v", name, wake)
		case got == nil && tt.want == "":
		case got == nil || got.Outcome != tt.want || got.Text != tt.last.Request || !strings.Contains(got.Message, tt.message):
			t.Errorf("%s: %+v, want %s, %q", name, got, tt.want, tt.message)
		}
	}
}

func TestStanding(t *testing.T) {
	one, two := status("warm-up#1", v1alpha1.RequestAccepted), status("warm-up#2", v1alpha1.RequestAccepted)
	for name, tt := range map[string]struct {
		before, last       *v1alpha1.RequestStatus
		accepted, standing bool
	}{
		"none":            {},
		"answered":        {one, status("warm-up#1", v1alpha1.RequestFailed), false, false},
		"not written yet": {nil, one, true, false},
		"another written": {two, one, true, false},
		"written":         {one, one, true, true},
		"no request":      {status("?", v1alpha1.RequestAccepted), status("?", v1alpha1.RequestAccepted), false, false},
	} {
		_, accepted := request.Accepted(tt.last)
		_, standing := request.Standing(tt.before, tt.last)
		if accepted != tt.accepted || standing != tt.standing {
			t.Errorf("%s: accepted %t, standing %t", name, accepted, standing)
		}
	}
}
