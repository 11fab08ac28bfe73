package gocache

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
)

// TestRequestWarmUp holds that a warm-up is made once per request, and that the
// answer contains its outcome.
func TestRequestWarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	w.ending = nil
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestAccepted, "")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "disk full"})
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestFailed, "disk full")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded})
	w.request("warm-up-2", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm-up-2", v1alpha1.RequestSucceeded, "")
	if len(w.warmUps) != 3 {
		t.Errorf("%d warm-ups, want 3", len(w.warmUps))
	}
}

// TestReportOfABuild holds that a report of a build is answered while the cache works on
// another request, and that the cache never takes it up.
func TestReportOfABuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	report := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "a-report"}, Spec: v1alpha1.CacheRequestSpec{
		TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestReportBuild,
		Build: &v1alpha1.BuildReport{Hits: 9, Misses: 1},
	}}
	w.must(server.Client.Create(t.Context(), report))
	w.must(w.pass()) // before the controller of CacheRequests has seen it
	if got := w.get().Status.Request; got != nil {
		t.Errorf("the cache has taken up the report: %+v", got)
	}
	w.ending = nil
	w.request("warm-up", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm-up", v1alpha1.RequestAccepted, "")
	w.answered("a-report", v1alpha1.RequestSucceeded, "9 of 10 from the cache")
}

// TestRequestSnapshot holds that a snapshot is made once per request, also
// without a policy.
func TestRequestSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(withoutSnapshots)
	w.settle()
	w.request("snapshot-monday", v1alpha1.RequestSnapshot)
	w.settle()
	names := w.names()
	if len(names) != 1 {
		t.Fatalf("snapshots %v, want one", names)
	}
	w.answered("snapshot-monday", v1alpha1.RequestSucceeded, names[0])
	w.request("snapshot-tuesday", v1alpha1.RequestSnapshot)
	w.settle()
	if got := w.names(); len(got) != 2 {
		t.Errorf("snapshots %v, want two", got)
	}
}

// TestRefusedRequests asserts that a request which is not possible is refused,
// with the reason, once.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	for name, tt := range map[string]struct {
		action   v1alpha1.RequestAction
		argument string
		why      string
	}{
		"cleanup": {v1alpha1.RequestCleanup, "", "spec.cleanup sets no bounds"},
		"approve": {v1alpha1.RequestApproveCleanup, "sha256:aa", "no plan waits for approval"},
	} {
		w.request(name, tt.action, tt.argument)
		w.settle()
		w.answered(name, v1alpha1.RequestRefused, tt.why)
		if events := w.requests.Events(); len(events) != 1 || !strings.Contains(events[0], "RequestRefused") {
			t.Errorf("request %s: events %q", name, events)
		}
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if r := w.get().Status.Request; r != nil {
		t.Errorf("the cache still works on %+v", r)
	}
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
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.wait(requestTimeout - time.Minute)
	w.request("snapshot-2", v1alpha1.RequestSnapshot)
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestAccepted, "")
	w.answered("snapshot-2", v1alpha1.RequestWaiting, "waits for CacheRequest warm-up-1 (WarmUp)")
	w.wait(2 * time.Minute)
	w.answered("snapshot-2", v1alpha1.RequestSucceeded, "")
	if len(w.warmUps) != 1 {
		t.Errorf("%d warm-ups, want 1", len(w.warmUps))
	}
}
