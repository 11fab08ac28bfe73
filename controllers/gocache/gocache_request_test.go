package gocache

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	warmreport "gocache.dev/operator/internal/domain/warmup"
)

// answered checks the answer to the last request.
func (w *world) answered(text string, outcome v1alpha1.RequestOutcome, message string) {
	w.t.Helper()
	last := w.get().Status.LastHandledRequest
	if last == nil || last.Request != text || last.Outcome != outcome || !strings.Contains(last.Message, message) {
		w.t.Errorf("last request is %+v, want %s: %s, %q", last, text, outcome, message)
	}
}

// TestRequestWarmUp holds that a warm-up is made once per request, and that the
// answer says how it ended.
func TestRequestWarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	w.ending = nil
	w.request("warm-up#1")
	w.settle()
	w.answered("warm-up#1", v1alpha1.RequestAccepted, "")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "disk full"})
	w.settle()
	w.answered("warm-up#1", v1alpha1.RequestFailed, "disk full")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded})
	w.request("warm-up#2")
	w.settle()
	w.answered("warm-up#2", v1alpha1.RequestSucceeded, "")
	if len(w.warmUps) != 3 {
		t.Errorf("%d warm-ups, want 3", len(w.warmUps))
	}
}

// TestRequestSnapshot holds that a snapshot is made once per request, also
// without a policy.
func TestRequestSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(withoutSnapshots)
	w.settle()
	w.request("snapshot#monday")
	w.settle()
	names := w.names()
	if len(names) != 1 {
		t.Fatalf("snapshots %v, want one", names)
	}
	w.answered("snapshot#monday", v1alpha1.RequestSucceeded, names[0])
	w.request("snapshot#tuesday")
	w.settle()
	if got := w.names(); len(got) != 2 {
		t.Errorf("snapshots %v, want two", got)
	}
}

// TestRefusedRequests holds that whoever asks for what is not done is told why,
// once.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	w.said()
	long := strings.Repeat("é", 400)
	for text, why := range map[string]string{
		"migrate#1":                   "does not support the action migrate",
		"cleanup#1":                   "spec.cleanup sets no bounds",
		"approve-cleanup=sha256:aa#1": "no plan waits for approval",
		"warm-up":                     "is no request: want action#token",
		"":                            "is no request",
		long:                          "is no request",
	} {
		w.request(text)
		w.settle()
		w.answered(text[:min(len(text), pass.MaxRequest)], v1alpha1.RequestRefused, why)
		if said := w.said(); strings.Count(said, "RequestRefused") != 1 {
			t.Errorf("request %.20q: events %s", text, said)
		}
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestRequestThatCannotBegin holds that a request which nothing comes of is
// answered in time with the cause, and the next one is taken up.
func TestRequestThatCannotBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	w.cache(fromModules)
	w.settle()
	w.must(server.Client.Delete(t.Context(), get[corev1.ConfigMap](w, "modules")))
	w.request("warm-up#1")
	w.settle()
	w.wait(requestPatience - time.Minute)
	w.request("snapshot#2")
	w.settle()
	w.answered("warm-up#1", v1alpha1.RequestAccepted, "")
	w.wait(2 * time.Minute)
	w.answered("snapshot#2", v1alpha1.RequestSucceeded, "")
	if len(w.warmUps) != 1 {
		t.Errorf("%d warm-ups, want 1", len(w.warmUps))
	}
}
