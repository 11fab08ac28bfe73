package gocache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/testing/cluster"
)

// How a check may end.
var (
	intact = &cluster.Ending{Message: `{"verdict":"Intact","digest":"sha256:aa","bytes":5,"durationSeconds":1.5,` +
		`"counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"findings":{},"usedBytes":104857600,"availableBytes":943718400}`}
	corrupt = &cluster.Ending{Exit: 3, Message: `{"verdict":"Corrupt","message":"1 corrupt: FlippedZip 1","corrupt":1,` +
		`"counts":{"modules":3},"findings":{"FlippedZip":1},"examples":[{"class":"FlippedZip","severity":"corrupt","cache":"module","path":"a@v1.zip","detail":"h1 differs"}]}`}
	evicted = &cluster.Ending{Evicted: true}
)

// checkedBy declares checks of the cache PVC.
func checkedBy(i v1alpha1.CacheIntegrity) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) { s.Integrity = &i }
}

var everyHour = v1alpha1.CacheIntegrity{Schedule: v1alpha1.Schedule{Schedule: "@every 1h"}}

// TestScheduledCheck follows a check of the cache PVC from its time to its
// verdict, then one that finds it corrupt, and one that finds it repaired.
func TestScheduledCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(checkedBy(everyHour), withoutSnapshots)
	w.settle()
	w.condition(v1alpha1.IntactCondition, metav1.ConditionUnknown, v1alpha1.ReasonWaiting, "not checked yet")
	if len(w.checks) != 0 {
		t.Fatalf("%d checks before their time", len(w.checks))
	}

	w.checked = nil
	w.wait(61 * time.Minute)
	job := get[batchv1.Job](w, "ci-writer")
	container := job.Spec.Template.Spec.Containers[0]
	if m := container.VolumeMounts[0]; m.Name != "cache" || !m.ReadOnly {
		t.Errorf("the PVC is mounted %+v, want read-only", m)
	}
	// The warm-ups of this test report no digest.
	if got := strings.Join(container.Command, " "); !strings.HasSuffix(got, "--modcache /cache/mod --buildcache /cache/build --volume /cache --live --never-sealed --root /cache") {
		t.Errorf("command %s", got)
	}
	w.request("warm-up-1", v1alpha1.RequestWarmUp) // never beside a check
	w.settle()
	if len(w.warmUps) != 1 {
		t.Error("a warm-up runs beside a check")
	}

	w.checked = intact
	w.settle()
	w.condition(v1alpha1.IntactCondition, metav1.ConditionTrue, v1alpha1.ReasonIntact, "3 module versions and 7 build entries")
	w.answered("warm-up-1", v1alpha1.RequestSucceeded, "")
	c := w.get()
	if i := c.Status.Integrity; !strings.HasPrefix(i.Cause, livecheck.Scheduled) || i.VolumeName != c.Status.Storage.VolumeName || i.LastIntactTime == nil || i.Attempts != 1 {
		t.Errorf("integrity %+v", i)
	}
	if used := c.Status.Storage.Used; used == nil || used.String() != "100Mi" {
		t.Errorf("used %v, want 100Mi", used)
	}

	w.newEvents()
	w.checked = corrupt
	w.wait(61 * time.Minute)
	const found = "1 corrupt: FlippedZip 1 (FlippedZip, module cache: a@v1.zip: h1 differs); there is no verified snapshot"
	w.condition(v1alpha1.IntactCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt, found)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt, found)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCorrupt, found)
	if events := w.newEvents(); strings.Count(events, "Found the cache PVC corrupt") != 1 {
		t.Errorf("events %s", events)
	}

	w.checked = evicted // inconclusive, so that the verdict Corrupt stands
	w.wait(61 * time.Minute)
	w.condition(v1alpha1.IntactCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt, found)

	w.checked = intact
	w.wait(61 * time.Minute)
	w.condition(v1alpha1.IntactCondition, metav1.ConditionTrue, v1alpha1.ReasonIntact, "")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotsDisabled, "")
}

// TestInconclusiveCheck holds that a check without a result is repeated a few
// times, with growing pauses, and makes the cache neither Intact nor Corrupt.
func TestInconclusiveCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(checkedBy(v1alpha1.CacheIntegrity{Schedule: v1alpha1.Schedule{Schedule: "@every 100h"}}))
	w.settle()
	w.checked = evicted
	w.wait(101 * time.Hour)
	for range 10 {
		w.wait(time.Minute)
	}
	if len(w.checks) != livecheck.MaxAttempts {
		t.Errorf("%d checks, want %d", len(w.checks), livecheck.MaxAttempts)
	}
	w.condition(v1alpha1.IntactCondition, metav1.ConditionUnknown, v1alpha1.ReasonInconclusive, "the pod was disrupted")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestCorruptSnapshotMakesCheckDue holds that a corrupt snapshot makes a check of
// the cache PVC due at once, and does not make the cache Corrupt itself.
func TestCorruptSnapshotMakesCheckDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.corrupt = true
	w.cache(afterWarmUp, checkedBy(v1alpha1.CacheIntegrity{}))
	w.settle()
	if len(w.checks) != 1 {
		t.Errorf("%d checks, want one", len(w.checks))
	}
	w.condition(v1alpha1.IntactCondition, metav1.ConditionTrue, v1alpha1.ReasonIntact, "")
	if cause := w.get().Status.Integrity.Cause; cause != "CacheSnapshot "+w.names()[0]+" is Corrupt" {
		t.Errorf("cause %s", cause)
	}
	w.corrupt = false // of the snapshot that takes its place
	w.wait(time.Hour)
	if len(w.checks) != 1 {
		t.Errorf("%d checks of one conviction, want one", len(w.checks))
	}
}

// TestRepairedSnapshot holds that a snapshot which had to be repaired makes a
// check due too: the cache PVC has the same corrupt entries.
func TestRepairedSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(afterWarmUp, checkedBy(v1alpha1.CacheIntegrity{}))
	w.settle()
	if len(w.checks) != 0 {
		t.Fatalf("%d checks of a cache with an intact snapshot", len(w.checks))
	}
	snapshot := get[v1alpha1.CacheSnapshot](w, w.names()[0])
	snapshot.Status.Repair = &v1alpha1.RepairStatus{Found: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt}}
	w.must(server.Client.Status().Update(t.Context(), snapshot))
	w.checked = corrupt
	w.settle()
	w.condition(v1alpha1.IntactCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt, "FlippedZip")
}

// TestTwoCorruptSnapshots holds that two corrupt snapshots of a volume make the
// cache Corrupt while its checks are inconclusive, and that one does not.
func TestTwoCorruptSnapshots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.corrupt, w.checked = true, evicted
	w.cache(afterWarmUp, checkedBy(v1alpha1.CacheIntegrity{}))
	w.settle()
	for range 10 {
		w.wait(time.Minute)
	}
	w.condition(v1alpha1.IntactCondition, metav1.ConditionUnknown, v1alpha1.ReasonInconclusive, "")
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	for range 10 {
		w.wait(time.Minute)
	}
	if len(w.snapshots()) != 2 || len(w.checks) != 2*livecheck.MaxAttempts {
		t.Fatalf("%d snapshots, %d checks", len(w.snapshots()), len(w.checks))
	}
	w.condition(v1alpha1.IntactCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt, "of the volume are Corrupt, one after the other")
}

// TestFailureReport holds what a build that failed is answered.
func TestFailureReport(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ending  *cluster.Ending
		change  func(*v1alpha1.GoCacheSpec)
		outcome v1alpha1.RequestOutcome
		message string
		checks  int
	}{
		"intact":       {intact, func(*v1alpha1.GoCacheSpec) {}, v1alpha1.RequestSucceeded, "Intact: 3 module versions", 1},
		"corrupt":      {corrupt, afterWarmUp, v1alpha1.RequestSucceeded, "Corrupt: 1 corrupt: FlippedZip 1 (FlippedZip, module cache: a@v1.zip: h1 differs); roll it back with a CacheRequest of action Rollback and argument ci-", 1},
		"inconclusive": {evicted, func(*v1alpha1.GoCacheSpec) {}, v1alpha1.RequestFailed, "inconclusive after 3 attempts: the pod was disrupted", 3},
		"comes to no end": {nil, checkedBy(v1alpha1.CacheIntegrity{Deadline: &metav1.Duration{Duration: 5 * time.Minute}}),
			v1alpha1.RequestFailed, "no result within 5m0s", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache(tt.change)
			w.settle()
			w.checked = tt.ending
			w.request("failure-report-job-17", v1alpha1.RequestReportFailure)
			w.settle()
			for range 10 {
				w.wait(time.Minute)
			}
			w.answered("failure-report-job-17", tt.outcome, tt.message)
			if len(w.checks) != tt.checks {
				t.Errorf("%d checks, want %d", len(w.checks), tt.checks)
			}
		})
	}
}

// TestManyReportsOfFailures holds that reports which wait together are answered by one
// check, whatever it finds, also if the report that it is made for is deleted.
func TestManyReportsOfFailures(t *testing.T) {
	t.Parallel()
	const reports = 50
	for name, tt := range map[string]struct {
		ending  *cluster.Ending
		change  func(*v1alpha1.GoCacheSpec)
		deleted bool
		outcome v1alpha1.RequestOutcome
		message string
		checks  int
	}{
		"intact":             {ending: intact, outcome: v1alpha1.RequestSucceeded, message: "Intact, by the check", checks: 1},
		"corrupt":            {ending: corrupt, change: checkedBy(v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}), outcome: v1alpha1.RequestSucceeded, message: "Corrupt, by the check", checks: 1},
		"inconclusive":       {ending: evicted, outcome: v1alpha1.RequestFailed, message: "inconclusive after 3 attempts, the last by the check", checks: livecheck.MaxAttempts},
		"the first is taken": {ending: intact, deleted: true, outcome: v1alpha1.RequestSucceeded, message: "Intact, by the check", checks: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache(afterWarmUp, func(s *v1alpha1.GoCacheSpec) {
				if tt.change != nil {
					tt.change(s)
				}
			})
			w.settle()
			w.checked = nil
			for n := range reports {
				w.request(fmt.Sprintf("report-%02d", n), v1alpha1.RequestReportFailure)
			}
			w.wait(5 * time.Minute) // the API server has its own clock: the check begins after they were created
			first := w.get().Status.Request
			if len(w.checks) != 1 || first == nil {
				t.Fatalf("%d checks run for %+v, want one", len(w.checks), first)
			}
			if tt.deleted {
				w.must(server.Client.Delete(t.Context(), w.requests.Get(t, first.Name)))
				w.settle()
			}
			w.checked = tt.ending
			w.settle()
			for range 10 {
				w.wait(time.Minute)
			}
			if len(w.checks) != tt.checks {
				t.Errorf("%d checks for %d reports, want %d", len(w.checks), reports, tt.checks)
			}
			for n := range reports {
				switch name := fmt.Sprintf("report-%02d", n); {
				case name != first.Name:
					w.answered(name, tt.outcome, tt.message)
					w.answered(name, tt.outcome, "for ReportFailure "+first.Name+"/"+first.UID)
				case !tt.deleted:
					w.answered(name, tt.outcome, "")
				}
			}
		})
	}
}

// TestReportOfAFailureGoesFirst holds that the check for a failure report starts
// before actions that are only due, and waits for the writer that runs.
func TestReportOfAFailureGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	w.cache(fromModules)
	w.settle()
	w.ending = nil
	w.modules("two")
	w.wait(pass.Interval)
	if len(w.warmUps) != 2 {
		t.Fatalf("%d warm-ups, want 2", len(w.warmUps))
	}
	w.request("failure-report-1", v1alpha1.RequestReportFailure)
	w.settle()
	w.modules("three") // so that the next warm-up is due as soon as this one ends
	w.checked = nil
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7})
	w.settle()
	if action := get[batchv1.Job](w, "ci-writer").Labels[v1alpha1.ActionLabel]; action != "integrity" {
		t.Fatalf("the writer does %s, want integrity", action)
	}
	w.checked = intact
	w.settle()
	w.answered("failure-report-1", v1alpha1.RequestSucceeded, "Intact")
	if len(w.warmUps) != 3 || len(w.checks) != 1 {
		t.Errorf("%d warm-ups and %d checks, want 3 and 1", len(w.warmUps), len(w.checks))
	}
}

// TestFailureReportRollsBack holds that a failure report on a corrupt cache is
// answered after the rollback, with the name of the restored snapshot.
func TestFailureReportRollsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(afterWarmUp, checkedBy(v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}))
	w.settle()
	before := w.get().Status.Storage.VolumeName
	w.checked = corrupt
	w.request("failure-report-1", v1alpha1.RequestReportFailure)
	w.settle()
	for range 5 {
		w.wait(time.Minute)
	}
	w.answered("failure-report-1", v1alpha1.RequestSucceeded, "h1 differs); rolled back to "+w.names()[0])
	c := w.get()
	if c.Status.Storage.VolumeName == before || c.Status.VolumeReplacement != nil {
		t.Errorf("storage %+v, swap %+v", c.Status.Storage, c.Status.VolumeReplacement)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.condition(v1alpha1.IntactCondition, metav1.ConditionUnknown, v1alpha1.ReasonWaiting, "was replaced")
	if len(w.checks) != 1 {
		t.Errorf("%d checks, want one", len(w.checks))
	}
}

// TestCheckWithoutItsTrust holds that a check whose trust data is missing waits,
// while the other actions continue, that the status reports what it waits for,
// and that it is made as soon as the data exists.
func TestCheckWithoutItsTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(checkedBy(everyHour), func(s *v1alpha1.GoCacheSpec) {
		s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(false), Verification: v1alpha1.Verification{
			Trust: &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}},
		}}
	})
	w.settle()
	w.request("failure-report-1", v1alpha1.RequestReportFailure) // goes before the warm-up, which it must not hold back
	w.settle()
	w.wait(61 * time.Minute)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotsDisabled, "a check is due and waits: spec.snapshots.verification.trust.goSumRefs[0]: ConfigMap sums")
	w.answered("failure-report-1", v1alpha1.RequestFailed, "no result within 1h0m0s: it waited for spec.snapshots.verification.trust.goSumRefs[0]")
	w.request("warm-up-2", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm-up-2", v1alpha1.RequestSucceeded, "")
	w.must(server.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "sums"}, Data: map[string]string{"go.sum": "a v1 h1:x\n"},
	}))
	w.checked = nil
	w.wait(pass.Interval)
	command := strings.Join(get[batchv1.Job](w, "ci-writer").Spec.Template.Spec.Containers[0].Command, " ")
	if !strings.HasSuffix(command, "--gosum /trust/0/go.sum --full-coverage") {
		t.Errorf("command %s", command)
	}
}

// TestWriterGoesWhereThePVCIs holds that the Job of a PVC without access mode
// ReadWriteMany is placed on the node where a pod has mounted the PVC.
func TestWriterGoesWhereThePVCIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "reader"},
		Spec: corev1.PodSpec{
			NodeName: "node-7", Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci", ReadOnly: true}}}},
		},
	}
	w.must(server.Client.Create(t.Context(), pod))
	w.checked = nil
	w.request("integrity-1", v1alpha1.RequestCheckIntegrity)
	w.settle()
	affinity := get[batchv1.Job](w, "ci-writer").Spec.Template.Spec.Affinity
	if affinity == nil || !slices.ContainsFunc(affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return len(term.MatchFields) == 1 && slices.Equal(term.MatchFields[0].Values, []string{"node-7"})
	}) {
		t.Errorf("affinity %+v, want node-7", affinity)
	}
}
