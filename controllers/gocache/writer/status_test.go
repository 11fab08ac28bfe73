package writer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/jobrun"
	plan "gocache.dev/operator/internal/plan/writer"
)

// runs lets a writer run that does this.
func runs(t *turn, action plan.Action, ready bool) {
	t.Writer = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "ci-writer", Labels: map[string]string{v1alpha1.ActionLabel: string(action)}}}
	t.Run = jobrun.Outcome{Phase: jobrun.Running, Run: "j1", Ready: ready}
}

// fact is a fact in one line.
func fact(f *pass.Fact) string {
	if f == nil {
		return "absent"
	}
	return fmt.Sprintf("%s %s: %s", f.Status, f.Reason, f.Message)
}

// TestWarm holds what the condition Warm has of each state of warm-ups.
func TestWarm(t *testing.T) {
	failed := func(outcome v1alpha1.RunOutcome, failures int32) func(*turn) {
		return func(t *turn) {
			w := &t.cache.Status.WarmUp
			w.Outcome, w.Failures, w.Message = outcome, failures, "why"
		}
	}
	for name, tt := range map[string]struct {
		of     *turn
		change func(*turn)
		want   string
	}{
		"never warmed":      {fresh(), func(*turn) {}, "False Waiting: Not warmed yet"},
		"it waits":          {fresh(), func(t *turn) { t.wait(plan.WarmUp, "the PVC") }, "False Waiting: Not warmed yet: the PVC"},
		"another one waits": {fresh(), func(t *turn) { t.wait(plan.Integrity, "the PVC") }, "False Waiting: Not warmed yet"},
		"started now":       {fresh(), func(t *turn) { t.out.Started = plan.WarmUp }, "False WarmUpPending: The first warm-up has not started: its pod does not run yet"},
		"started now, the last one's container runs yet": {fresh(), func(t *turn) {
			runs(t, plan.WarmUp, true)
			t.out.Started = plan.WarmUp
		}, "False WarmUpPending: The first warm-up has not started: its pod does not run yet"},
		"another one was started now": {fresh(), func(t *turn) { runs(t, plan.WarmUp, true); t.out.Started = plan.Integrity }, "False Waiting: Not warmed yet"},
		"it runs":                     {fresh(), func(t *turn) { runs(t, plan.WarmUp, true) }, "False Warming: The first warm-up runs"},
		"its pod does not run yet":    {fresh(), func(t *turn) { runs(t, plan.WarmUp, false) }, "False WarmUpPending: The first warm-up has not started: its pod does not run yet"},
		"its pod cannot run":          {fresh(), func(t *turn) { runs(t, plan.WarmUp, false); t.Hindrance = "no node" }, "False WarmUpPending: The first warm-up does not run: no node"},
		"a check runs":                {fresh(), func(t *turn) { runs(t, plan.Integrity, true) }, "False Waiting: Not warmed yet"},
		"its Job has ended":           {fresh(), func(t *turn) { runs(t, plan.WarmUp, false); t.Run.Phase = jobrun.Ended }, "False Waiting: Not warmed yet"},
		"restored": {fresh(), func(t *turn) {
			t.cache.Status.Content = &v1alpha1.ContentStatus{Reason: v1alpha1.ReplacementRestore, VolumeName: "v1", Snapshot: "s"}
			t.cache.Status.Counts = v1alpha1.CacheCounts{Modules: 3, BuildEntries: 5}
		}, "True WarmedUp: Restored from CacheSnapshot s: 3 module versions and 5 build entries"},
		"warmed":                       {warmedOnce(), func(*turn) {}, "True WarmedUp: 3 module versions and 5 build entries"},
		"warmed, and another one runs": {warmedOnce(), func(t *turn) { runs(t, plan.WarmUp, true) }, "True WarmedUp: 3 module versions and 5 build entries"},
		"warmed, with a note":          {warmedOnce(), func(t *turn) { t.cache.Status.WarmUp.Message = "a note" }, "True WarmedUp: 3 module versions and 5 build entries; a note"},
		"warmed in part": {warmedOnce(), func(t *turn) {
			t.cache.Status.WarmUp.Message, t.cache.Status.WarmUp.Failures = "1 of 2 sources failed", 1
		},
			"True WarmedUp: 3 module versions and 5 build entries; 1 of 2 sources failed; next attempt at 2026-11-28T11:58:30Z"},
		"another volume":         {warmedOnce(), func(t *turn) { t.PVC.UID = "u2" }, "False Waiting: Not warmed yet"},
		"disrupted":              {warmedOnce(), failed(v1alpha1.RunInconclusive, 1), "Unknown Inconclusive: The last warm-up was disrupted: why; next attempt at 2026-11-28T11:58:30Z"},
		"failed":                 {warmedOnce(), failed(v1alpha1.RunFailed, 2), "False WarmUpFailed: The last warm-up failed (2 in a row): why; next attempt at 2026-11-28T11:59:00Z"},
		"failed, and it waits":   {warmedOnce(), func(t *turn) { failed(v1alpha1.RunFailed, 2)(t); t.wait(plan.WarmUp, "the proxy") }, "False WarmUpFailed: The last warm-up failed (2 in a row): why"},
		"failed, and it runs":    {warmedOnce(), func(t *turn) { failed(v1alpha1.RunFailed, 2)(t); runs(t, plan.WarmUp, true) }, "False WarmUpFailed: The last warm-up failed (2 in a row): why"},
		"failed, and a check":    {warmedOnce(), func(t *turn) { failed(v1alpha1.RunFailed, 2)(t); runs(t, plan.Integrity, true) }, "False WarmUpFailed: The last warm-up failed (2 in a row): why; next attempt at 2026-11-28T11:59:00Z"},
		"failed, without a time": {warmedOnce(), func(t *turn) { failed(v1alpha1.RunFailed, 2)(t); t.cache.Status.WarmUp.CompletionTime = nil }, "False WarmUpFailed: The last warm-up failed (2 in a row): why"},
	} {
		tt.change(tt.of)
		if got := fact(tt.of.warm()); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

// TestWarming holds what is reported of a warm-up after the first.
func TestWarming(t *testing.T) {
	turn := warmedOnce()
	runs(turn, plan.WarmUp, true)
	if reason, message := turn.warming(); reason != v1alpha1.ReasonWarming || message != "The warm-up runs" {
		t.Errorf("%s: %s", reason, message)
	}
}

// TestIntact holds what the condition Intact has of each state of checks.
func TestIntact(t *testing.T) {
	with := func(change func(*turn, *v1alpha1.IntegrityStatus)) func(*turn) {
		return func(t *turn) {
			i := &v1alpha1.IntegrityStatus{VolumeName: "v1", StartTime: ptr.To(metav1.NewTime(now.Add(-90 * time.Second)))}
			i.CompletionTime, i.Message, i.Counts = ptr.To(metav1.NewTime(now)), "1 corrupt", v1alpha1.VerifiedCounts{Modules: 3, BuildEntries: 5}
			t.cache.Status.Integrity = i
			change(t, i)
		}
	}
	verdict := func(v v1alpha1.Verdict, attempts int32) func(*turn) {
		return with(func(_ *turn, i *v1alpha1.IntegrityStatus) { i.Verdict, i.InconclusiveAttempts = v, attempts })
	}
	declared := func(t *turn) { t.cache.Spec.Integrity = &v1alpha1.CacheIntegrity{} }
	const delete = "there is no verified snapshot to roll back to: delete PersistentVolumeClaim ci to begin again"
	for name, tt := range map[string]struct {
		change func(*turn)
		want   string
	}{
		"not declared":     {func(*turn) {}, "absent"},
		"not checked yet":  {declared, "Unknown Waiting: The cache PVC was not checked yet"},
		"the first runs":   {func(t *turn) { declared(t); runs(t, plan.Integrity, true) }, "Unknown Progressing: The first check of the cache PVC is running"},
		"a warm-up runs":   {func(t *turn) { declared(t); runs(t, plan.WarmUp, true) }, "Unknown Waiting: The cache PVC was not checked yet"},
		"on request alone": {verdict(v1alpha1.VerdictIntact, 0), "True Intact: Checked in 1m30s: 3 module versions and 5 build entries hold what they should"},
		"another volume":   {with(func(_ *turn, i *v1alpha1.IntegrityStatus) { i.VolumeName = "v0" }), "Unknown Waiting: The volume that was checked last was replaced, and the present one was not checked yet"},
		"corrupt":          {verdict(v1alpha1.VerdictCorrupt, 0), "False Corrupt: The cache PVC is corrupt: 1 corrupt; " + delete},
		"corrupt, with an example": {with(func(_ *turn, i *v1alpha1.IntegrityStatus) {
			i.Verdict, i.Examples = v1alpha1.VerdictCorrupt, []v1alpha1.FindingExample{{Class: "ZipHash", Path: "a.zip", Detail: "differs"}, {Class: "Other"}}
		}), "False Corrupt: The cache PVC is corrupt: 1 corrupt (ZipHash, a.zip: differs); " + delete},
		"corrupt, and a snapshot is verified": {with(func(t *turn, i *v1alpha1.IntegrityStatus) {
			i.Verdict, t.cache.Status.LatestVerifiedSnapshot = v1alpha1.VerdictCorrupt, "s"
		}), "False Corrupt: The cache PVC is corrupt: 1 corrupt; roll it back with a CacheRequest of action Rollback and argument s, or set spec.integrity.onCorrupt to Rollback"},
		"corrupt, and rolled back": {with(func(t *turn, i *v1alpha1.IntegrityStatus) {
			i.Verdict, t.cache.Status.LatestVerifiedSnapshot, t.cache.Spec.Integrity = v1alpha1.VerdictCorrupt, "s", &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}
		}), "False Corrupt: The cache PVC is corrupt: 1 corrupt; it is rolled back"},
		"inconclusive": {verdict(v1alpha1.VerdictInconclusive, 2), "Unknown Inconclusive: Attempt 2 of 3 was inconclusive: 1 corrupt; next attempt at 2026-11-28T12:01:00Z"},
		"the last one": {verdict(v1alpha1.VerdictInconclusive, 3), "Unknown Inconclusive: Attempt 3 of 3 was inconclusive: 1 corrupt"},
		"no attempt":   {verdict(v1alpha1.VerdictInconclusive, 0), "Unknown Inconclusive: Attempt 0 of 3 was inconclusive: 1 corrupt"},
		"no end":       {with(func(_ *turn, i *v1alpha1.IntegrityStatus) { i.InconclusiveAttempts, i.CompletionTime = 1, nil }), "Unknown Inconclusive: Attempt 1 of 3 was inconclusive: 1 corrupt"},
	} {
		turn := warmedOnce()
		tt.change(turn)
		if got := fact(turn.intact()); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
		corrupt := ""
		if strings.HasPrefix(tt.want, "False Corrupt: ") {
			corrupt = strings.TrimPrefix(tt.want, "False Corrupt: ")
		}
		if got := turn.out.Status(turn.cache, turn.Observed).Corrupt; got != corrupt {
			t.Errorf("%s: described as %q, want %q", name, got, corrupt)
		}
	}
}

// TestClean holds what the condition Clean has of each state of cleanups.
func TestClean(t *testing.T) {
	required := func(t *turn) { t.cache.Spec.Cleanup.Approval = v1alpha1.ApprovalRequired }
	open := func(t *turn, c *v1alpha1.CleanupStatus) {
		c.LastPlan = &v1alpha1.CleanupPlan{Digest: "sha256:1", Open: true, Bounds: t.bounds(), Entries: 2, Bytes: 3 * mib}
	}
	webhook := func(t *turn, c *v1alpha1.CleanupStatus) {
		required(t)
		open(t, c)
		t.cache.Spec.Cleanup.Webhook = &v1alpha1.Webhook{URL: "https://hook.test"}
		c.Webhook = &v1alpha1.WebhookStatus{PlanDigest: "sha256:1", Failures: 2, Message: "refused"}
	}
	removed := func(_ *turn, c *v1alpha1.CleanupStatus) {
		c.Freed, c.LastCleanTime = resource.NewQuantity(3*mib, resource.BinarySI), ptr.To(metav1.NewTime(now.Add(-time.Minute)))
		c.Proof = &v1alpha1.CleanupProof{Result: "Failed", Message: "6 were compiled"}
	}
	const waits = "False ApprovalRequired: The plan sha256:1, of 2 entries and 3.0 MiB, waits for approval: create a CacheRequest with action ApproveCleanup and argument sha256:1"
	const within = "True WithinBounds: Within the bounds: the last plan that was applied removed 3.0 MiB"
	for name, tt := range map[string]struct {
		change func(*turn, *v1alpha1.CleanupStatus)
		want   string
	}{
		"not declared": {func(t *turn, _ *v1alpha1.CleanupStatus) { t.cache.Spec.Cleanup = nil }, "absent"},
		"no run yet":   {func(t *turn, _ *v1alpha1.CleanupStatus) { t.cache.Status.Cleanup = nil }, "Unknown Waiting: No plan was made yet; it is made by spec.cleanup.schedule and on request"},
		"none ended":   {func(_ *turn, c *v1alpha1.CleanupStatus) { c.CompletionTime = nil }, "Unknown Waiting: No plan was made yet; it is made by spec.cleanup.schedule and on request"},
		"paused": {func(_ *turn, c *v1alpha1.CleanupStatus) {
			c.Paused, c.Preflight = "reuse", []v1alpha1.CleanupCheck{{Name: "index", Message: "fine"}, {Name: "reuse", Message: "2 packages"}}
		}, "False CleanupPaused: Cleanup is paused: the check reuse did not pass: 2 packages; it is made again by schedule, on request, and after a warm-up"},
		"paused by a check that is not listed": {func(_ *turn, c *v1alpha1.CleanupStatus) { c.Paused = "reuse" },
			"False CleanupPaused: Cleanup is paused: the check reuse did not pass; it is made again by schedule, on request, and after a warm-up"},
		"failed":                       {func(_ *turn, c *v1alpha1.CleanupStatus) { c.Failures, c.Message = 2, "no space" }, "False CleanupFailed: The last cleanup failed (2 in a row): no space; next attempt at 2026-11-28T12:01:00Z"},
		"a plan that waits":            {func(t *turn, c *v1alpha1.CleanupStatus) { required(t); open(t, c) }, waits},
		"no webhook could be notified": {webhook, waits + "; the webhook was not notified (2 calls): refused"},
		"the webhook was notified": {func(t *turn, c *v1alpha1.CleanupStatus) {
			webhook(t, c)
			c.Webhook.DeliveredTime = ptr.To(metav1.NewTime(now))
		}, waits},
		"the webhook is being called":        {func(t *turn, c *v1alpha1.CleanupStatus) { webhook(t, c); c.Webhook.Failures = 0 }, waits},
		"the webhook failed for another one": {func(t *turn, c *v1alpha1.CleanupStatus) { webhook(t, c); c.Webhook.PlanDigest = "sha256:0" }, waits},
		"the webhook is gone":                {func(t *turn, c *v1alpha1.CleanupStatus) { webhook(t, c); t.cache.Spec.Cleanup.Webhook = nil }, waits},
		"the webhook was never called":       {func(t *turn, c *v1alpha1.CleanupStatus) { webhook(t, c); c.Webhook = nil }, waits},
		"a plan to be applied":               {open, "False Progressing: The plan sha256:1 is to be applied: 2 entries, 3.0 MiB"},
		"approved": {func(t *turn, c *v1alpha1.CleanupStatus) { required(t); open(t, c); c.ApprovedPlan = "sha256:1" },
			"False Progressing: The plan sha256:1 is to be applied: 2 entries, 3.0 MiB"},
		"a bound that is too small": {func(_ *turn, c *v1alpha1.CleanupStatus) { c.LastPlan = &v1alpha1.CleanupPlan{OverBytes: mib} },
			"False BoundUnreachable: What the last warm-up used exceeds spec.cleanup.maxSize by 1.0 MiB, and is never removed: raise maxSize or warm less"},
		"a plan that is done": {func(_ *turn, c *v1alpha1.CleanupStatus) { c.LastPlan = &v1alpha1.CleanupPlan{} }, "True WithinBounds: Within the bounds: nothing was to be removed"},
		"nothing removed":     {func(*turn, *v1alpha1.CleanupStatus) {}, "True WithinBounds: Within the bounds: nothing was to be removed"},
		"not proven":          {removed, "True WithinBounds: Cleaned: the last plan that was applied removed 3.0 MiB; not proven warm, so a warm-up is due: 6 were compiled"},
		"proven":              {func(t *turn, c *v1alpha1.CleanupStatus) { removed(t, c); c.Proof.Result = "Passed" }, within},
		"warmed since": {func(t *turn, c *v1alpha1.CleanupStatus) {
			removed(t, c)
			t.cache.Status.WarmUp.StartTime = ptr.To(metav1.NewTime(now))
		}, within},
		"warmed at the same time": {func(t *turn, c *v1alpha1.CleanupStatus) {
			removed(t, c)
			t.cache.Status.WarmUp.StartTime = c.LastCleanTime
		}, within},
		"never warmed":       {func(t *turn, c *v1alpha1.CleanupStatus) { removed(t, c); t.cache.Status.WarmUp.StartTime = nil }, within},
		"cleaned at no time": {func(t *turn, c *v1alpha1.CleanupStatus) { removed(t, c); c.LastCleanTime = nil }, within},
		"without a proof":    {func(t *turn, c *v1alpha1.CleanupStatus) { removed(t, c); c.Proof = nil }, within},
	} {
		turn := warmedOnce()
		turn.cache.Spec.Cleanup = &v1alpha1.Cleanup{}
		turn.cache.Status.Cleanup = &v1alpha1.CleanupStatus{CompletionTime: ptr.To(metav1.NewTime(now.Add(-time.Minute)))}
		tt.change(turn, turn.cache.Status.Cleanup)
		if got := fact(turn.clean()); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

// TestStatus holds what else there is to report after a pass.
func TestStatus(t *testing.T) {
	turn := warmedOnce()
	turn.cache.Spec.Integrity, turn.cache.Spec.Cleanup = &v1alpha1.CacheIntegrity{}, &v1alpha1.Cleanup{}
	turn.cache.Status.WarmUp.Message, turn.cache.Status.WarmUp.Failures = "a note", 1
	turn.Hindrance = "no node"
	turn.out.Waits = map[plan.Action]string{plan.WarmUp: "the proxy", plan.Cleanup: "a warm-up"}
	runs(turn, plan.Integrity, false)
	s := turn.out.Status(turn.cache, turn.Observed)
	if s.Warm == nil || s.Intact == nil || s.Clean == nil || s.Corrupt != "" {
		t.Errorf("%+v", s)
	}
	if want := "; a check does not run: no node; a warm-up is due and waits: the proxy; a cleanup is due and waits: a warm-up"; s.Pending != want {
		t.Errorf("pending %q, want %q", s.Pending, want)
	}
	if s.Warming || s.Because != ": the proxy" || s.Found != "; a note" || s.Next != "" {
		t.Errorf("%+v", s)
	}
	turn.out.Waits, turn.Hindrance = nil, ""
	runs(turn, plan.WarmUp, false)
	if s := turn.out.Status(turn.cache, turn.Observed); !s.Warming || s.WarmingReason != v1alpha1.ReasonWarmUpPending || s.Pending != "" || s.Because != "" {
		t.Errorf("a warm-up that was started: %+v", s)
	}
	turn.Writer, turn.Run = nil, jobrun.Outcome{Phase: jobrun.Absent}
	turn.Hindrance = "no node"
	if s := turn.out.Status(turn.cache, turn.Observed); s.Warming || s.Pending != "" || s.Next != "; next attempt at 2026-11-28T11:58:30Z" {
		t.Errorf("no writer: %+v", s)
	}
}

// TestEvents holds which events a pass has of the runs that it recorded.
func TestEvents(t *testing.T) {
	before := func() *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{}
		c.Status.WarmUp.Run = "w0"
		c.Status.Integrity = &v1alpha1.IntegrityStatus{}
		c.Status.Integrity.Run = "i0"
		c.Status.Cleanup = &v1alpha1.CleanupStatus{Run: "c0", LastCleanTime: ptr.To(metav1.NewTime(now.Add(-time.Hour)))}
		c.Status.Toolchain = &v1alpha1.ToolchainRecord{Version: "go1.26.8", Platform: "linux/amd64", GoSHA256: "g1"}
		c.Status.Counts = v1alpha1.CacheCounts{Modules: 3, BuildEntries: 5}
		return c
	}
	warmed := func(outcome v1alpha1.RunOutcome) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) {
			w := &c.Status.WarmUp
			w.Run, w.Outcome, w.Message = "w1", outcome, "why"
			w.StartTime, w.CompletionTime = ptr.To(metav1.NewTime(now.Add(-time.Minute))), ptr.To(metav1.NewTime(now))
		}
	}
	found := func(verdict v1alpha1.Verdict, attempts int32) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) {
			i := c.Status.Integrity
			i.Run, i.Verdict, i.InconclusiveAttempts, i.Message, i.Counts = "i1", verdict, attempts, "why", v1alpha1.VerifiedCounts{Modules: 3, BuildEntries: 5}
		}
	}
	cleaned := func(change func(*v1alpha1.CleanupStatus)) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) {
			s := c.Status.Cleanup
			s.Run, s.Outcome, s.Message = "c1", v1alpha1.RunSucceeded, "why"
			change(s)
		}
	}
	removed := func(s *v1alpha1.CleanupStatus) {
		s.Freed, s.Proof, s.LastPlan = resource.NewQuantity(3*mib, resource.BinarySI), &v1alpha1.CleanupProof{Result: "Passed", Message: "6 were compiled"}, &v1alpha1.CleanupPlan{Digest: "sha256:1", Entries: 1}
		s.Removed, s.LastCleanTime = 2, ptr.To(metav1.NewTime(now))
	}
	hook := func(digest string, failures int32) *v1alpha1.WebhookStatus {
		return &v1alpha1.WebhookStatus{PlanDigest: digest, Failures: failures, Message: "refused"}
	}
	const cleanedEvent = "{Normal Cleaned Cleanup Removed 2 entries, 3.0 MiB; the last warm-up's builds need none of them <nil>}"
	const nothing = "{Normal CleanupNotNeeded Cleanup Found nothing to remove <nil>}"
	for name, tt := range map[string]struct {
		before, after func(*v1alpha1.GoCache)
		want          string
	}{
		"nothing":          {nil, func(*v1alpha1.GoCache) {}, ""},
		"warmed":           {nil, warmed(v1alpha1.RunSucceeded), "{Normal Warmed WarmUp Warmed in 1m0s: 3 module versions, 5 build entries <nil>}"},
		"warmed, no start": {nil, func(c *v1alpha1.GoCache) { warmed(v1alpha1.RunSucceeded)(c); c.Status.WarmUp.StartTime = nil }, "{Normal Warmed WarmUp Warmed in 0s: 3 module versions, 5 build entries <nil>}"},
		"warmed, no end":   {nil, func(c *v1alpha1.GoCache) { warmed(v1alpha1.RunSucceeded)(c); c.Status.WarmUp.CompletionTime = nil }, "{Normal Warmed WarmUp Warmed in 0s: 3 module versions, 5 build entries <nil>}"},
		"warmed in part": {nil, func(c *v1alpha1.GoCache) {
			warmed(v1alpha1.RunSucceeded)(c)
			c.Status.WarmUp.Sources = []v1alpha1.SourceStatus{{Name: "a", Outcome: v1alpha1.RunFailed}, {Name: "b", Outcome: v1alpha1.RunSucceeded}, {Name: "c", Outcome: v1alpha1.RunSucceeded}}
		}, "{Warning WarmedInPart WarmUp Warmed 2 of 3 sources in 1m0s: why <nil>}"},
		"warmed after corruption": {nil, func(c *v1alpha1.GoCache) { warmed(v1alpha1.RunSucceeded)(c); c.Status.WarmUp.CorruptRemoved = 2 },
			"{Normal Warmed WarmUp Warmed in 1m0s: 3 module versions, 5 build entries <nil>} {Warning CorruptEntriesRemoved WarmUp Removed 2 corrupt files and directories from the cache PVC before the go command could use them: why <nil>}"},
		"disrupted":         {nil, warmed(v1alpha1.RunInconclusive), "{Warning WarmUpDisrupted WarmUp The warm-up was disrupted: why <nil>}"},
		"a warm-up failed":  {nil, warmed(v1alpha1.RunFailed), "{Warning WarmUpFailed WarmUp The warm-up failed: why <nil>}"},
		"intact":            {nil, found(v1alpha1.VerdictIntact, 0), "{Normal Checked Check Found the cache PVC intact: 3 module versions and 5 build entries <nil>}"},
		"the first check":   {func(c *v1alpha1.GoCache) { c.Status.Integrity = nil }, func(*v1alpha1.GoCache) {}, "{Normal Checked Check Found the cache PVC intact: 0 module versions and 0 build entries <nil>}"},
		"inconclusive":      {nil, found(v1alpha1.VerdictInconclusive, 2), "{Warning CheckInconclusive Check Check attempt 2 of the cache PVC was inconclusive: why <nil>}"},
		"corrupt":           {nil, found(v1alpha1.VerdictCorrupt, 0), "{Warning Corrupt Check Found the cache PVC corrupt: why; the condition Intact has the remedy <nil>}"},
		"corrupt as before": {nil, found(v1alpha1.VerdictCorrupt, 1), "{Warning Corrupt Check Found the cache PVC corrupt: why; the condition Intact has the remedy <nil>}"},
		"another toolchain": {nil, func(c *v1alpha1.GoCache) { c.Status.Toolchain.GoSHA256 = "g2" }, "{Warning ToolchainChanged WarmUp The go command of go1.26.8 linux/amd64 is another one than at the warm-up before (sha256 g2, was g1): see whether you meant to change it, and name toolchain.image with a digest <nil>}"},
		"cleaned":           {nil, cleaned(removed), cleanedEvent},
		"the first cleanup": {func(c *v1alpha1.GoCache) { c.Status.Cleanup = nil }, cleaned(removed), cleanedEvent},
		"not proven":        {nil, cleaned(func(s *v1alpha1.CleanupStatus) { removed(s); s.Proof.Result = "Failed" }), "{Warning NotProvenWarm Cleanup Removed 2 entries and did not prove the cache warm, so a warm-up is due: 6 were compiled <nil>}"},
		"removed before": {nil, cleaned(func(s *v1alpha1.CleanupStatus) {
			removed(s)
			s.LastCleanTime = ptr.To(metav1.NewTime(now.Add(-time.Hour)))
		}), nothing},
		"an empty plan":      {nil, cleaned(func(s *v1alpha1.CleanupStatus) { removed(s); s.LastPlan.Entries = 0 }), nothing},
		"no plan":            {nil, cleaned(func(s *v1alpha1.CleanupStatus) { removed(s); s.LastPlan = nil }), nothing},
		"no proof":           {nil, cleaned(func(s *v1alpha1.CleanupStatus) { removed(s); s.Proof = nil }), nothing},
		"nothing freed":      {nil, cleaned(func(s *v1alpha1.CleanupStatus) { removed(s); s.Freed = nil }), nothing},
		"nothing to remove":  {nil, cleaned(func(*v1alpha1.CleanupStatus) {}), nothing},
		"paused":             {nil, cleaned(func(s *v1alpha1.CleanupStatus) { s.Paused = "reuse" }), "{Warning CleanupPaused Cleanup Paused cleanup because of the check why <nil>}"},
		"a cleanup failed":   {nil, cleaned(func(s *v1alpha1.CleanupStatus) { s.Outcome = v1alpha1.RunFailed }), "{Warning CleanupFailed Cleanup The cleanup failed: why <nil>}"},
		"planned":            {nil, cleaned(func(s *v1alpha1.CleanupStatus) { removed(s); s.LastPlan.Open, s.LastPlan.Bytes = true, mib }), "{Normal CleanupPlanned Cleanup Planned to remove 1 entries, 1.0 MiB: sha256:1 <nil>}"},
		"the webhook failed": {nil, func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 1) }, "{Warning WebhookFailed Cleanup The webhook was not notified of the plan sha256:1 (1 calls): refused <nil>}"},
		"it failed again":    {func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 1) }, func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 2) }, "{Warning WebhookFailed Cleanup The webhook was not notified of the plan sha256:1 (2 calls): refused <nil>}"},
		"it failed for another plan": {func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:0", 1) }, func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 1) },
			"{Warning WebhookFailed Cleanup The webhook was not notified of the plan sha256:1 (1 calls): refused <nil>}"},
		"it failed before":      {func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 1) }, func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 1) }, ""},
		"it has not failed yet": {nil, func(c *v1alpha1.GoCache) { c.Status.Cleanup.Webhook = hook("sha256:1", 0) }, ""},
	} {
		was, is := before(), before()
		if tt.before != nil {
			tt.before(was)
		}
		tt.after(is)
		if name == "the first check" {
			is.Status.Integrity.Run = "i1"
		}
		if got := notes(Events(was, is)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

// notes are events in one line.
func notes(all []event.Event) string {
	var text []string
	for _, e := range all {
		text = append(text, fmt.Sprint(e))
	}
	return strings.Join(text, " ")
}

// TestStarted holds the event of each run that is started.
func TestStarted(t *testing.T) {
	for action, want := range map[plan.Action]string{
		plan.WarmUp: "{Normal WarmUpStarted WarmUp Started a warm-up: why <nil>}", plan.Cleanup: "{Normal CleanupStarted Cleanup Started a cleanup: why <nil>}",
		plan.Integrity: "{Normal CheckStarted Check Started a check of the cache PVC: why <nil>}",
	} {
		if got := fmt.Sprint(started(action, "why")); got != want {
			t.Errorf("%s: %s, want %s", action, got, want)
		}
	}
}
