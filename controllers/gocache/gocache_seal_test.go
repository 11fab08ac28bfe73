package gocache

import (
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	plan "gocache.dev/operator/internal/plan/writer"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestSealOfWarmUps holds that a writer and a check get the digest of what the
// last writer reported, also after a run that was killed: nothing vouches for
// what that left. Without a digest the agent gets --never-sealed.
func TestSealOfWarmUps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sealed, never := map[plan.Action]string{}, map[plan.Action]bool{}
	end := w.cluster.Job
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		command := job.Spec.Template.Spec.Containers[0].Command
		action := plan.Action(job.Labels[v1alpha1.ActionLabel])
		sealed[action], never[action] = "", slices.Contains(command, "--never-sealed")
		if i := slices.Index(command, "--sealed-digest"); i >= 0 {
			sealed[action] = command[i+1]
		}
		return end(job)
	}
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7, ManifestDigest: "sha256:aa"})
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Integrity = &v1alpha1.CacheIntegrity{} })
	w.settle()
	if got := w.get().Status.ManifestDigest; got != "sha256:aa" || sealed[plan.WarmUp] != "" || !never[plan.WarmUp] {
		t.Fatalf("digest %q; the first warm-up was given %q, never sealed: %v", got, sealed[plan.WarmUp], never[plan.WarmUp])
	}
	w.request("integrity-1", v1alpha1.RequestCheckIntegrity)
	w.settle()
	if sealed[plan.Integrity] != "sha256:aa" || never[plan.Integrity] || w.get().Status.ManifestDigest != "sha256:aa" {
		t.Errorf("a check was given %q, and left %q", sealed[plan.Integrity], w.get().Status.ManifestDigest)
	}
	for i, c := range []struct {
		ending      *cluster.Ending
		given, left string
	}{
		{ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no", ManifestDigest: "sha256:bb"}), "sha256:aa", "sha256:bb"},
		{ended(warmreport.Report{Outcome: warmreport.Succeeded, ManifestDigest: "sha256:cc"}), "sha256:bb", "sha256:cc"},
		{&cluster.Ending{Exit: 137}, "sha256:cc", "sha256:cc"},
		{ended(warmreport.Report{Outcome: warmreport.Succeeded, ManifestDigest: "sha256:dd"}), "sha256:cc", "sha256:dd"},
	} {
		w.ending = c.ending
		delete(sealed, plan.WarmUp)
		w.request([]string{"a", "b", "c", "d"}[i], v1alpha1.RequestWarmUp)
		w.settle()
		if given, ran := sealed[plan.WarmUp]; ran && given != c.given || w.get().Status.ManifestDigest != c.left {
			t.Errorf("run %d was given %q and left %q, want %q and %q", i, given, w.get().Status.ManifestDigest, c.given, c.left)
		}
	}
}

// TestFirstWarmUpKilled holds that nothing is built on what a first warm-up left
// that was killed: no check and no warm-up takes it for the work of a writer.
func TestFirstWarmUpKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	never := map[plan.Action]int{}
	end := w.cluster.Job
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		if slices.Contains(job.Spec.Template.Spec.Containers[0].Command, "--never-sealed") {
			never[plan.Action(job.Labels[v1alpha1.ActionLabel])]++
		}
		return end(job)
	}
	w.ending = &cluster.Ending{Exit: 137}
	w.cache()
	w.settle()
	w.request("integrity-1", v1alpha1.RequestCheckIntegrity)
	w.settle()
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, ManifestDigest: "sha256:aa"})
	w.wait(time.Hour)
	if never[plan.WarmUp] != 2 || never[plan.Integrity] != 1 || w.get().Status.ManifestDigest != "sha256:aa" {
		t.Errorf("never sealed: %v; digest %q", never, w.get().Status.ManifestDigest)
	}
}
