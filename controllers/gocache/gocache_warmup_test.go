package gocache

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestFirstWarmUp follows a cache from its declaration to the offer of its
// first snapshot.
func TestFirstWarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(afterWarmUp)
	w.settle()

	c := w.get()
	if s := c.Status; s.WarmUp.Outcome != v1alpha1.RunSucceeded || s.Counts.Modules != 3 || s.Counts.BuildEntries != 7 || s.Toolchain == nil || s.Toolchain.Version != "go1.26.8" {
		t.Errorf("status %+v", s)
	}
	if c.Status.LatestVerifiedSnapshot == "" || c.Status.LatestVerifiedSnapshot != c.Status.LatestSnapshot {
		t.Errorf("latest snapshot %q, latest verified %q", c.Status.LatestSnapshot, c.Status.LatestVerifiedSnapshot)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "3 module versions and 7 build entries; consumers get "+c.Status.LatestVerifiedSnapshot)
	w.condition(v1alpha1.PVCBoundCondition, metav1.ConditionTrue, v1alpha1.ReasonPVCBound, "PVC ci")
	w.condition(v1alpha1.ReconcilingCondition, "", "", "")
	if c.Status.ObservedGeneration != c.Generation {
		t.Errorf("observed generation %d, want %d", c.Status.ObservedGeneration, c.Generation)
	}
	events := w.newEvents()
	for _, want := range []string{"WarmUpStarted Started a warm-up: the cache is new", "Warmed Warmed in", "SnapshotRequested", "SnapshotOffered"} {
		if strings.Count(events, want) != 1 {
			t.Errorf("events say %q %d times, want once:\n%s", want, strings.Count(events, want), events)
		}
	}
	if exists[batchv1.Job](w, "ci-writer") {
		t.Error("the writer was not removed")
	}
	if n := len(w.snapshots()); n != 1 || len(w.warmUps) != 1 {
		t.Errorf("%d snapshots after %d warm-ups, want one after one", n, len(w.warmUps))
	}
}

// TestFailedWarmUp holds that a failure is reported, that the warm-up is repeated
// with growing pauses, and at once when its source changes, and that the failure
// is cleared after a success.
func TestFailedWarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no such module"})
	w.cache(fromModules, afterWarmUp)
	w.settle()
	w.condition(v1alpha1.WarmCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpFailed, "(1 in a row): no such module")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpFailed, "no such module")
	w.condition(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmUpFailed, "")
	if events := w.newEvents(); !strings.Contains(events, "Warning WarmUpFailed The warm-up failed: no such module") {
		t.Errorf("events: %s", events)
	}
	if len(w.snapshots()) > 0 {
		t.Error("a snapshot was taken of a cache that was never warm")
	}

	for failures, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		w.wait(pause - 2*time.Second)
		if n := len(w.warmUps); n != failures+1 {
			t.Fatalf("%d warm-ups before the pause of %v is over, want %d", n, pause, failures+1)
		}
		w.wait(2 * time.Second)
		if n := len(w.warmUps); n != failures+2 {
			t.Fatalf("%d warm-ups after the pause of %v, want %d", n, pause, failures+2)
		}
	}
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 1})
	w.modules("two")
	w.settle()
	if s := w.get().Status.WarmUp; s.Outcome != v1alpha1.RunSucceeded || s.Failures != 0 {
		t.Errorf("after the source was mended: %+v", s)
	}
	if events := w.newEvents(); !strings.Contains(events, "its sources or its toolchain changed") {
		t.Errorf("events: %s", events)
	}
}

// TestOutcomesOfAWarmUp lets the agent end in other ways.
func TestOutcomesOfAWarmUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ending  cluster.Ending
		outcome v1alpha1.RunOutcome
		message string
	}{
		"evicted":               {cluster.Ending{Evicted: true}, v1alpha1.RunInconclusive, "the pod was disrupted"},
		"pod gone":              {cluster.Ending{Exit: 1, Lost: true}, v1alpha1.RunInconclusive, "the pod is gone"},
		"killed":                {cluster.Ending{Exit: 137}, v1alpha1.RunInconclusive, "killed by signal 9"},
		"no report":             {cluster.Ending{Exit: 2, Message: "panic: oh"}, v1alpha1.RunFailed, "exit code 2: panic: oh"},
		"success by half":       {cluster.Ending{Exit: 1, Message: `{"outcome":"Succeeded"}`}, v1alpha1.RunFailed, ""},
		"wrote corrupt content": {*ended(warmreport.Report{Outcome: warmreport.Corrupt, Message: "1 corrupt"}), v1alpha1.RunFailed, "1 corrupt"},
		"exit 0, but corrupt":   {cluster.Ending{Message: `{"outcome":"Corrupt","message":"1 corrupt"}`}, v1alpha1.RunFailed, "1 corrupt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ending = &tt.ending
			w.cache(afterWarmUp)
			w.settle()
			if s := w.get().Status.WarmUp; s.Outcome != tt.outcome || !strings.Contains(s.Message, tt.message) || s.Failures != 1 || s.LastSuccessRun != "" {
				t.Errorf("status %+v, want %s, %q", s, tt.outcome, tt.message)
			}
			if meta.IsStatusConditionTrue(w.get().Status.Conditions, v1alpha1.ReadyCondition) || len(w.snapshots()) > 0 {
				t.Error("taken for a warm cache")
			}
		})
	}
}

// TestOneSourceMissing holds that a source that does not exist does not keep the
// others from being warmed, and is warmed when it is there.
func TestOneSourceMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	report := warmreport.Report{Outcome: warmreport.Succeeded, Modules: 1, Sources: []warmreport.SourceReport{
		{Name: "modules"}, {Name: "later", Failed: true, Message: "ConfigMap later does not exist"},
	}}
	w.ending = ended(report)
	jobs := w.jobs()
	w.cache(afterWarmUp, fromModules, func(s *v1alpha1.GoCacheSpec) {
		s.WarmUp.Sources = append(s.WarmUp.Sources, v1alpha1.WarmUpSource{ConfigMapRef: &v1alpha1.LocalReference{Name: "later"}})
	})
	w.settle()
	missing := warmreport.Source{Name: "later", Missing: "ConfigMap later does not exist"}
	if command := (*jobs)[0].Spec.Template.Spec.Containers[0].Command; !slices.Contains(command, missing.Flag()) {
		t.Errorf("the agent is not given %s: %q", missing.Flag(), command)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "1 of 2 sources failed: later: ConfigMap later does not exist; next attempt at ")
	if s := w.get().Status.WarmUp.Sources; len(s) != 2 || s[0].Outcome != v1alpha1.RunSucceeded || s[1].Outcome != v1alpha1.RunFailed {
		t.Errorf("sources %+v", s)
	}
	if n := len(w.snapshots()); n != 1 {
		t.Errorf("%d snapshots, want 1", n)
	}
	w.wait(time.Minute) // the retry
	if n := len(w.snapshots()); n != 1 || len(*jobs) != 2 {
		t.Errorf("%d snapshots after %d warm-ups, want 1 after 2: the retry warmed nothing more", n, len(*jobs))
	}
	report.Sources = []warmreport.SourceReport{{Name: "modules"}, {Name: "later"}}
	w.ending = ended(report)
	w.must(server.Client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "later"}, Data: map[string]string{"go.mod": "module m\n"}}))
	w.wait(pass.Interval)
	if s := w.get().Status.WarmUp; s.Failures != 0 || s.Message != "" || len(w.snapshots()) != 2 {
		t.Errorf("once it is there: %+v, %d snapshots", s, len(w.snapshots()))
	}
}

// TestToolchainTooOld holds that a toolchain that no source can be built with
// stalls the cache, in one line that names the field, until it changes.
func TestToolchainTooOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Sources: []warmreport.SourceReport{{
		Name: "modules", Failed: true, Reason: warmreport.ToolchainTooOld, Message: "go mod download: exit status 1 | go: go.mod requires go >= 1.27 (running go 1.26.8; GOTOOLCHAIN=local)",
	}}})
	w.cache(afterWarmUp, fromModules)
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonToolchainTooOld, "spec.toolchain.version 1.26.8 is too old: set a newer version")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonToolchainTooOld, "requires go >= 1.27")
	w.wait(2 * time.Hour)
	if len(w.warmUps) != 1 {
		t.Errorf("%d warm-ups, want 1: no retry can help", len(w.warmUps))
	}
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 1})
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Toolchain.Version = "1.27.0" })
	w.settle()
	w.condition(v1alpha1.StalledCondition, "", "", "")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestSourceMissing holds that a cache waits for its sources, and reports that.
func TestSourceMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(fromModules)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "ConfigMap modules does not exist")
	if w.last.RequeueAfter != pass.Interval {
		t.Errorf("looks again after %v, want %v: nothing else tells", w.last.RequeueAfter, pass.Interval)
	}
	w.must(server.Client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "modules"}}))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "ConfigMap modules has no key go.mod")
	w.modules("one")
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")

	// A source that goes later leaves the cache as warm as it was.
	w.must(server.Client.Delete(t.Context(), get[corev1.ConfigMap](w, "modules")))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "a warm-up is due and waits: ConfigMap modules does not exist")
	if len(w.warmUps) != 1 {
		t.Errorf("%d warm-ups, want 1", len(w.warmUps))
	}
}

// TestProxyMissing holds that a cache neither publishes an environment nor
// warms while its proxy has no address, and does not warm while it is not ready.
func TestProxyMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Environment.ProxyRef = &v1alpha1.LocalReference{Name: "goproxy"} })
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady, "ModProxy goproxy does not exist")
	w.proxy("", false)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady, "ModProxy goproxy has no address yet")
	if exists[corev1.ConfigMap](w, "ci-env") {
		t.Error("an environment without its proxy was published: builds would fall back to the default")
	}
	w.proxy("http://a", false)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady, "ModProxy goproxy is not ready")
	if !exists[corev1.ConfigMap](w, "ci-env") || len(w.warmUps) > 0 {
		t.Errorf("with an address, but not ready: environment %v, %d warm-ups", exists[corev1.ConfigMap](w, "ci-env"), len(w.warmUps))
	}
	w.proxy("http://a", true)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// proxy is the ModProxy goproxy with an address; empty: none yet.
func (w *world) proxy(address string, ready bool) {
	w.t.Helper()
	if !exists[v1alpha1.ModProxy](w, "goproxy") {
		p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy"}}
		p.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue", Storage: &v1alpha1.InstanceStorage{Size: w.get().Spec.Storage.Size}}}
		w.must(server.Client.Create(w.t.Context(), p))
	}
	p := get[v1alpha1.ModProxy](w, "goproxy")
	p.Status.GOPROXY = address
	status := metav1.ConditionFalse
	if ready {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: v1alpha1.ReadyCondition, Status: status, Reason: v1alpha1.ReasonServing})
	w.must(server.Client.Status().Update(w.t.Context(), p))
}

// TestScheduledWarmUp holds that a schedule is kept, and that an invalid one is
// reported with the name of its field.
func TestScheduledWarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.WarmUp = &v1alpha1.WarmUp{Schedule: v1alpha1.Schedule{Schedule: "@every 1h"}}
	})
	w.settle()
	w.wait(59 * time.Minute)
	if len(w.warmUps) != 1 || w.last.RequeueAfter > time.Minute+time.Second || w.last.RequeueAfter <= 0 {
		t.Errorf("before the hour: %d warm-ups, looks again after %v", len(w.warmUps), w.last.RequeueAfter)
	}
	w.wait(time.Minute)
	if len(w.warmUps) != 2 {
		t.Errorf("after an hour: %d warm-ups, want 2", len(w.warmUps))
	}
	w.wait(10 * time.Hour)
	if len(w.warmUps) != 3 {
		t.Errorf("after ten hours of sleep: %d warm-ups, want 3: missed ones are caught up once", len(w.warmUps))
	}
}

// TestInvalidSchedules holds that a schedule which the API server cannot check is
// reported, and that the first warm-up does not start before it is corrected.
func TestInvalidSchedules(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*v1alpha1.GoCacheSpec){
		`spec.warmUp.schedule "0 5-1 * * *"`: func(s *v1alpha1.GoCacheSpec) {
			s.WarmUp = &v1alpha1.WarmUp{Schedule: v1alpha1.Schedule{Schedule: "0 5-1 * * *"}}
		},
		`spec.snapshots.timeZone "Mars/Base"`: func(s *v1alpha1.GoCacheSpec) {
			s.Snapshots = &v1alpha1.SnapshotPolicy{Schedule: v1alpha1.Schedule{Schedule: "@daily", TimeZone: "Mars/Base"}}
		},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache(change)
			w.settle()
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, field)
			if events := w.newEvents(); strings.Count(events, "InvalidSpec") != 1 {
				t.Errorf("events: %s", events)
			}
			if s := w.get().Status.WarmUp; s.Run != "" || len(w.warmUps) > 0 {
				t.Errorf("the first warm-up was started: %+v", s)
			}
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.WarmUp, c.Spec.Snapshots = nil, nil })
			w.settle()
			w.condition(v1alpha1.StalledCondition, "", "", "")
			if s := w.get().Status.WarmUp; s.Outcome != v1alpha1.RunSucceeded {
				t.Errorf("no warm-up after the correction: %+v", s)
			}
		})
	}
}

// TestSuspend holds that no run is started, and that a run that has ended is
// recorded.
func TestSuspend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(afterWarmUp)
	w.settle()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 1})
	w.settle()
	w.condition(v1alpha1.SuspendedCondition, metav1.ConditionTrue, v1alpha1.ReasonSuspended, "spec.suspend")
	w.condition(v1alpha1.ReadyCondition, "", "", "")
	w.condition(v1alpha1.ReconcilingCondition, "", "", "")
	if s := w.get().Status.WarmUp; s.Outcome != v1alpha1.RunSucceeded {
		t.Errorf("what ended was not booked: %+v", s)
	}
	if len(w.snapshots()) > 0 {
		t.Error("a snapshot was begun")
	}
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if len(w.snapshots()) != 1 || len(w.warmUps) != 1 {
		t.Errorf("%d snapshots after %d warm-ups, want one after one", len(w.snapshots()), len(w.warmUps))
	}
}
