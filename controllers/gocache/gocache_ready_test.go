package gocache

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/kstatus"
)

// withoutSnapshots declares that no snapshots of the cache are created.
func withoutSnapshots(s *v1alpha1.GoCacheSpec) {
	s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(false)}
}

// TestReadyMeansUsable holds that a cache is Ready only when a PVC that names it
// is populated now, and that its conditions name what is waited for.
func TestReadyMeansUsable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ending := w.ending
	w.ending, w.slow = nil, true
	w.cache()
	w.must(w.pass()) // makes the PVC, and the Job
	w.must(w.pass())
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpPending, "The first warm-up has not started: its pod does not run yet")
	w.condition(v1alpha1.SnapshotAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotPending, "the first one is created when a warm-up has succeeded")
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWarming, "The first warm-up runs")

	w.ending = ending
	w.settle()
	if n := len(w.names()); n != 1 {
		t.Fatalf("%d snapshots after the first warm-up of a cache without a policy, want 1", n)
	}
	w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotPending, "CacheSnapshot "+w.names()[0]+" is not verified yet")
	kstatus.Want(t, server.Client, w.get(), kstatus.InProgress, "warm, and nothing to populate from")

	w.slow = false
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "consumers get "+w.names()[0])
	w.condition(v1alpha1.SnapshotAvailableCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotAvailable, w.names()[0])

	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no such module"})
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "no such module; next attempt at 20")
	w.condition(v1alpha1.WarmCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpFailed, "no such module; next attempt at 20")
	kstatus.Want(t, server.Client, w.get(), kstatus.InProgress, "usable, while a warm-up is repeated")
}

// TestCacheWithoutSnapshots holds that a cache with an empty snapshot policy
// reports that, and offers the snapshot that was created for a request.
func TestCacheWithoutSnapshots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(withoutSnapshots)
	w.settle()
	if n := len(w.names()); n != 0 {
		t.Errorf("%d snapshots", n)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotsDisabled, "spec.snapshots.afterWarmUp is false, and there is no schedule")
	w.condition(v1alpha1.SnapshotAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotsDisabled, "wait until one is requested")
	w.request("snapshot-1", v1alpha1.RequestSnapshot)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	made := w.snapshots()[0]
	w.must(server.Client.Delete(t.Context(), &made))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotsDisabled, "")
	if n := len(w.names()); n != 0 {
		t.Errorf("%d snapshots of a cache that takes none", n)
	}
}

// TestLostSnapshotIsReplaced holds that content which was to be snapshotted and
// has no usable snapshot any more gets another one.
func TestLostSnapshotIsReplaced(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]func(*v1alpha1.GoCacheSpec){
		"after warm-ups": func(*v1alpha1.GoCacheSpec) {},
		"by schedule": func(s *v1alpha1.GoCacheSpec) {
			s.Snapshots = &v1alpha1.SnapshotPolicy{Schedule: v1alpha1.Schedule{Schedule: "@every 5h"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache(policy)
			w.settle()
			if name == "by schedule" {
				w.wait(5*time.Hour + time.Second)
			}
			lost := w.snapshots()[0]
			w.must(server.Client.Delete(t.Context(), &lost))
			w.settle()
			if names := w.names(); len(names) != 1 || names[0] == lost.Name {
				t.Fatalf("snapshots %v, after %s was deleted", names, lost.Name)
			}
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "consumers get "+w.names()[0])
			w.settle()
			if names := w.names(); len(names) != 1 {
				t.Errorf("snapshots %v: more than one was taken", names)
			}
		})
	}
	t.Run("its CSI snapshot is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.cache()
		w.settle()
		lost := w.snapshots()[0]
		for kind, status := range map[string]metav1.ConditionStatus{v1alpha1.SnapshotReadyCondition: metav1.ConditionFalse, v1alpha1.StalledCondition: metav1.ConditionTrue} {
			meta.SetStatusCondition(&lost.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: v1alpha1.ReasonSnapshotLost})
		}
		w.must(server.Client.Status().Update(t.Context(), &lost))
		w.settle()
		if latest := w.get().Status.LatestVerifiedSnapshot; latest == "" || latest == lost.Name {
			t.Errorf("offered: %q, after the CSI snapshot of %s was deleted", latest, lost.Name)
		}
	})
	t.Run("an older one is left", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.cache(hourly(3))
		w.settle()
		w.wait(time.Hour + time.Minute)
		newest := w.get().Status.LatestVerifiedSnapshot
		w.must(server.Client.Delete(t.Context(), get[v1alpha1.CacheSnapshot](w, newest)))
		w.settle()
		if got := w.get().Status.LatestVerifiedSnapshot; got <= newest {
			t.Errorf("offered: %q, of %v, after %s was deleted", got, w.names(), newest)
		}
	})
}

// TestFailedSnapshotIsRepeated holds that a snapshot which could not be verified
// is followed by others, with growing pauses, and that the status gives the time.
func TestFailedSnapshotIsRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.corrupt = true
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), Retention: v1alpha1.Retention{KeepLast: 100}}
	})
	w.settle()
	first := w.names()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNoVerifiedSnapshot, "CacheSnapshot "+first[0]+" cannot be offered")
	w.condition(v1alpha1.SnapshotAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonNoVerifiedSnapshot, "the next snapshot is created at 20")
	var seen []string
	for range 40 {
		w.wait(time.Minute)
		if latest := w.get().Status.LatestSnapshot; !slices.Contains(append(seen, first...), latest) {
			seen = append(seen, latest)
		}
	}
	if len(seen) != 3 { // after 5, 15 and 35 minutes
		t.Errorf("%d more snapshots in 40 minutes (%s), want 3", len(seen), strings.Join(seen, ", "))
	}
	w.corrupt = false
	w.wait(time.Hour)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestSuspendedIsCurrent holds that a GitOps tool does not wait for a suspended
// cache, usable or not, and that it is Ready only if it is usable.
func TestSuspendedIsCurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Suspend = true })
	w.settle()
	kstatus.Want(t, server.Client, w.get(), kstatus.Current, "suspended from the start")
	w.condition(v1alpha1.ReadyCondition, "", "", "")
	w.condition(v1alpha1.SuspendedCondition, metav1.ConditionTrue, v1alpha1.ReasonSuspended, "spec.suspend is set")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
	w.settle()
	w.condition(v1alpha1.SuspendedCondition, "", "", "")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
	w.settle()
	kstatus.Want(t, server.Client, w.get(), kstatus.Current, "suspended while it is usable")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonSuspended, w.names()[0])
}
