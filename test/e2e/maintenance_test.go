package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// TestMaintenance maintains a cache PVC: a report of a failed build is answered,
// a PVC that fills up grows, a corrupt entry is found by name,
// and the cache is intact again when it was repaired.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "maintain")
	_, err := s.Warmed(s.ctx)
	s.must(err)

	began := time.Now()
	answer := s.ask("failure-report-job-17", v1alpha1.RequestReportFailure)
	if answer.Outcome != v1alpha1.RequestSucceeded || !strings.HasPrefix(answer.Message, "Intact: ") {
		s.Errorf("a sound cache is answered %s %q", answer.Outcome, answer.Message)
	}
	s.Logf("failure report on a sound cache answered after %s: %s", since(began), answer.Message)
	cache := s.intact("True " + v1alpha1.ReasonIntact)
	s.recorded(v1alpha1.GoCacheKind, cache.Name, "CheckStarted", "Checked")

	s.sub("growth", growth)
	s.sub("forgery", forgery)
	s.sub("rot", rot)
	s.sub("rollback", rollback)
}

// growth fills the PVC and waits until it is larger, and the file system too.
func growth(s *fixture) {
	cache := s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Storage.Growth = &v1alpha1.StorageGrowth{UsedPercent: 60, Step: resource.MustParse("256Mi"), Limit: resource.MustParse("1Gi")}
	})
	s.must(s.Fill(s.ctx, 250))
	s.ask("integrity-full", v1alpha1.RequestCheckIntegrity)
	began := time.Now()
	s.get(cache.Name, cache)
	s.Logf("found %d%% of %s used", *cache.Status.Storage.UsedPercent, cache.Status.Storage.MeasuredCapacity)
	claim := &corev1.PersistentVolumeClaim{}
	s.until(time.Minute, "the claim to ask for more", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), claim)
		asks := claim.Spec.Resources.Requests[corev1.ResourceStorage]
		return asks.Cmp(resource.MustParse("768Mi")) == 0, "it asks for " + asks.String(), err
	})
	s.Logf("asked to grow after %s", since(began))
	s.ask("integrity-grown", v1alpha1.RequestCheckIntegrity) // the pod that mounts it finishes the expansion
	s.until(time.Minute, "the claim to have grown", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		return cache.Status.Storage.Capacity.Cmp(resource.MustParse("768Mi")) == 0,
			fmt.Sprintf("%+v", meta.FindStatusCondition(cache.Status.Conditions, v1alpha1.StorageSufficientCondition)), err
	})
	s.ask("integrity-measured", v1alpha1.RequestCheckIntegrity)
	s.until(time.Minute, "room enough", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		c := meta.FindStatusCondition(cache.Status.Conditions, v1alpha1.StorageSufficientCondition)
		return meta.IsStatusConditionTrue(cache.Status.Conditions, v1alpha1.StorageSufficientCondition), fmt.Sprintf("%+v", c), err
	})
	s.Logf("grown after %s: %s", since(began), meta.FindStatusCondition(cache.Status.Conditions, v1alpha1.StorageSufficientCondition).Message)
	s.recorded(v1alpha1.GoCacheKind, cache.Name, "StorageGrown")
	s.must(s.Unfill(s.ctx))
}

// forgery lets a pod that has the cache PVC mounted change it between a warm-up
// and a snapshot, so that no hash is wrong: the snapshot is Corrupt, and the next
// warm-up removes what the pod left.
func forgery(s *fixture) {
	alerts := s.monitored()
	file, err := s.Forge(s.ctx)
	s.must(err)
	s.must(s.Client.Delete(s.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "forge"}}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	forged, err := s.Snapshot(s.ctx, "forged")
	s.must(err)
	s.alerted(alerts, "GocacheSnapshotCorrupt", map[string]string{"name": forged.Name})
	v := forged.Status.Verification
	for _, path := range []string{file, "cache/vcs"} {
		if !slices.ContainsFunc(v.Examples, func(e v1alpha1.FindingExample) bool { return strings.Contains(e.Path, path) }) {
			s.Errorf("no example names %s: %+v", path, v.Examples)
		}
	}
	if v.Verdict != v1alpha1.VerdictCorrupt || v.Findings["Unsealed"] != 1 {
		s.Errorf("a snapshot of a forged cache: %+v", v)
	}
	if answer := s.ask("warm-up-forged", v1alpha1.RequestWarmUp); answer.Outcome != v1alpha1.RequestSucceeded || !strings.Contains(answer.Message, "did not leave") {
		s.Errorf("the warm-up is answered %s %q", answer.Outcome, answer.Message)
	}
	s.ask("integrity-forged", v1alpha1.RequestCheckIntegrity)
	s.intact("True " + v1alpha1.ReasonIntact)
}

// rot inverts a bit, has it found, and repairs it.
func rot(s *fixture) {
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Integrity = &v1alpha1.CacheIntegrity{} })
	file, err := s.CorruptArchive(s.ctx)
	s.must(err)
	began := time.Now()
	answer := s.ask("failure-report-job-18", v1alpha1.RequestReportFailure)
	if answer.Outcome != v1alpha1.RequestSucceeded || !strings.HasPrefix(answer.Message, "Corrupt: ") {
		s.Errorf("a rotten cache is answered %s %q", answer.Outcome, answer.Message)
	}
	s.Logf("failure report on a rotten cache answered after %s: %s", since(began), answer.Message)
	cache := s.intact("False " + v1alpha1.ReasonCorrupt)
	s.alerted(s.monitored(), "GocacheCacheCorrupt", map[string]string{"name": cache.Name})
	name := strings.TrimPrefix(file, "build/")
	for _, kind := range []string{v1alpha1.IntactCondition, v1alpha1.ReadyCondition, v1alpha1.StalledCondition} {
		if c := meta.FindStatusCondition(cache.Status.Conditions, kind); c == nil || !strings.Contains(c.Message, name) {
			s.Errorf("condition %s does not name %s: %+v", kind, name, c)
		}
	}
	s.recorded(v1alpha1.GoCacheKind, cache.Name, v1alpha1.ReasonCorrupt)

	s.must(s.UndoCorruption(s.ctx, file))
	s.ask("integrity-corrected", v1alpha1.RequestCheckIntegrity)
	cache = s.intact("True " + v1alpha1.ReasonIntact)
	s.until(time.Minute, "the cache to be ready again", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		return meta.IsStatusConditionTrue(cache.Status.Conditions, v1alpha1.ReadyCondition), condition(cache.Status.Conditions, v1alpha1.ReadyCondition), err
	})
}

// rollback flips a bit again, and lets a report of a failed build bring back
// the verified snapshot.
func rollback(s *fixture) {
	cache := s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Integrity = &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}
	})
	before := cache.Status.Storage.VolumeName
	good, err := s.Offered(s.ctx, "")
	s.must(err)
	_, err = s.CorruptArchive(s.ctx)
	s.must(err)
	s.must(s.Client.Delete(s.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "invert"}}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	s.must(s.Client.Delete(s.ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "fill"}}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	began := time.Now()
	answer := s.ask("failure-report-job-19", v1alpha1.RequestReportFailure)
	if answer.Outcome != v1alpha1.RequestSucceeded || !strings.HasPrefix(answer.Message, "Corrupt: ") || !strings.HasSuffix(answer.Message, "rolled back to "+good.Name) {
		s.Errorf("a rotten cache is answered %s %q, want it rolled back to %s", answer.Outcome, answer.Message, good.Name)
	}
	s.Logf("failure report answered by a rollback after %s: %s", since(began), answer.Message)
	s.get(cache.Name, cache)
	if cache.Status.Storage.VolumeName == before {
		s.Errorf("the claim still has volume %s", before)
	}
	s.ask("integrity-rolled-back", v1alpha1.RequestCheckIntegrity)
	s.intact("True " + v1alpha1.ReasonIntact)
}

// demand creates a CacheRequest for an object, with at most one argument.
func (s *fixture) demand(kind, target, name string, action v1alpha1.RequestAction, argument ...string) *v1alpha1.CacheRequest {
	s.Helper()
	q := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	q.Spec.TargetRef = v1alpha1.RequestTarget{Kind: kind, Name: target}
	q.Spec.Action, q.Spec.Argument = action, strings.Join(argument, "")
	s.must(s.Client.Create(s.ctx, q))
	return q
}

// ask creates a CacheRequest for the cache and waits until it is finished.
func (s *fixture) ask(name string, action v1alpha1.RequestAction, argument ...string) v1alpha1.CacheRequestStatus {
	s.Helper()
	q := s.demand(v1alpha1.GoCacheKind, scenario.Cache, name, action, argument...)
	s.until(5*time.Minute, "the CacheRequest "+name, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(q), q)
		return q.Status.CompletionTime != nil, fmt.Sprintf("%+v", q.Status), err
	})
	return q.Status
}

// edit changes the cache as its user does.
func (s *fixture) edit(change func(*v1alpha1.GoCache)) *v1alpha1.GoCache {
	s.Helper()
	cache := &v1alpha1.GoCache{}
	s.get(scenario.Cache, cache)
	patch := client.MergeFrom(cache.DeepCopy())
	change(cache)
	s.must(s.Client.Patch(s.ctx, cache, patch))
	return cache
}

// intact checks the condition Intact of the cache.
func (s *fixture) intact(want string) *v1alpha1.GoCache {
	s.Helper()
	cache := &v1alpha1.GoCache{}
	s.get(scenario.Cache, cache)
	if got := condition(cache.Status.Conditions, v1alpha1.IntactCondition); got != want {
		s.Errorf("the live claim is Intact=%s, want %s", got, want)
	}
	return cache
}

func since(t time.Time) time.Duration { return time.Since(t).Round(100 * time.Millisecond) }
