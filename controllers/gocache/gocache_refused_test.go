package gocache

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/testing/cluster"
)

// disks creates a ResourceQuota with the name disks, which has room for the cache PVC
// and for no other.
func (w *world) disks() *corev1.ResourceQuota {
	w.t.Helper()
	storage := func(size string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceRequestsStorage: resource.MustParse(size)}
	}
	quota, err := cluster.Enforce(w.t.Context(), server.Client, w.namespace, "disks", storage("1536Mi"), storage("1Gi"))
	w.must(err)
	return quota
}

// passes makes some passes: what is refused is asked for in each, so that settle would
// not end.
func (w *world) passes() {
	w.t.Helper()
	for range 6 {
		w.must(w.pass())
		w.step()
		w.invariants()
	}
}

// warmsUp holds that a request for a warm-up is fulfilled.
func (w *world) warmsUp(request string) {
	w.t.Helper()
	w.request(request, v1alpha1.RequestWarmUp)
	w.settle()
	w.answered(request, v1alpha1.RequestSucceeded, "")
}

// TestReplacementWithAConflict holds that a volume is not replaced while an object of
// another owner has a name that the replacement needs, such as the PVC of a GoCache
// ci-next, that it is reported which, and that the cache goes on.
func TestReplacementWithAConflict(t *testing.T) {
	t.Parallel()
	claim := func(w *world, name string) client.Object {
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: name},
		}}
		pvc.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		pvc.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
		w.must(server.Client.Create(w.t.Context(), pvc))
		return pvc
	}
	job := func(w *world, name string) client.Object { return w.foreignJob(name) }
	for object, create := range map[string]func(*world, string) client.Object{
		"PersistentVolumeClaim ci-next": claim, "PersistentVolumeClaim ci-next-source": claim, "PersistentVolumeClaim ci-previous": claim, "Job ci-next": job,
	} {
		t.Run(object, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			snapshot := w.cacheWithSnapshot()
			kind, name, _ := strings.Cut(object, " ")
			other, why := create(w, name), kind+" "+w.namespace+"/"+name+" exists and is not ours"
			w.request("back", v1alpha1.RequestRollback)
			w.settle()
			w.answered("back", v1alpha1.RequestRefused, why)
			w.warmsUp("warm")
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")

			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf(snapshot, "") })
			w.settle()
			if in := w.get().Status.VolumeReplacement; in != nil {
				t.Errorf("a replacement was begun: %+v", in)
			}
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonConflict, why)
			w.warmsUp("warm-again")
			w.must(server.Client.Delete(t.Context(), other, client.GracePeriodSeconds(0), client.PropagationPolicy(metav1.DeletePropagationBackground)))
			w.wait(pass.Interval)
			if c := w.get(); c.Status.Content == nil || c.Status.Content.Snapshot != snapshot {
				t.Errorf("not restored when the name was free: %+v, %+v", c.Status.Content, c.Status.Conditions)
			}
			w.noReplacementLeft()
		})
	}
}

// TestQuotaRefusesReplacement holds that a replacement that a quota refuses is reported
// with the name of the quota, goes on when there is room, and ends when there is none for
// too long or it is not asked for any more. The cache goes on then.
func TestQuotaRefusesReplacement(t *testing.T) {
	t.Parallel()
	const refused = "exceeded quota: disks"
	begun := func(t *testing.T) (*world, *corev1.ResourceQuota) {
		t.Parallel()
		w := newWorld(t)
		w.cacheWithSnapshot()
		quota := w.disks()
		w.request("back", v1alpha1.RequestRollback)
		w.passes()
		w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonReplacingVolume, refused)
		return w, quota
	}
	ended := func(w *world, failure string) {
		w.t.Helper()
		if last := w.get().Status.LastVolumeReplacement; last == nil || last.Failure == "" && failure != "" {
			w.t.Fatalf("last replacement %+v, want failure %q", last, failure)
		}
		if exists[corev1.PersistentVolumeClaim](w, "ci-next") || exists[batchv1.Job](w, "ci-next") {
			w.t.Error("something of the replacement is left")
		}
		w.warmsUp("warm")
	}
	t.Run("until the deadline", func(t *testing.T) {
		w, _ := begun(t)
		w.now = w.now.Add(time.Hour)
		w.passes()
		w.answered("back", v1alpha1.RequestFailed, refused)
		ended(w, refused)
	})
	t.Run("until there is room", func(t *testing.T) {
		w, quota := begun(t)
		w.must(cluster.Lift(t.Context(), server.Client, quota))
		w.wait(time.Minute)
		w.answered("back", v1alpha1.RequestSucceeded, "")
		ended(w, "")
	})
	t.Run("until the request is deleted", func(t *testing.T) {
		w, _ := begun(t)
		w.must(server.Client.Delete(t.Context(), w.requests.Get(t, "back")))
		w.passes()
		ended(w, "CacheRequest back was deleted")
	})
}

// TestQuotaRefusesTheSize holds that a size that a quota refuses is reported with the name
// of the quota, that the cache stays as usable as it was, and that the PVC grows when
// there is room.
func TestQuotaRefusesTheSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	class := w.class()
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = class })
	w.settle()
	quota := w.disks()
	w.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Storage.Size, c.Spec.Storage.DeletionPolicy = resource.MustParse("2Gi"), v1alpha1.DeletionDelete
	})
	w.passes()
	w.asksFor("1Gi")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonExpansionNotAllowed, "exceeded quota: disks")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if pvc := get[corev1.PersistentVolumeClaim](w, "ci"); !metav1.IsControlledBy(pvc, w.get()) {
		t.Error("what is not refused is not applied")
	}
	w.must(cluster.Lift(t.Context(), server.Client, quota))
	w.wait(pass.Interval)
	w.asksFor("2Gi")
	w.condition(v1alpha1.StalledCondition, "", "", "")
}

// TestFactsBesideAnError holds that an error of one part leaves no condition as it was.
func TestFactsBesideAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(checkedBy(everyHour), afterWarmUp)
	w.settle()
	w.request("check-1", v1alpha1.RequestCheckIntegrity)
	w.settle()
	w.condition(v1alpha1.IntactCondition, metav1.ConditionTrue, v1alpha1.ReasonIntact, "")
	w.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Snapshots.Schedule = v1alpha1.Schedule{Schedule: "@daily", TimeZone: "Mars/Base"}
	})
	w.checked = corrupt
	w.request("check-2", v1alpha1.RequestCheckIntegrity)
	w.settle()
	if i := w.get().Status.Integrity; i == nil || i.Verdict != v1alpha1.VerdictCorrupt {
		t.Fatalf("no check was made: %+v", i)
	}
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "Mars/Base")
	w.condition(v1alpha1.IntactCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt, "")
}

// TestAccessModesOfARetainedPVC holds that a PVC that is taken up again with other access
// modes is used with those that it has, and that this is reported.
func TestAccessModesOfARetainedPVC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	})
	w.settle()
	w.must(server.Client.Delete(t.Context(), w.get()))
	w.end()
	w.cache()
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.storage.accessModes: ")
}
