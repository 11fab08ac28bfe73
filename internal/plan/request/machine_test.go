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
	cache = request.Kind{Name: "GoCache", Supports: []v1alpha1.RequestAction{v1alpha1.RequestWarmUp, v1alpha1.RequestRollback}}
	proxy = request.Kind{
		Name: "ModProxy", Supports: []v1alpha1.RequestAction{v1alpha1.RequestFailover, v1alpha1.RequestCheckIntegrity},
		Urgent: []v1alpha1.RequestAction{v1alpha1.RequestFailover},
	}
)

func works(name string, action v1alpha1.RequestAction, outcome v1alpha1.RequestOutcome) *v1alpha1.RequestStatus {
	return &v1alpha1.RequestStatus{Name: name, UID: "uid-of-" + name, Action: action, Outcome: outcome, Time: metav1.NewTime(start)}
}

// TestNext asserts that there is one request at a time, in order, and that the
// next one is taken only when the outcome of the last is where users read it.
func TestNext(t *testing.T) {
	one, two := made("one", 0, v1alpha1.RequestWarmUp), made("two", time.Second, v1alpha1.RequestRollback)
	check, move := made("check", 0, v1alpha1.RequestCheckIntegrity), made("move", time.Second, v1alpha1.RequestFailover)
	both, waiting := []*v1alpha1.CacheRequest{&one, &two}, []*v1alpha1.CacheRequest{&check, &move}
	for name, tt := range map[string]struct {
		kind        request.Kind
		waiting     []*v1alpha1.CacheRequest
		current     *v1alpha1.RequestStatus
		open, begun bool
		next        string
		free        bool
	}{
		"none":                                  {kind: cache, free: true},
		"the oldest":                            {kind: cache, waiting: both, next: "one", free: true},
		"while one is worked on":                {kind: cache, waiting: both, current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted), open: true},
		"answered, and not copied yet":          {kind: cache, waiting: both, current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestSucceeded), open: true},
		"refused, and not copied yet":           {kind: cache, waiting: both, current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestRefused), open: true},
		"answered and copied":                   {kind: cache, waiting: both[1:], current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestSucceeded), next: "two", free: true},
		"the caches show the copied one still":  {kind: cache, waiting: both, current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestSucceeded), next: "two", free: true},
		"withdrawn before it was begun":         {kind: cache, waiting: both[1:], current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted), next: "two", free: true},
		"withdrawn too late":                    {kind: cache, waiting: both[1:], current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted), begun: true},
		"an urgent one goes first":              {kind: proxy, waiting: waiting, next: "move", free: true},
		"an urgent one does not wait":           {kind: proxy, waiting: waiting, current: works("check", v1alpha1.RequestCheckIntegrity, v1alpha1.RequestAccepted), open: true, next: "move", free: true},
		"two urgent ones, in order":             {kind: proxy, waiting: waiting, current: works("other", v1alpha1.RequestFailover, v1alpha1.RequestAccepted), open: true},
		"an urgent one waits for a copy":        {kind: proxy, waiting: waiting, current: works("check", v1alpha1.RequestCheckIntegrity, v1alpha1.RequestFailed), open: true},
		"one that was put off is taken again":   {kind: proxy, waiting: waiting[:1], current: works("move", v1alpha1.RequestFailover, v1alpha1.RequestSucceeded), next: "check", free: true},
		"nothing urgent waits beside a check":   {kind: proxy, waiting: waiting[:1], current: works("check", v1alpha1.RequestCheckIntegrity, v1alpha1.RequestAccepted), open: true},
		"answered, copied, and nothing is next": {kind: cache, current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestFailed), free: true},
	} {
		next, free := tt.kind.Next(tt.waiting, tt.current, tt.open, tt.begun)
		got := ""
		if next != nil {
			got = next.Name
		}
		if got != tt.next || free != tt.free {
			t.Errorf("%s: next is %q, free %v; want %q, %v", name, got, free, tt.next, tt.free)
		}
	}
}

func TestAccept(t *testing.T) {
	for name, tt := range map[string]struct {
		action   v1alpha1.RequestAction
		refuses  string
		outcome  v1alpha1.RequestOutcome
		contains string
	}{
		"supported":             {v1alpha1.RequestWarmUp, "", v1alpha1.RequestAccepted, ""},
		"not possible now":      {v1alpha1.RequestRollback, "no such snapshot", v1alpha1.RequestRefused, "no such snapshot"},
		"of a later API":        {"Shrink", "", v1alpha1.RequestRefused, "it supports WarmUp and Rollback"},
		"of another kind alone": {v1alpha1.RequestFailover, "", v1alpha1.RequestRefused, "for a GoCache"},
	} {
		r := made("r", 0, tt.action)
		r.Spec.Argument = "x"
		got := cache.Accept(request.Of(&r), start, func(request.Request) string { return tt.refuses })
		if got.Outcome != tt.outcome || !strings.Contains(got.Message, tt.contains) || got.UID != "uid-of-r" || got.Name != "r" || got.Argument != "x" || !got.Time.Time.Equal(start) {
			t.Errorf("%s: %+v, want %s, %q", name, got, tt.outcome, tt.contains)
		}
	}
}

func TestOverdue(t *testing.T) {
	accepted := works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted)
	attempted := works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted)
	attempted.Message = "attempt 1"
	for name, tt := range map[string]struct {
		current *v1alpha1.RequestStatus
		timeout request.Timeout
		after   time.Duration
		want    v1alpha1.RequestOutcome
		message string
		wake    bool
	}{
		"none":                {},
		"answered":            {current: works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestSucceeded), after: time.Hour * 9},
		"in time":             {current: accepted, timeout: request.Timeout{Within: time.Hour}, after: time.Minute, wake: true},
		"begun":               {current: accepted, timeout: request.Timeout{Within: time.Hour, Begun: true}, after: 9 * time.Hour},
		"not begun":           {current: accepted, timeout: request.Timeout{Within: time.Hour, WaitsFor: ": it waited for x"}, after: time.Hour, want: v1alpha1.RequestFailed, message: "begun within 1h0m0s: it waited for x"},
		"no answer":           {current: accepted, timeout: request.Timeout{Within: time.Hour, Answer: true}, after: time.Hour, want: v1alpha1.RequestFailed, message: "no result within 1h0m0s"},
		"half an answer":      {current: attempted, timeout: request.Timeout{Within: time.Hour, Answer: true}, after: time.Hour, want: v1alpha1.RequestFailed, message: "attempt 1; no more came"},
		"accepted by another": {current: works("one", v1alpha1.RequestFailback, v1alpha1.RequestAccepted), after: time.Minute, want: v1alpha1.RequestRefused, message: "does not support the request"},
	} {
		got, wake := cache.Overdue(tt.current, start.Add(tt.after), func(request.Request) request.Timeout { return tt.timeout })
		switch {
		case wake.IsZero() == tt.wake:
			t.Errorf("%s: wakes at %v", name, wake)
		case got == nil && tt.want == "":
		case got == nil || got.Outcome != tt.want || !strings.Contains(got.Message, tt.message):
			t.Errorf("%s: %+v, want %s, %q", name, got, tt.want, tt.message)
		}
	}
}

func TestStanding(t *testing.T) {
	one, two := works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted), works("two", v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted)
	for name, tt := range map[string]struct {
		before, current    *v1alpha1.RequestStatus
		accepted, standing bool
	}{
		"none":            {},
		"answered":        {one, works("one", v1alpha1.RequestWarmUp, v1alpha1.RequestFailed), false, false},
		"not written yet": {nil, one, true, false},
		"another written": {two, one, true, false},
		"written":         {one, one, true, true},
	} {
		_, accepted := request.Accepted(tt.current)
		_, standing := request.Standing(tt.before, tt.current)
		if accepted != tt.accepted || standing != tt.standing {
			t.Errorf("%s: accepted %t, standing %t", name, accepted, standing)
		}
	}
}
