package writer

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/plan/livecheck"
)

const mib = 1 << 20

// warmedOnce is fresh after a warm-up that succeeded on its PVC.
func warmedOnce() *turn {
	t := fresh()
	begin, end := metav1.NewTime(now.Add(-3*time.Minute)), metav1.NewTime(now.Add(-2*time.Minute))
	t.cache.Status.WarmUp = v1alpha1.WarmUpStatus{
		Run: "w1", Outcome: v1alpha1.RunSucceeded, LastSuccessRun: "w1", PersistentVolumeClaimUID: "u1",
		StartTime: &begin, CompletionTime: &end, LastSuccessTime: &end, Inputs: t.inputs(),
	}
	t.cache.Status.Counts = v1alpha1.CacheCounts{Modules: 3, BuildEntries: 5}
	t.cache.Status.ManifestDigest = "sha256:warm"
	t.Stored = t.cache.DeepCopy()
	return t
}

// ended is the outcome of a run of a minute that left a report.
func ended(code int32, data any, annotations map[string]string) jobrun.Outcome {
	text, isText := data.(string)
	if !isText {
		b, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	all := map[string]string{v1alpha1.PVCUIDAnnotation: "u1", v1alpha1.VolumeAnnotation: "v1"}
	for key, value := range annotations {
		all[key] = value
	}
	return jobrun.Outcome{
		Phase: jobrun.Ended, Run: "c1", Started: now.Add(-time.Minute), Ended: now, ExitCode: &code, Message: text, Annotations: all,
	}
}

// planOf is the plan to remove two entries, or none.
func planOf(digest string, entries int64) *report.Plan {
	oldest, newest := now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	return &report.Plan{
		Digest: digest, AsOf: now.Add(-time.Minute), Entries: entries, Bytes: entries * mib, OverBytes: 7,
		Modules: &report.Layer{Entries: entries, Bytes: entries * mib, BeforeBytes: 9 * mib, Oldest: &oldest, Newest: &newest},
		Build:   &report.Layer{BeforeBytes: 8 * mib, Oldest: &oldest},
	}
}

// recordedPlan is planOf as the status has it.
func recordedPlan(digest string, entries int64, open bool) *v1alpha1.CleanupPlan {
	return &v1alpha1.CleanupPlan{
		Digest: digest, Time: metav1.NewTime(now.Add(-time.Minute)), Open: open, Bounds: "b1", Entries: entries, Bytes: entries * mib, OverBytes: 7,
		Modules: &v1alpha1.CleanupLayer{
			Entries: entries, Bytes: entries * mib, OfBytes: 9 * mib,
			Oldest: ptr.To(metav1.NewTime(now.Add(-48 * time.Hour))), Newest: ptr.To(metav1.NewTime(now.Add(-24 * time.Hour))),
		},
		Build: &v1alpha1.CleanupLayer{OfBytes: 8 * mib},
	}
}

// TestRecordCleanup holds what a run of a cleanup leaves in the status, and how it
// answers the request that it was started for.
func TestRecordCleanup(t *testing.T) {
	began, over := ptr.To(metav1.NewTime(now.Add(-time.Minute))), ptr.To(metav1.NewTime(now))
	passed := []report.Check{{Name: report.Index, Result: report.Pass}}
	recordedChecks := []v1alpha1.CleanupCheck{{Name: "index", Result: "Passed"}}
	const waits = "the plan sha256:2, of 2 entries and 2.0 MiB, waits for approval: create a CacheRequest with action ApproveCleanup and argument sha256:2"
	for name, tt := range map[string]struct {
		automatic bool
		closed    bool   // the plan before was closed
		bounds    string // that the run was for; empty: the ones of the plan before
		applies   string // the plan that the run was to apply
		run       jobrun.Outcome
		want      v1alpha1.CleanupStatus
		answer    v1alpha1.RequestOutcome
		message   string
	}{
		"no report": {
			run:    ended(2, "boom", nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunFailed, Message: "the agent ended with exit code 2: boom", Failures: 5, LastPlanTime: began, ApprovedPlan: "sha256:1", LastPlan: recordedPlan("sha256:1", 2, true), Paused: "reuse"},
			answer: v1alpha1.RequestFailed, message: "the agent ended with exit code 2: boom",
		},
		"a plan that waits": {
			run:    ended(0, report.Report{Outcome: report.Planned, Preflight: passed, Plan: planOf("sha256:2", 2)}, nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlanTime: began, LastPlan: recordedPlan("sha256:2", 2, true), Preflight: recordedChecks},
			answer: v1alpha1.RequestSucceeded, message: waits,
		},
		"a plan that is applied next": {
			automatic: true,
			run:       ended(0, report.Report{Outcome: report.Planned, Preflight: passed, Plan: planOf("sha256:2", 2)}, nil),
			want:      v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlanTime: began, LastPlan: recordedPlan("sha256:2", 2, true), Preflight: recordedChecks},
			answer:    v1alpha1.RequestAccepted,
		},
		"the plan that was approved": {
			run:    ended(0, report.Report{Outcome: report.Planned, Preflight: passed, Plan: planOf("sha256:1", 2)}, nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlanTime: began, LastPlan: recordedPlan("sha256:1", 2, true), ApprovedPlan: "sha256:1", Preflight: recordedChecks},
			answer: v1alpha1.RequestSucceeded, message: strings.ReplaceAll(waits, "sha256:2", "sha256:1"),
		},
		"the same entries on another volume": {
			bounds: "b2",
			run:    ended(0, report.Report{Outcome: report.Planned, Preflight: passed, Plan: planOf("sha256:1", 2)}, nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlanTime: began, LastPlan: recordedPlan("sha256:1", 2, true), Preflight: recordedChecks},
			answer: v1alpha1.RequestSucceeded, message: strings.ReplaceAll(waits, "sha256:2", "sha256:1"),
		},
		"the same entries later": {
			closed: true,
			run:    ended(0, report.Report{Outcome: report.Planned, Preflight: passed, Plan: planOf("sha256:1", 2)}, nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlanTime: began, LastPlan: recordedPlan("sha256:1", 2, true), Preflight: recordedChecks},
			answer: v1alpha1.RequestSucceeded, message: strings.ReplaceAll(waits, "sha256:2", "sha256:1"),
		},
		"nothing to remove": {
			run:    ended(0, report.Report{Outcome: report.Planned, Preflight: passed, Plan: planOf("sha256:2", 0)}, nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlanTime: began, LastPlan: recordedPlan("sha256:2", 0, false), LastCleanTime: over, Preflight: recordedChecks},
			answer: v1alpha1.RequestSucceeded, message: "nothing to remove: the caches are within their bounds",
		},
		"changed since": {
			applies: "sha256:1",
			run:     ended(0, report.Report{Outcome: report.Changed, Message: "other entries", Preflight: passed, Plan: planOf("sha256:2", 2)}, nil),
			want:    v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, Message: "other entries", LastPlan: recordedPlan("sha256:2", 2, true), Preflight: recordedChecks},
			answer:  v1alpha1.RequestFailed, message: "the caches have changed since, and nothing was removed; now " + waits,
		},
		"changed since, and applied next": {
			automatic: true, applies: "sha256:1",
			run:    ended(0, report.Report{Outcome: report.Changed, Preflight: passed, Plan: planOf("sha256:2", 2)}, nil),
			want:   v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlan: recordedPlan("sha256:2", 2, true), Preflight: recordedChecks},
			answer: v1alpha1.RequestAccepted,
		},
		"changed since, to nothing": {
			applies: "sha256:1",
			run:     ended(0, report.Report{Outcome: report.Changed, Preflight: passed, Plan: planOf("sha256:2", 0)}, nil),
			want:    v1alpha1.CleanupStatus{Outcome: v1alpha1.RunSucceeded, LastPlan: recordedPlan("sha256:2", 0, false), LastCleanTime: over, Preflight: recordedChecks},
			answer:  v1alpha1.RequestSucceeded, message: "nothing to remove: the caches are within their bounds",
		},
		"applied": {
			applies: "sha256:1",
			run: ended(0, report.Report{
				Outcome: report.Applied, Preflight: passed, RemovedEntries: 2, FreedBytes: 3 * mib, Modules: 2, BuildEntries: 4, ManifestDigest: "sha256:left",
				Proof: &report.Proof{Result: report.Pass, Message: "as before"},
			}, nil),
			want: v1alpha1.CleanupStatus{
				Outcome: v1alpha1.RunSucceeded, LastPlan: recordedPlan("sha256:1", 2, false), LastCleanTime: over, Preflight: recordedChecks,
				Removed: 2, Freed: resource.NewQuantity(3*mib, resource.BinarySI), Proof: &v1alpha1.CleanupProof{Result: "Passed", Message: "as before"},
			},
			answer: v1alpha1.RequestSucceeded, message: "freed 3.0 MiB",
		},
		"applied, and not proven": {
			applies: "sha256:1",
			run: ended(0, report.Report{
				Outcome: report.Applied, Preflight: passed, RemovedEntries: 2, FreedBytes: 3 * mib, Modules: 2, BuildEntries: 4, ManifestDigest: "sha256:left",
				Proof: &report.Proof{Result: report.Fail, Compiled: 6, Message: "6 packages were compiled"},
			}, nil),
			want: v1alpha1.CleanupStatus{
				Outcome: v1alpha1.RunSucceeded, LastPlan: recordedPlan("sha256:1", 2, false), LastCleanTime: over, Preflight: recordedChecks,
				Removed: 2, Freed: resource.NewQuantity(3*mib, resource.BinarySI), Proof: &v1alpha1.CleanupProof{Result: "Failed", Compiled: 6, Message: "6 packages were compiled"},
			},
			answer: v1alpha1.RequestSucceeded, message: "freed 3.0 MiB; not proven warm, so a warm-up is due: 6 packages were compiled",
		},
		"paused": {
			run: ended(0, report.Report{Outcome: report.Paused, Message: "reuse: 2 packages", Preflight: append(passed, report.Check{Name: report.Reuse, Result: report.Fail, Message: "2 packages"})}, nil),
			want: v1alpha1.CleanupStatus{
				Outcome: v1alpha1.RunSucceeded, Message: "reuse: 2 packages", LastPlanTime: began, LastPlan: recordedPlan("sha256:1", 2, false), Paused: "reuse",
				Preflight: append(recordedChecks, v1alpha1.CleanupCheck{Name: "reuse", Result: "Failed", Message: "2 packages"}),
			},
			answer: v1alpha1.RequestFailed, message: "cleanup is paused: the check reuse did not pass: 2 packages",
		},
		"left corrupt": {
			applies: "sha256:1",
			run:     ended(1, report.Report{Outcome: report.Corrupt, Message: "1 corrupt", Preflight: passed, Modules: 2, BuildEntries: 4, ManifestDigest: "sha256:left"}, nil),
			want:    v1alpha1.CleanupStatus{Outcome: v1alpha1.RunFailed, Message: "1 corrupt", Failures: 5, LastPlan: recordedPlan("sha256:1", 2, false), Preflight: recordedChecks},
			answer:  v1alpha1.RequestFailed, message: "1 corrupt",
		},
		"failed": {
			applies: "sha256:1",
			run:     ended(1, report.Report{Outcome: report.Failed, Message: "no space left", Preflight: passed, Modules: 9, ManifestDigest: "sha256:left"}, nil),
			want:    v1alpha1.CleanupStatus{Outcome: v1alpha1.RunFailed, Message: "no space left", Failures: 5, LastPlan: recordedPlan("sha256:1", 2, true), ApprovedPlan: "sha256:1", Preflight: recordedChecks},
			answer:  v1alpha1.RequestFailed, message: "no space left",
		},
	} {
		turn := warmedOnce()
		turn.cache.Spec.Cleanup = &v1alpha1.Cleanup{Approval: v1alpha1.ApprovalRequired}
		if tt.automatic {
			turn.cache.Spec.Cleanup.Approval = v1alpha1.ApprovalAutomatic
		}
		turn.cache.Status.Cleanup = &v1alpha1.CleanupStatus{
			Failures: 4, Paused: "reuse", ApprovedPlan: "sha256:1", LastPlan: recordedPlan("sha256:1", 2, true), Webhook: &v1alpha1.WebhookStatus{PlanDigest: "sha256:1"},
		}
		turn.cache.Status.Cleanup.LastPlan.Open = !tt.closed
		accept(turn, v1alpha1.RequestCleanup)
		turn.Run = tt.run
		turn.Run.Annotations[v1alpha1.CauseAnnotation] = strings.Repeat("c", 300)
		if tt.bounds == "" {
			tt.bounds = "b1"
		}
		turn.Run.Annotations[v1alpha1.InputsAnnotation] = tt.bounds
		turn.Run.Annotations[v1alpha1.CacheRequestAnnotation] = "Cleanup r/u"
		if tt.applies != "" {
			turn.Run.Annotations[v1alpha1.PlanAnnotation] = tt.applies
		}
		cleanUp{}.record(turn)
		want := tt.want
		if want.LastPlan.Open && want.LastPlan.Digest == "sha256:1" && want.ApprovedPlan != "" {
			want.Webhook = &v1alpha1.WebhookStatus{PlanDigest: "sha256:1"}
		}
		want.LastPlan.Bounds = tt.bounds
		want.Run, want.Cause, want.StartTime, want.CompletionTime = "c1", strings.Repeat("c", 256), began, over
		if diff := cmp.Diff(want, *turn.cache.Status.Cleanup); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if req := turn.cache.Status.Request; req.Outcome != tt.answer || req.Message != tt.message {
			t.Errorf("%s: answered %s %q, want %s %q", name, req.Outcome, req.Message, tt.answer, tt.message)
		}
		left := strings.Contains(tt.run.Message, "sha256:left")
		if got := turn.cache.Status.ManifestDigest; (got == "sha256:left") != left || !left && got != "sha256:warm" {
			t.Errorf("%s: the digest is %s", name, got)
		}
		counts := v1alpha1.CacheCounts{Modules: 3, BuildEntries: 5}
		if left && name != "failed" {
			counts = v1alpha1.CacheCounts{Modules: 2, BuildEntries: 4}
		}
		if got := turn.cache.Status.Counts; got != counts {
			t.Errorf("%s: counts %+v, want %+v", name, got, counts)
		}
		if got := (cleanUp{}).recorded(turn.cache); got != "c1" {
			t.Errorf("%s: the recorded run is %q", name, got)
		}
	}
}

// TestRecordDisrupted holds that a cleanup that was disrupted is repeated, and that one
// of another PVC records nothing of what it left there.
func TestRecordDisrupted(t *testing.T) {
	turn := warmedOnce()
	turn.Run = jobrun.Outcome{Phase: jobrun.Ended, Run: "c1", Started: now, Ended: now, Cause: "evicted"}
	cleanUp{}.record(turn)
	if c := turn.cache.Status.Cleanup; c.Outcome != v1alpha1.RunInconclusive || c.Message != "evicted" || c.Failures != 1 || c.LastPlan != nil {
		t.Errorf("disrupted: %+v", c)
	}
	turn.Run = ended(0, report.Report{
		Outcome: report.Applied, UsedBytes: 3 * mib, AvailableBytes: mib, Modules: 2, ManifestDigest: "sha256:left", Proof: &report.Proof{Result: report.Pass},
	}, map[string]string{v1alpha1.PVCUIDAnnotation: "u0"})
	cleanUp{}.record(turn)
	if s := turn.cache.Status; s.ManifestDigest != "sha256:warm" || s.Counts.Modules != 3 || s.Storage.Used != nil || s.Cleanup.Removed != 0 {
		t.Errorf("of another PVC: %+v", s)
	}
}

// TestRecordUsage holds what is recorded of the file system that a run found: of a
// file system that others share, what the volume may use.
func TestRecordUsage(t *testing.T) {
	inodes := func(n int64) *int64 { return &n }
	for name, tt := range map[string]struct {
		found    report.Report
		capacity string
		used     string // empty: not recorded
		percent  int32
		inodes   *int64
		holds    *int64
	}{
		"nothing measured":      {report.Report{CapacityBytes: 8 * mib}, "8Mi", "", 0, nil, nil},
		"an empty one":          {report.Report{AvailableBytes: 8 * mib, CapacityBytes: 8 * mib}, "8Mi", "0", 0, nil, nil},
		"a full one":            {report.Report{UsedBytes: 8 * mib, CapacityBytes: 8 * mib}, "8Mi", "8Mi", 100, nil, nil},
		"less than a MiB":       {report.Report{UsedBytes: 2*mib - 1, AvailableBytes: 6 * mib, CapacityBytes: 8 * mib}, "8Mi", "1Mi", 25, nil, nil},
		"inodes":                {report.Report{UsedBytes: mib, AvailableBytes: mib, Inodes: 100, InodesUsed: 40}, "", "1Mi", 50, inodes(100), inodes(40)},
		"one inode":             {report.Report{UsedBytes: mib, AvailableBytes: mib, Inodes: 1, InodesUsed: 1}, "", "1Mi", 50, inodes(1), inodes(1)},
		"shared":                {report.Report{UsedBytes: 900 * mib, AvailableBytes: 100 * mib, CapacityBytes: 1000 * mib, TreeBytes: 2 * mib, Inodes: 100}, "8Mi", "2Mi", 25, nil, nil},
		"shared, size unknown ": {report.Report{UsedBytes: 900 * mib, AvailableBytes: 100 * mib, CapacityBytes: 1000 * mib, TreeBytes: 2 * mib}, "", "900Mi", 90, nil, nil},
	} {
		turn := warmedOnce()
		status := &turn.cache.Status.Storage
		status.Inodes, status.InodesUsed = inodes(7), inodes(6)
		if tt.capacity != "" {
			status.Capacity = ptr.To(resource.MustParse(tt.capacity))
		}
		tt.found.Outcome = report.Failed
		turn.Run = ended(1, tt.found, nil)
		cleanUp{}.record(turn)
		if tt.used == "" {
			if status.Used != nil || status.UsedPercent != nil || ptr.Deref(status.Inodes, 0) != 7 || ptr.Deref(status.InodesUsed, 0) != 6 {
				t.Errorf("%s: %+v", name, status)
			}
			continue
		}
		want := v1alpha1.CacheStorageStatus{
			VolumeName: "v1", Capacity: status.Capacity, MeasuredCapacity: status.Capacity, Used: ptr.To(resource.MustParse(tt.used)), UsedPercent: &tt.percent,
			Inodes: tt.inodes, InodesUsed: tt.holds,
		}
		if diff := cmp.Diff(want, *status); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestManyChecks holds that a report of more checks than the status can hold does not
// make it invalid.
func TestManyChecks(t *testing.T) {
	var r report.Report
	for range 9 {
		r.Preflight = append(r.Preflight, report.Check{Name: strings.Repeat("n", 40), Result: report.Result(strings.Repeat("r", 20)), Message: strings.Repeat("m", 2000)})
	}
	checks := preflight(r)
	if len(checks) != 8 {
		t.Fatalf("%d checks", len(checks))
	}
	if c := checks[7]; len(c.Name) != 32 || len(c.Result) != 16 || len(c.Message) != 1024 {
		t.Errorf("lengths %d, %d, %d", len(c.Name), len(c.Result), len(c.Message))
	}
	if got := preflight(report.Report{Preflight: r.Preflight[:2]}); len(got) != 2 {
		t.Errorf("%d checks of 2", len(got))
	}
}

// checked is the turn after a check that ended like this.
func checked(t *turn, run string, v integrity.Verdict) {
	t.Run = ended(int32(exitcode.OfVerdict(v.Verdict)), v, map[string]string{v1alpha1.CauseAnnotation: "CheckIntegrity r/u", v1alpha1.CacheRequestAnnotation: "CheckIntegrity r/u"})
	t.Run.Run = run
	integrityCheck{}.record(t)
	t.Stored = t.cache.DeepCopy()
}

// TestRecordCheck holds what checks leave in the status, one after the other.
func TestRecordCheck(t *testing.T) {
	turn := warmedOnce()
	turn.cache.Spec.Layers = []v1alpha1.CacheLayer{v1alpha1.LayerModules, v1alpha1.LayerBuild}
	accept(turn, v1alpha1.RequestCheckIntegrity)
	inconclusive := integrity.Verdict{Verdict: integrity.Inconclusive, Message: "no memory", UsedBytes: mib, AvailableBytes: 3 * mib}
	for i, run := range []string{"r1", "r2"} {
		checked(turn, run, inconclusive)
		status, attempt := turn.cache.Status.Integrity, int32(i)+1
		if status.Run != run || status.Verdict != v1alpha1.VerdictInconclusive || status.Attempts != attempt || status.InconclusiveAttempts != attempt || status.LastIntactTime != nil ||
			status.VolumeName != "v1" || status.Cause != "CheckIntegrity r/u" || !status.StartTime.Time.Equal(now.Add(-time.Minute)) || !status.CompletionTime.Time.Equal(now) {
			t.Errorf("attempt %d: %+v", attempt, status)
		}
		want := "attempt " + string(rune('0'+attempt)) + " was inconclusive: no memory"
		if req := turn.cache.Status.Request; req.Outcome != v1alpha1.RequestAccepted || req.Message != want {
			t.Errorf("attempt %d: %+v, want %q", attempt, req, want)
		}
	}
	if used := turn.cache.Status.Storage.UsedPercent; ptr.Deref(used, 0) != 25 {
		t.Errorf("used %v", used)
	}
	checked(turn, "r3", inconclusive)
	if req := turn.cache.Status.Request; req.Outcome != v1alpha1.RequestFailed || req.Message != "inconclusive after 3 attempts: no memory" {
		t.Errorf("after the last attempt: %+v", req)
	}
	accept(turn, v1alpha1.RequestCheckIntegrity)
	intact := integrity.Verdict{Verdict: integrity.Intact, Digest: "sha256:now"}
	intact.Counts.Modules, intact.Counts.BuildEntries = 8, 9
	checked(turn, "r4", intact)
	status := turn.cache.Status.Integrity
	if status.Verdict != v1alpha1.VerdictIntact || status.InconclusiveAttempts != 0 || status.Attempts != 4 || status.LastIntactTime == nil || !status.LastIntactTime.Time.Equal(now) {
		t.Errorf("intact: %+v", status)
	}
	if got := turn.cache.Status.Counts; got != (v1alpha1.CacheCounts{Modules: 8, BuildEntries: 9}) {
		t.Errorf("counts %+v", got)
	}
	if req := turn.cache.Status.Request; req.Outcome != v1alpha1.RequestSucceeded || req.Message != "Intact: 8 module versions and 9 build entries hold what they should" {
		t.Errorf("intact: %+v", req)
	}
	accept(turn, v1alpha1.RequestCheckIntegrity)
	checked(turn, "r5", integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1, Message: "1 corrupt"})
	if status := turn.cache.Status.Integrity; status.Verdict != v1alpha1.VerdictCorrupt || status.LastIntactTime == nil {
		t.Errorf("corrupt: %+v", status)
	}
	if req := turn.cache.Status.Request; req.Outcome != v1alpha1.RequestAccepted {
		t.Errorf("a corrupt cache is answered before its remedy is known: %+v", req)
	}
	if got := turn.cache.Status.Counts.Modules; got != 8 {
		t.Errorf("a corrupt cache holds %d modules", got)
	}
}

// TestAttemptsOfAnotherCause holds that attempts are counted for one cause and one volume.
func TestAttemptsOfAnotherCause(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.IntegrityStatus){
		"cause":  func(i *v1alpha1.IntegrityStatus) { i.Cause = "another" },
		"volume": func(i *v1alpha1.IntegrityStatus) { i.VolumeName = "v0" },
	} {
		turn := warmedOnce()
		checked(turn, "r1", integrity.Verdict{Verdict: integrity.Inconclusive, Message: "m"})
		change(turn.cache.Status.Integrity)
		checked(turn, "r2", integrity.Verdict{Verdict: integrity.Inconclusive, Message: "m"})
		if i := turn.cache.Status.Integrity; i.Attempts != 1 || i.InconclusiveAttempts != 1 {
			t.Errorf("another %s: attempt %d, inconclusive %d", name, i.Attempts, i.InconclusiveAttempts)
		}
	}
}

// TestRecordDoubt holds when an inconclusive check leaves a volume Corrupt: it was
// before, or two snapshots of it in a row are and no further attempt is made.
func TestRecordDoubt(t *testing.T) {
	corruptSnapshots := func(turn *turn) {
		for i, name := range []string{"s1", "s2"} {
			s := v1alpha1.CacheSnapshot{}
			s.Name, s.Labels = name, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
			s.Status.Source = &v1alpha1.SourceRecord{VolumeName: "v1"}
			s.Status.CreationTime = ptr.To(metav1.NewTime(now.Add(time.Duration(i) * time.Minute)))
			s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
			turn.Snapshots = append(turn.Snapshots, s)
		}
	}
	const two = "CacheSnapshots s1 and s2 of the volume are Corrupt, one after the other; the check of the volume itself was inconclusive: no memory"
	for name, tt := range map[string]struct {
		change   func(*turn)
		attempts int
		verdict  v1alpha1.Verdict
		message  string
	}{
		"nothing is known": {func(*turn) {}, livecheck.MaxAttempts, v1alpha1.VerdictInconclusive, "no memory"},
		"it was corrupt": {func(t *turn) {
			t.cache.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v1", VerificationStatus: v1alpha1.VerificationStatus{
				Verdict: v1alpha1.VerdictCorrupt, Message: "1 corrupt", Findings: map[string]int64{"c": 1}, Counts: v1alpha1.VerifiedCounts{Modules: 4}, Examples: []v1alpha1.FindingExample{{Class: "c"}},
			}}
		}, 1, v1alpha1.VerdictCorrupt, "1 corrupt"},
		"another volume was corrupt": {func(t *turn) {
			t.cache.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v0", VerificationStatus: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt}}
		}, 1, v1alpha1.VerdictInconclusive, "no memory"},
		"two snapshots, and another attempt": {corruptSnapshots, livecheck.MaxAttempts - 1, v1alpha1.VerdictInconclusive, "no memory"},
		"two snapshots":                      {corruptSnapshots, livecheck.MaxAttempts, v1alpha1.VerdictCorrupt, two},
		"one was intact when it was created": {func(t *turn) {
			corruptSnapshots(t)
			t.Snapshots[0].Status.Repair = &v1alpha1.RepairStatus{}
			t.Snapshots[0].Status.Repair.Found.Verdict = v1alpha1.VerdictIntact
		}, livecheck.MaxAttempts, v1alpha1.VerdictInconclusive, "no memory"},
		"one has no source":        {func(t *turn) { corruptSnapshots(t); t.Snapshots[1].Status.Source = nil }, livecheck.MaxAttempts, v1alpha1.VerdictInconclusive, "no memory"},
		"one is not created":       {func(t *turn) { corruptSnapshots(t); t.Snapshots[1].Status.CreationTime = nil }, livecheck.MaxAttempts, v1alpha1.VerdictInconclusive, "no memory"},
		"one is another client's":  {func(t *turn) { corruptSnapshots(t); t.Snapshots[1].Labels = nil }, livecheck.MaxAttempts, v1alpha1.VerdictInconclusive, "no memory"},
		"one is of another volume": {func(t *turn) { corruptSnapshots(t); t.Snapshots[1].Status.Source.VolumeName = "v0" }, livecheck.MaxAttempts, v1alpha1.VerdictInconclusive, "no memory"},
	} {
		turn := warmedOnce()
		tt.change(turn)
		for range tt.attempts {
			checked(turn, "r", integrity.Verdict{Verdict: integrity.Inconclusive, Message: "no memory"})
		}
		i := turn.cache.Status.Integrity
		if i.Verdict != tt.verdict || i.Message != tt.message || i.InconclusiveAttempts != int32(tt.attempts) {
			t.Errorf("%s: %+v, want %s %q", name, i, tt.verdict, tt.message)
		}
		if name == "it was corrupt" && (i.Findings["c"] != 1 || i.Counts.Modules != 4 || len(i.Examples) != 1) {
			t.Errorf("%s: what was found is lost: %+v", name, i)
		}
	}
}

// TestRecordCounts holds that a check counts only the layers that it checked, on the PVC
// that there is.
func TestRecordCounts(t *testing.T) {
	both := []v1alpha1.CacheLayer{v1alpha1.LayerModules, v1alpha1.LayerBuild}
	for name, tt := range map[string]struct {
		layers, checks []v1alpha1.CacheLayer
		pvc            string
		want           v1alpha1.CacheCounts
	}{
		"both":                 {both, nil, "u1", v1alpha1.CacheCounts{Modules: 8, BuildEntries: 9}},
		"modules":              {both, both[:1], "u1", v1alpha1.CacheCounts{Modules: 8, BuildEntries: 5}},
		"build":                {both, both[1:], "u1", v1alpha1.CacheCounts{Modules: 3, BuildEntries: 9}},
		"one that is not held": {both[:1], both, "u1", v1alpha1.CacheCounts{Modules: 8, BuildEntries: 5}},
		"another PVC":          {both, nil, "u0", v1alpha1.CacheCounts{Modules: 3, BuildEntries: 5}},
	} {
		turn := warmedOnce()
		turn.cache.Spec.Layers = tt.layers
		turn.cache.Spec.Integrity = &v1alpha1.CacheIntegrity{Checks: tt.checks}
		turn.Run.Annotations = map[string]string{v1alpha1.PVCUIDAnnotation: tt.pvc}
		turn.recordCounts(v1alpha1.VerifiedCounts{Modules: 8, BuildEntries: 9})
		if got := turn.cache.Status.Counts; got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestRecordWarmUp holds what a warm-up leaves in the status that failed, was disrupted,
// or wrote to another PVC than the one before.
func TestRecordWarmUp(t *testing.T) {
	for name, tt := range map[string]struct {
		run      jobrun.Outcome
		outcome  v1alpha1.RunOutcome
		message  string
		answer   v1alpha1.RequestOutcome
		digest   string
		failures int32
		success  string
	}{
		"no report":                  {ended(3, "line 1\nline 2", nil), v1alpha1.RunFailed, "the agent ended with exit code 3: line 1 | line 2", v1alpha1.RequestFailed, "sha256:warm", 1, "w1"},
		"a report of another result": {ended(1, map[string]any{"outcome": "Succeeded", "message": "odd"}, nil), v1alpha1.RunFailed, "odd", v1alpha1.RequestFailed, "sha256:warm", 1, "w1"},
		"failed":                     {ended(0, map[string]any{"outcome": "Failed", "message": "no", "manifestDigest": "sha256:left"}, nil), v1alpha1.RunFailed, "no", v1alpha1.RequestFailed, "sha256:left", 1, "w1"},
		"disrupted":                  {jobrun.Outcome{Phase: jobrun.Ended, Run: "c1", Cause: "evicted", Annotations: map[string]string{}}, v1alpha1.RunInconclusive, "evicted", v1alpha1.RequestFailed, "sha256:warm", 1, "w1"},
		"succeeded":                  {ended(0, map[string]any{"outcome": "Succeeded", "message": "a note", "manifestDigest": "sha256:left", "corruptRemoved": 2}, nil), v1alpha1.RunSucceeded, "a note", v1alpha1.RequestSucceeded, "sha256:left", 0, "c1"},
		"on another PVC":             {ended(1, map[string]any{"outcome": "Failed", "message": "no"}, map[string]string{v1alpha1.PVCUIDAnnotation: "u2"}), v1alpha1.RunFailed, "no", v1alpha1.RequestFailed, "", 1, ""},
	} {
		turn := warmedOnce()
		turn.cache.Status.WarmUp.Failures = 0
		accept(turn, v1alpha1.RequestWarmUp)
		turn.Run = tt.run
		turn.Run.Annotations[v1alpha1.CacheRequestAnnotation] = "WarmUp r/u"
		warmUp{}.record(turn)
		status := turn.cache.Status
		if w := status.WarmUp; w.Run != "c1" || w.Outcome != tt.outcome || w.Message != tt.message || w.Failures != tt.failures || w.LastSuccessRun != tt.success || (w.LastSuccessTime == nil) != (tt.success == "") {
			t.Errorf("%s: %+v", name, w)
		}
		if w := status.WarmUp; (w.CorruptRemoved == 2) != (name == "succeeded") {
			t.Errorf("%s: %d corrupt entries were removed", name, w.CorruptRemoved)
		}
		if status.ManifestDigest != tt.digest || status.Request.Outcome != tt.answer || status.Request.Message != tt.message {
			t.Errorf("%s: digest %q, request %+v", name, status.ManifestDigest, status.Request)
		}
	}
}

// TestRestoredDigest holds that the digest of what a PVC was restored to outlives a
// warm-up that failed there.
func TestRestoredDigest(t *testing.T) {
	turn := warmedOnce()
	turn.PVC.UID = "u2"
	turn.cache.Status.Content = &v1alpha1.ContentStatus{Reason: v1alpha1.ReplacementRestore, VolumeName: "v1", Snapshot: "s"}
	turn.Run = ended(1, map[string]any{"outcome": "Failed", "message": "no"}, map[string]string{v1alpha1.PVCUIDAnnotation: "u2"})
	warmUp{}.record(turn)
	if got := turn.cache.Status; got.ManifestDigest != "sha256:warm" || got.WarmUp.PersistentVolumeClaimUID != "u2" || got.WarmUp.LastSuccessRun != "" {
		t.Errorf("%+v", got)
	}
}

// TestToolchainRecord holds what is recorded of the toolchain, and that another one of
// the same version is reported in front of the warm-up's own message.
func TestToolchainRecord(t *testing.T) {
	turn := warmedOnce()
	turn.cache.Spec.Environment.MountPath = "/gocache"
	warm := func(goSum, message string) v1alpha1.WarmUpStatus {
		turn.Run = ended(0, map[string]any{
			"outcome": "Succeeded", "message": message, "goVersion": "go1.26.8 linux/amd64", "goSHA256": goSum, "compileSHA256": "cc", "goFlags": "-trimpath", "cgoEnabled": "1", "modules": 6, "buildEntries": 7,
		}, nil)
		warmUp{}.record(turn)
		return turn.cache.Status.WarmUp
	}
	if w := warm("g1", ""); w.Message != "" {
		t.Errorf("the first one: %q", w.Message)
	}
	want := &v1alpha1.ToolchainRecord{Version: "go1.26.8", Platform: "linux/amd64", GoSHA256: "g1", CompilerSHA256: "cc", GoFlags: "-trimpath", CGOEnabled: "1", MountPath: "/gocache"}
	if diff := cmp.Diff(want, turn.cache.Status.Toolchain); diff != "" {
		t.Error(diff)
	}
	if got := turn.cache.Status.Counts; got != (v1alpha1.CacheCounts{Modules: 6, BuildEntries: 7}) {
		t.Errorf("counts %+v", got)
	}
	const another = "the go command of go1.26.8 linux/amd64 is another one than at the warm-up before (sha256 g2, was g1): see whether you meant to change it, and name toolchain.image with a digest"
	if w := warm("g2", ""); w.Message != another {
		t.Errorf("another one: %q", w.Message)
	}
	if w := warm("g1", "a note"); w.Message != strings.ReplaceAll(another, "g2, was g1", "g1, was g2")+"; a note" {
		t.Errorf("another one, and a note: %q", w.Message)
	}
	if got := short("0123456789abcdef"); got != "0123456789ab" {
		t.Errorf("a long digest is shown as %q", got)
	}
}
