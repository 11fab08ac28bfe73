package gocache

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/writer"
	report "gocache.dev/operator/internal/domain/cleanup"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/webhook"
	"gocache.dev/operator/internal/testing/cluster"
)

// cleaner plays the agent that cleans.
type cleaner struct {
	// garbage is what would go; empty: nothing.
	garbage string
	// paused names a check that does not pass.
	paused string
	// unproven: builds had to compile after it was applied.
	unproven bool
	// over is by how much the bound cannot be reached.
	over int64
	// ending in place of a report; hang: it goes on.
	ending *cluster.Ending
	hang   bool

	ended map[types.UID]*cluster.Ending
}

func digestOf(garbage string) string { return "sha256:" + garbage }

// end is how a Job ends, and ends it once.
func (c *cleaner) end(job *batchv1.Job) *cluster.Ending {
	if c.hang {
		return nil
	}
	if e := c.ended[job.UID]; e != nil {
		return e
	}
	if c.ended == nil {
		c.ended = map[types.UID]*cluster.Ending{}
	}
	e := c.ending
	if e == nil {
		e = c.report(job.Annotations[v1alpha1.PlanAnnotation])
	}
	c.ended[job.UID] = e
	return e
}

func (c *cleaner) report(approved string) *cluster.Ending {
	used := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := report.Report{
		Outcome: report.Planned, UsedBytes: 90 << 20, CapacityBytes: 1 << 30, AvailableBytes: 900 << 20,
		Preflight: []report.Check{{Name: report.Ownership, Result: report.Pass}, {Name: report.Index, Result: report.Pass}, {Name: report.Reuse, Result: report.Pass}},
		Plan:      &report.Plan{Digest: digestOf(c.garbage), AsOf: used.AddDate(0, 6, 0), OverBytes: c.over},
	}
	if c.garbage != "" {
		r.Plan.Entries, r.Plan.Bytes = 12, 10<<20
		r.Plan.Build = &report.Layer{Entries: 12, Outputs: 9, Bytes: 10 << 20, BeforeBytes: 100 << 20, Oldest: &used, Newest: &used}
	}
	exit := 0
	switch {
	case c.paused != "":
		r.Preflight[2] = report.Check{Name: c.paused, Result: report.Fail, Message: "the cache is cold"}
		r.Outcome, r.Message, r.Plan, exit = report.Paused, c.paused+": the cache is cold", nil, 1
	case approved == "":
	case approved != r.Plan.Digest:
		r.Outcome, r.Message, exit = report.Changed, "the plan is another", 1
	default:
		r.Outcome, r.RemovedEntries, r.FreedBytes, r.Proof = report.Applied, 21, r.Plan.Bytes, &report.Proof{Result: report.Pass}
		r.Modules, r.BuildEntries, r.ManifestDigest = 3, 5, "sha256:after"
		if c.unproven {
			r.Proof = &report.Proof{Result: report.Fail, Compiled: 4, Message: "4 packages were compiled"}
		}
		c.garbage = ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return &cluster.Ending{Exit: int32(exit), Message: string(text)}
}

// listener receives the calls of webhooks.
type listener struct {
	calls []webhook.Call
	deaf  bool // it receives nothing
	slow  bool // its answer never arrives
}

// Notify is received at once.
func (l *listener) Notify(c webhook.Call) (bool, error) {
	l.calls = append(l.calls, c)
	if l.slow {
		return false, nil
	}
	if l.deaf {
		return true, errors.New("the answer is 503 Service Unavailable")
	}
	return true, nil
}

// bounded10Gi bounds a cache, on request.
func bounded10Gi(approval v1alpha1.Approval) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) {
		size := resource.MustParse("10Gi")
		s.Cleanup = &v1alpha1.Cleanup{
			MaxSize: &size, MaxAge: &metav1.Duration{Duration: 48 * time.Hour}, Approval: approval,
			Webhook: &v1alpha1.Webhook{URL: "https://chat.example.com/hook"},
		}
	}
}

func every(schedule string) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) {
		bounded10Gi(v1alpha1.ApprovalAutomatic)(s)
		s.Cleanup.Schedule = v1alpha1.Schedule{Schedule: schedule}
	}
}

func (w *world) clean(status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	w.condition(v1alpha1.CleanCondition, status, reason, message)
}

// TestScheduledCleanup follows a cleanup without approval: the plan is made when
// it is due and is applied at once. It also holds the commands of the Jobs.
func TestScheduledCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner.garbage = "one"
	w.cache(every("@every 1h"))
	w.settle()
	w.clean(metav1.ConditionUnknown, v1alpha1.ReasonWaiting, "No plan was made yet")
	if len(w.cleanups) > 0 {
		t.Fatal("cleaned before its time")
	}

	w.cleaner.hang = true
	w.wait(61 * time.Minute)
	job := get[batchv1.Job](w, "ci-writer")
	container := job.Spec.Template.Spec.Containers[0]
	const command = "/tools/gocache-agent cleanup --json --termination-log /dev/termination-log --root /gocache" +
		" --modcache /gocache/mod --buildcache /gocache/build --max-size 10737418240 --max-age 48h0m0s"
	if got := strings.Join(container.Command, " "); got != command || container.Image != "go:1.26.8" || container.VolumeMounts[0].ReadOnly {
		t.Errorf("command %s\nin %s, claim mounted %+v", got, container.Image, container.VolumeMounts[0])
	}
	w.cleaner.hang = false
	w.newEvents()
	w.settle()
	w.clean(metav1.ConditionTrue, v1alpha1.ReasonWithinBounds, "the last plan that was applied removed 10.0 MiB")
	c := w.get()
	status := c.Status.Cleanup
	if len(w.cleanups) != 2 || status.Freed.String() != "10Mi" || status.Removed != 21 || status.LastPlan.Open || len(status.Preflight) != 3 {
		t.Errorf("%d runs: %+v", len(w.cleanups), status)
	}
	if c.Status.Counts.BuildEntries != 5 || c.Status.ManifestDigest != "sha256:after" || c.Status.Storage.Used.String() != "90Mi" {
		t.Errorf("left: %+v, %s, %s", c.Status.Counts, c.Status.ManifestDigest, c.Status.Storage.Used)
	}
	events := w.newEvents()
	for _, want := range []string{"CleanupPlanned Planned to remove 12 entries, 10.0 MiB: sha256:one", "Cleaned Removed 21 entries"} {
		if !strings.Contains(events, want) {
			t.Errorf("events lack %q:\n%s", want, events)
		}
	}
	if len(w.listener.calls) > 0 || len(w.warmUps) != 1 {
		t.Errorf("%d calls and %d warm-ups, though no plan waited and the cache is warm", len(w.listener.calls), len(w.warmUps))
	}
	w.wait(61 * time.Minute)
	if status := w.get().Status.Cleanup; len(w.cleanups) != 3 || status.LastPlan.Entries != 0 || status.LastPlan.Open {
		t.Errorf("%d runs, want one more that finds nothing: %+v", len(w.cleanups), status.LastPlan)
	}
	w.clean(metav1.ConditionTrue, v1alpha1.ReasonWithinBounds, "Within the bounds")
}

// TestApproval holds that a plan waits for exactly its own approval, that the
// webhook is notified of it once, and that the Job applies that plan.
func TestApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner.garbage = "one"
	w.cache(bounded10Gi(v1alpha1.ApprovalRequired))
	w.settle()
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	w.answered("cleanup-1", v1alpha1.RequestSucceeded, "the plan sha256:one, of 12 entries and 10.0 MiB, waits for approval")
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonApprovalRequired, "create a CacheRequest with action ApproveCleanup and argument sha256:one")
	w.wait(100 * time.Hour)
	if len(w.cleanups) != 1 || len(w.listener.calls) != 1 {
		t.Fatalf("%d runs and %d calls, want one plan that waits and is told once", len(w.cleanups), len(w.listener.calls))
	}
	call := w.listener.calls[0]
	var notice writer.Notice
	w.must(json.Unmarshal(call.Body, &notice))
	if call.Key != "sha256:one 2026-07-01T00:00:00Z" || call.Timeout != 10*time.Second || notice.Name != "ci" || notice.Plan.Bytes != 10<<20 || notice.Approve.Action != v1alpha1.RequestApproveCleanup || notice.Approve.Argument != "sha256:one" || notice.Approve.TargetRef.Name != "ci" {
		t.Errorf("told %+v: %s", call, call.Body)
	}

	w.request("approve-cleanup-2", v1alpha1.RequestApproveCleanup, "sha256:other")
	w.settle()
	w.answered("approve-cleanup-2", v1alpha1.RequestRefused, `the plan that waits is sha256:one, not "sha256:other"`)
	w.cleaner.hang = true
	w.request("approve-cleanup-3", v1alpha1.RequestApproveCleanup, "sha256:one")
	w.settle()
	job := get[batchv1.Job](w, "ci-writer")
	if got := strings.Join(job.Spec.Template.Spec.Containers[0].Command, " "); !strings.HasSuffix(got, " --apply sha256:one --as-of 2026-07-01T00:00:00Z") {
		t.Errorf("command %s", got)
	}
	w.cleaner.hang = false
	w.settle()
	w.answered("approve-cleanup-3", v1alpha1.RequestSucceeded, "freed 10.0 MiB")
	w.clean(metav1.ConditionTrue, v1alpha1.ReasonWithinBounds, "10.0 MiB")
	w.request("approve-cleanup-4", v1alpha1.RequestApproveCleanup, "sha256:one")
	w.settle()
	w.answered("approve-cleanup-4", v1alpha1.RequestRefused, "does not wait")
}

// TestPlanChangedSinceApproval holds that nothing goes that was not approved:
// the plan that took its place waits in turn.
func TestPlanChangedSinceApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner.garbage = "one"
	w.cache(bounded10Gi(v1alpha1.ApprovalRequired))
	w.settle()
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	w.cleaner.garbage = "two"
	w.request("approve-cleanup-2", v1alpha1.RequestApproveCleanup, "sha256:one")
	w.settle()
	w.answered("approve-cleanup-2", v1alpha1.RequestFailed, "nothing was removed; now the plan sha256:two")
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonApprovalRequired, "sha256:two")
	if w.cleaner.garbage != "two" || len(w.listener.calls) != 2 {
		t.Errorf("%q is left, %d calls; want it untouched and told", w.cleaner.garbage, len(w.listener.calls))
	}
	// Other bounds make another plan at once.
	w.cleaner.garbage = "three"
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Cleanup.MaxAge.Duration = time.Hour })
	w.settle()
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonApprovalRequired, "sha256:three")
}

// TestPausedCleanup holds that a check that does not pass is reported with its
// name and cause, and is made again after the next warm-up.
func TestPausedCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner = cleaner{garbage: "one", paused: report.Reuse}
	w.cache(bounded10Gi(v1alpha1.ApprovalAutomatic))
	w.settle()
	w.newEvents()
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	w.answered("cleanup-1", v1alpha1.RequestFailed, "the check reuse did not pass: the cache is cold")
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonCleanupPaused, "Cleanup is paused: the check reuse did not pass: the cache is cold")
	if events := w.newEvents(); !strings.Contains(events, "Warning CleanupPaused Paused cleanup because of the check reuse: the cache is cold") {
		t.Errorf("events:\n%s", events)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.wait(100 * time.Hour)
	if len(w.cleanups) != 1 {
		t.Errorf("%d runs while it is paused", len(w.cleanups))
	}
	w.cleaner.paused = ""
	w.request("warm-up-2", v1alpha1.RequestWarmUp)
	w.settle()
	w.clean(metav1.ConditionTrue, v1alpha1.ReasonWithinBounds, "10.0 MiB")
}

// TestUnprovenCleanup holds that a cache that was not proven warm is warmed.
func TestUnprovenCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner = cleaner{garbage: "one", unproven: true}
	w.cache(bounded10Gi(v1alpha1.ApprovalAutomatic))
	w.settle()
	w.ending = nil
	w.newEvents()
	w.wait(time.Minute)
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	w.answered("cleanup-1", v1alpha1.RequestSucceeded, "not proven warm, so a warm-up is due: 4 packages were compiled")
	w.clean(metav1.ConditionTrue, v1alpha1.ReasonWithinBounds, "not proven warm")
	events := w.newEvents()
	for _, want := range []string{"Warning NotProvenWarm", "WarmUpStarted Started a warm-up: a cleanup found the cache not warm"} {
		if !strings.Contains(events, want) {
			t.Errorf("events lack %q:\n%s", want, events)
		}
	}
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7})
	w.wait(time.Minute)
	w.wait(time.Minute)
	if len(w.warmUps) != 2 {
		t.Errorf("%d warm-ups, want one more", len(w.warmUps))
	}
}

// TestFailingCleanup holds that a run that fails or is disrupted is repeated
// with growing pauses, and that a bound which cannot be reached is reported.
func TestFailingCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner = cleaner{over: 5 << 20, ending: &cluster.Ending{Evicted: true}}
	w.cache(bounded10Gi(v1alpha1.ApprovalAutomatic))
	w.settle()
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	w.answered("cleanup-1", v1alpha1.RequestFailed, "disrupted")
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonCleanupFailed, "(1 in a row)")
	w.wait(50 * time.Second)
	if len(w.cleanups) != 1 {
		t.Error("tried again without a pause")
	}
	w.cleaner.ending = &cluster.Ending{Exit: 1, Message: `{"outcome":"Failed","message":"the disk is full"}`}
	w.wait(11 * time.Second)
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonCleanupFailed, "(2 in a row): the disk is full")
	w.cleaner.ending = nil
	w.wait(121 * time.Second)
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonBoundUnreachable, "exceeds spec.cleanup.maxSize by 5.0 MiB")
}

// TestDeafWebhook holds that a webhook which does not answer is called again
// with growing pauses, that this is reported, and that the plan can be approved.
func TestDeafWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner.garbage, w.listener.deaf = "one", true
	w.cache(bounded10Gi(v1alpha1.ApprovalRequired))
	w.settle()
	w.newEvents()
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	w.clean(metav1.ConditionFalse, v1alpha1.ReasonApprovalRequired, "the webhook was not notified (1 calls): the answer is 503")
	if events := w.newEvents(); !strings.Contains(events, "Warning WebhookFailed The webhook was not notified of the plan sha256:one (1 calls)") {
		t.Errorf("events:\n%s", events)
	}
	w.wait(50 * time.Second)
	if len(w.listener.calls) != 1 {
		t.Errorf("%d calls without a pause", len(w.listener.calls))
	}
	w.wait(11 * time.Second)
	w.listener.deaf = false
	w.wait(121 * time.Second)
	w.wait(time.Hour)
	if len(w.listener.calls) != 3 || w.get().Status.Cleanup.Webhook.DeliveredTime == nil {
		t.Errorf("%d calls, want two that fail and one: %+v", len(w.listener.calls), w.get().Status.Cleanup.Webhook)
	}
	w.request("approve-cleanup-2", v1alpha1.RequestApproveCleanup, "sha256:one")
	w.settle()
	w.answered("approve-cleanup-2", v1alpha1.RequestSucceeded, "")
}

// TestCleanupOfFullVolume holds that a warm-up that fails, as it does on a full
// volume, does not keep a cleanup from freeing space.
func TestCleanupOfFullVolume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cleaner.garbage = "one"
	w.cache(bounded10Gi(v1alpha1.ApprovalAutomatic))
	w.settle()
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no space left on device"})
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm-up-1", v1alpha1.RequestFailed, "no space left")
	w.request("cleanup-2", v1alpha1.RequestCleanup)
	w.settle()
	w.answered("cleanup-2", v1alpha1.RequestSucceeded, "freed 10.0 MiB")
}

// TestWebhookIsCalled holds, on a manager that runs, that a webhook is notified
// over HTTP of a plan that waits, and that the end of the call triggers a pass,
// which records it.
func TestWebhookIsCalled(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Idempotency-Key"), "sha256:one 20") {
			calls.Add(1)
		}
	}))
	defer hook.Close()
	w := newWorld(t)
	w.cleaner.garbage, w.listener.slow = "one", true
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		bounded10Gi(v1alpha1.ApprovalRequired)(s)
		s.Cleanup.Webhook.URL = hook.URL
	})
	w.settle()
	w.request("cleanup-1", v1alpha1.RequestCleanup)
	w.settle()
	if s := w.get().Status.Cleanup; s.Webhook == nil || s.Webhook.DeliveredTime != nil {
		t.Fatalf("before it was told: %+v", s.Webhook)
	}
	r := w.reconciler
	r.Webhooks = nil
	w.manage(r)
	w.eventually(func() bool { return w.get().Status.Cleanup.Webhook.DeliveredTime != nil })
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls, want one", n)
	}
}
