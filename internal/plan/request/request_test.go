package request_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
)

var (
	start  = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	target = v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}
)

// made is a CacheRequest for the target that was created some time after start.
func made(name string, after time.Duration, action v1alpha1.RequestAction) v1alpha1.CacheRequest {
	return v1alpha1.CacheRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID("uid-of-" + name), CreationTimestamp: metav1.NewTime(start.Add(after))},
		Spec:       v1alpha1.CacheRequestSpec{TargetRef: target, Action: action},
	}
}

// TestWaiting asserts the order of requests, and which are not for the object.
func TestWaiting(t *testing.T) {
	foreign, finished, deleted, former := made("foreign", 0, "WarmUp"), made("finished", 0, "WarmUp"), made("deleted", 0, "WarmUp"), made("former", 0, "WarmUp")
	foreign.Spec.TargetRef.Kind = v1alpha1.ModProxyKind
	finished.Status.CompletionTime = &metav1.Time{Time: start}
	deleted.DeletionTimestamp = &metav1.Time{Time: start}
	former.Status.TargetUID = "of another object of this name"
	seen := made("z-first", 0, "WarmUp")
	seen.Status.TargetUID = "u"
	all := []v1alpha1.CacheRequest{foreign, made("last", time.Minute, "WarmUp"), finished, made("b", time.Second, "WarmUp"), deleted, made("a", time.Second, "WarmUp"), former, seen}
	var names []string
	for _, r := range request.Waiting(all, target, "u") {
		names = append(names, r.Name)
	}
	if want := []string{"z-first", "a", "b", "last"}; !slices.Equal(names, want) {
		t.Errorf("waiting are %v, want %v", names, want)
	}
}

// TestCause asserts that a cause is distinct for each request, and fits where
// it is recorded.
func TestCause(t *testing.T) {
	longest := request.Request{Name: strings.Repeat("a", 63), UID: strings.Repeat("u", 36), Action: v1alpha1.RequestCheckIntegrity}
	if got := longest.Cause(); len(got) > 128 {
		t.Errorf("a cause of %d bytes", len(got))
	}
	one, two := made("a", 0, v1alpha1.RequestReportFailure), made("a", 0, v1alpha1.RequestReportFailure)
	two.UID = "another"
	if request.Of(&one).Cause() == request.Of(&two).Cause() {
		t.Error("two requests of one name have one cause")
	}
	if cause := request.Of(&one).Cause(); !request.CausedBy(cause, v1alpha1.RequestReportFailure) || request.CausedBy(cause, "Report") {
		t.Errorf("cause %q is attributed to another action", cause)
	}
}

// TestFollow asserts what a request reports, by what its target is and does.
func TestFollow(t *testing.T) {
	works := func(uid string, outcome v1alpha1.RequestOutcome, message string) *v1alpha1.RequestStatus {
		return &v1alpha1.RequestStatus{Name: "other", UID: uid, Action: v1alpha1.RequestWarmUp, Outcome: outcome, Message: message}
	}
	for name, tt := range map[string]struct {
		seen    string
		target  request.Target
		reason  string
		outcome v1alpha1.RequestOutcome
		message string
	}{
		"no target":                               {"", request.Target{}, v1alpha1.ReasonTargetNotFound, v1alpha1.RequestFailed, "GoCache ci does not exist in namespace n"},
		"a target that was deleted":               {"u", request.Target{}, v1alpha1.ReasonTargetNotFound, v1alpha1.RequestFailed, "was deleted"},
		"another target of its name":              {"u", request.Target{UID: "v"}, v1alpha1.ReasonTargetNotFound, v1alpha1.RequestFailed, "created again"},
		"not looked at yet":                       {"", request.Target{UID: "u"}, v1alpha1.ReasonRequestWaiting, v1alpha1.RequestWaiting, "to accept it"},
		"suspended":                               {"u", request.Target{UID: "u", Suspended: true}, v1alpha1.ReasonSuspended, v1alpha1.RequestWaiting, "suspended"},
		"another before it":                       {"u", request.Target{UID: "u", Request: works("x", v1alpha1.RequestAccepted, "")}, v1alpha1.ReasonRequestWaiting, v1alpha1.RequestWaiting, "CacheRequest other (WarmUp)"},
		"accepted":                                {"u", request.Target{UID: "u", Request: works("uid-of-r", v1alpha1.RequestAccepted, "attempt 1")}, v1alpha1.ReasonRequestAccepted, v1alpha1.RequestAccepted, "attempt 1"},
		"accepted, and then suspended":            {"u", request.Target{UID: "u", Suspended: true, Request: works("uid-of-r", v1alpha1.RequestAccepted, "")}, v1alpha1.ReasonRequestAccepted, v1alpha1.RequestAccepted, ""},
		"succeeded":                               {"u", request.Target{UID: "u", Request: works("uid-of-r", v1alpha1.RequestSucceeded, "Intact")}, v1alpha1.ReasonRequestSucceeded, v1alpha1.RequestSucceeded, "Intact"},
		"failed":                                  {"u", request.Target{UID: "u", Request: works("uid-of-r", v1alpha1.RequestFailed, "no")}, v1alpha1.ReasonRequestFailed, v1alpha1.RequestFailed, "no"},
		"answered by another check":               {"u", request.Target{UID: "u", Request: works("x", v1alpha1.RequestAccepted, ""), Answer: &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: "Intact"}}, v1alpha1.ReasonRequestSucceeded, v1alpha1.RequestSucceeded, "Intact"},
		"answered, and suspended":                 {"u", request.Target{UID: "u", Suspended: true, Answer: &request.Answer{Outcome: v1alpha1.RequestFailed, Message: "doubt"}}, v1alpha1.ReasonRequestFailed, v1alpha1.RequestFailed, "doubt"},
		"accepted, and answered by another check": {"u", request.Target{UID: "u", Request: works("uid-of-r", v1alpha1.RequestAccepted, ""), Answer: &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: "Intact"}}, v1alpha1.ReasonRequestSucceeded, v1alpha1.RequestSucceeded, "Intact"},
		"finished by the object first":            {"u", request.Target{UID: "u", Request: works("uid-of-r", v1alpha1.RequestFailed, "no"), Answer: &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: "Intact"}}, v1alpha1.ReasonRequestFailed, v1alpha1.RequestFailed, "no"},
		"refused":                                 {"", request.Target{UID: "u", Request: works("uid-of-r", v1alpha1.RequestRefused, "no")}, v1alpha1.ReasonRequestRefused, v1alpha1.RequestRefused, "no"},
	} {
		r := made("r", 0, v1alpha1.RequestWarmUp)
		r.Status.TargetUID = tt.seen
		p := request.Follow(&r, tt.target)
		if p.Reason != tt.reason || p.Outcome != tt.outcome || !strings.Contains(p.Message, tt.message) {
			t.Errorf("%s: %+v, want %s, %q, %q", name, p, tt.reason, tt.outcome, tt.message)
		}
		if final := tt.outcome != v1alpha1.RequestWaiting && tt.outcome != v1alpha1.RequestAccepted; p.Final() != final {
			t.Errorf("%s: final is %v", name, p.Final())
		}
	}
}

func TestExpires(t *testing.T) {
	r := made("r", 0, v1alpha1.RequestWarmUp)
	r.Status.CompletionTime = &metav1.Time{Time: start}
	if got := request.Expires(&r); !got.Equal(start.Add(24 * time.Hour)) {
		t.Errorf("by default it expires at %v", got)
	}
	r.Spec.TTLAfterFinished = &metav1.Duration{}
	if got := request.Expires(&r); !got.Equal(start) {
		t.Errorf("without time to live it expires at %v", got)
	}
}
