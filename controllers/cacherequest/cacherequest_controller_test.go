package cacherequest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/testing/faults"
	"gocache.dev/operator/internal/testing/kstatus"
)

// reports checks the condition Ready of a request, and what GitOps tools make of
// the object.
func (w *world) reports(name, reason, message string, health kstatus.Status) {
	w.t.Helper()
	q := w.get(name)
	ready := meta.FindStatusCondition(q.Status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil || ready.Reason != reason || !strings.Contains(ready.Message, message) || ready.ObservedGeneration != q.Generation {
		w.t.Errorf("request %s is %+v, want %s, %q", name, ready, reason, message)
	}
	kstatus.Want(w.t, server.Client, q, health, name)
}

// column checks the column OUTCOME of kubectl get.
func (w *world) column(name, want string) {
	w.t.Helper()
	if got := server.Columns(w.t, "cacherequests", w.namespace, name)["Outcome"]; got != want {
		w.t.Errorf("kubectl get shows request %s with OUTCOME %q, want %q", name, got, want)
	}
}

// TestOrder asserts that requests are worked on one at a time, in the order of
// their creation, each once, and that the others report what they wait for.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.request("a")
	w.request("b")
	w.pass()
	w.reports("a", v1alpha1.ReasonRequestWaiting, "to accept it", kstatus.InProgress)
	w.column("a", "Waiting")
	w.work()
	w.pass()
	w.column("a", "Accepted")
	w.column("b", "Waiting")
	w.reports("a", v1alpha1.ReasonRequestAccepted, "works on it", kstatus.InProgress)
	w.reports("b", v1alpha1.ReasonRequestWaiting, "waits for CacheRequest a (WarmUp)", kstatus.InProgress)
	if q := w.get("a"); q.Status.StartTime == nil || q.Status.CompletionTime != nil {
		t.Errorf("an accepted request has times %v and %v", q.Status.StartTime, q.Status.CompletionTime)
	}
	for range 6 {
		w.work()
		w.pass()
	}
	w.reports("a", v1alpha1.ReasonRequestSucceeded, "done", kstatus.Current)
	w.reports("b", v1alpha1.ReasonRequestSucceeded, "done", kstatus.Current)
	w.column("b", "Succeeded")
	if w.acts["a"] != 1 || w.acts["b"] != 1 {
		t.Errorf("acted on requests %v, want once on each", w.acts)
	}
	if len(w.events.Events) != 2 || !strings.Contains(<-w.events.Events, "Normal RequestSucceeded WarmUp of GoCache ci succeeded") {
		t.Error("want one event for each finished request")
	}
}

// TestNoTarget asserts that a request for an object that does not exist, or not
// any more, is finished, and is not acted on when one of that name is created.
func TestNoTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.request("early")
	w.pass()
	w.reports("early", v1alpha1.ReasonTargetNotFound, "GoCache ci does not exist", kstatus.Failed)
	cache := w.cache()
	w.request("late")
	w.pass()
	w.must(server.Client.Delete(t.Context(), cache))
	w.cache()
	for range 4 {
		w.work()
		w.pass()
	}
	w.reports("late", v1alpha1.ReasonTargetNotFound, "deleted and created again", kstatus.Failed)
	if len(w.acts) > 0 {
		t.Errorf("acted on %v for another object", w.acts)
	}
}

// TestExpiry asserts that a finished request is deleted when its time to live
// has passed, and no other.
func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.request("day")
	w.request("none", func(s *v1alpha1.CacheRequestSpec) { s.TTLAfterFinished = &metav1.Duration{} })
	w.pass()
	if w.get("none") != nil {
		t.Error("a request without time to live is kept")
	}
	w.pass()
	if w.last.RequeueAfter < 23*time.Hour || w.last.RequeueAfter > 24*time.Hour {
		t.Errorf("looks at it again after %s, want a day", w.last.RequeueAfter)
	}
	w.now = w.now.Add(23 * time.Hour)
	w.pass()
	if w.get("day") == nil {
		t.Fatal("deleted within its time to live")
	}
	w.now = w.now.Add(time.Hour)
	w.pass()
	if w.get("day") != nil {
		t.Error("kept longer than its time to live")
	}
	w.cache()
	w.request("waits")
	w.now = w.now.Add(1000 * time.Hour)
	w.pass()
	if w.get("waits") == nil {
		t.Error("a request was deleted that is not finished")
	}
}

// TestWithdrawn asserts that a request that is deleted before it was begun is
// not acted on, and does not delay the next.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.request("a")
	w.request("b")
	w.work()
	w.must(server.Client.Delete(t.Context(), w.get("a")))
	for range 4 {
		w.work()
		w.pass()
	}
	w.reports("b", v1alpha1.ReasonRequestSucceeded, "done", kstatus.Current)
	if w.acts["a"] != 0 {
		t.Errorf("acted on a request that was withdrawn: %v", w.acts)
	}
}

// TestReports asserts that reports of builds are answered at once, also while the cache
// is suspended and works on another request, and that one with a build that the cache
// does not make is refused with those that it makes.
func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cache := w.cache()
	w.request("a")
	w.work()
	w.pass()
	cache.Spec.Suspend = true
	w.must(server.Client.Patch(t.Context(), cache, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":true}}`))))
	report := func(build string) func(*v1alpha1.CacheRequestSpec) {
		return func(s *v1alpha1.CacheRequestSpec) {
			s.Action, s.Build = v1alpha1.RequestReportBuild, &v1alpha1.BuildReport{Name: build, Hits: 41, Misses: 1}
		}
	}
	w.request("build", report("default"))
	w.request("unnamed", report(""))
	w.request("unknown", report("tset"))
	w.pass()
	w.reports("build", v1alpha1.ReasonRequestSucceeded, "41 of 42 from the cache", kstatus.Current)
	w.reports("unnamed", v1alpha1.ReasonRequestSucceeded, "41 of 42 from the cache", kstatus.Current)
	w.reports("unknown", v1alpha1.ReasonRequestRefused, "has no build tset: report one of default", kstatus.Failed)
	if q := w.get("build"); q.Status.TargetUID != string(cache.UID) {
		t.Errorf("the report is for the object %q, want %q", q.Status.TargetUID, cache.UID)
	}
}

// TestManyReports asserts that those who may only report do not fill the API server: the
// newest reports are kept, a day at most, and requests of other actions beside them.
func TestManyReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.events = events.NewFakeRecorder(1000) // one is recorded for each
	w.restart(faults.Point{})
	w.cache()
	w.request("warm-up")
	w.work()
	w.work()
	w.pass()
	report := func(build string) func(*v1alpha1.CacheRequestSpec) {
		return func(s *v1alpha1.CacheRequestSpec) {
			s.Action, s.Build = v1alpha1.RequestReportBuild, &v1alpha1.BuildReport{Name: build, Hits: 41, Misses: 1}
		}
	}
	w.request("accepted", report(""))
	for i := range request.MaxUnacceptedReports + 3 {
		w.request(fmt.Sprintf("refused-%03d", i), report("tset"))
	}
	w.pass()
	var all v1alpha1.CacheRequestList
	w.must(server.Client.List(t.Context(), &all, client.InNamespace(w.namespace)))
	if len(all.Items) != request.MaxUnacceptedReports+2 {
		t.Errorf("%d requests are left, want %d", len(all.Items), request.MaxUnacceptedReports+2)
	}
	newest := fmt.Sprintf("refused-%03d", request.MaxUnacceptedReports+2)
	for name, kept := range map[string]bool{"warm-up": true, "accepted": true, newest: true, "refused-003": true, "refused-002": false, "refused-000": false} {
		if got := w.get(name) != nil; got != kept {
			t.Errorf("%s is kept: %t", name, got)
		}
	}
	w.now = w.now.Add(request.MaxReportTTL)
	w.pass()
	w.must(server.Client.List(t.Context(), &all, client.InNamespace(w.namespace)))
	if len(all.Items) != 0 {
		t.Errorf("%d requests are left after a day", len(all.Items))
	}
}
