package gocache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/volume"
)

// another makes a CacheSnapshot of some cache that was brought to a verdict.
func (w *world) another(name, of string, change func(*v1alpha1.CacheSnapshot)) {
	w.t.Helper()
	s := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: of}},
	}
	change(s)
	status := s.Status
	w.must(server.Client.Create(w.t.Context(), s))
	s.Status = status
	s.Status.StartTime, s.Status.CreationTime = ptr.To(metav1.NewTime(w.now)), ptr.To(metav1.NewTime(w.now))
	w.must(server.Client.Status().Update(w.t.Context(), s))
}

func judged(kind string, status metav1.ConditionStatus) func(*v1alpha1.CacheSnapshot) {
	return func(s *v1alpha1.CacheSnapshot) {
		meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: "R"})
	}
}

// TestRestoreRefused holds that only a verified snapshot of this cache is
// restored: else the volume is kept, and the status reports why.
func TestRestoreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		of      string
		change  func(*v1alpha1.CacheSnapshot)
		message string
	}{
		"foreign": {"other", judged(v1alpha1.VerifiedCondition, metav1.ConditionTrue), "was taken of something else"},
		"skipped": {"ci", func(s *v1alpha1.CacheSnapshot) { s.Spec.Verification.Mode = v1alpha1.VerificationSkip }, "exempt from verification"},
		"corrupt": {"ci", func(s *v1alpha1.CacheSnapshot) {
			s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
			judged(v1alpha1.VerifiedCondition, metav1.ConditionFalse)(s)
		}, "is Corrupt"},
		"failed": {"ci", judged(v1alpha1.StalledCondition, metav1.ConditionTrue), "could not be verified"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cacheWithSnapshot()
			before := get[corev1.PersistentVolumeClaim](w, "ci").Spec.VolumeName
			w.another("x", tt.of, tt.change)
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf("x", "") })
			w.settle()
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNotRestorable, tt.message)
			w.request("rollback-1", v1alpha1.RequestRollback, "x")
			w.settle()
			w.answered("rollback-1", v1alpha1.RequestRefused, tt.message)
			if now := get[corev1.PersistentVolumeClaim](w, "ci").Spec.VolumeName; now != before || w.get().Status.LastVolumeReplacement != nil {
				t.Errorf("the volume was replaced: %+v", w.get().Status.LastVolumeReplacement)
			}
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = nil })
			w.settle()
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
		})
	}
}

// TestRestoreOfWhatIsNotThere holds that a missing snapshot is reported, that it
// is restored once it exists and is verified, and that a request to roll back
// without a snapshot is refused.
func TestRestoreOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(withoutSnapshots)
	w.settle()
	w.request("rollback-0", v1alpha1.RequestRollback)
	w.settle()
	w.answered("rollback-0", v1alpha1.RequestRefused, "no verified snapshot")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf("later", "") })
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNotRestorable, "CacheSnapshot later does not exist")
	w.slow = true
	w.must(server.Client.Create(t.Context(), &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "later"},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}))
	w.settle()
	w.condition(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaiting, "CacheSnapshot later to be verified")
	w.slow = false
	w.wait(pass.Interval)
	if got := w.content(); got != "later" {
		t.Errorf("the PVC holds %q", got)
	}
	w.noReplacementLeft()
}

// TestWaitsForConsumers holds that the PVC is not deleted while pods mount it,
// that the pods are named up to a limit, and that the replacement continues
// after they have ended.
func TestWaitsForConsumers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cacheWithSnapshot()
	before := get[corev1.PersistentVolumeClaim](w, "ci").UID
	for i := range 35 {
		w.consumer(fmt.Sprintf("p-%02d", i))
	}
	w.restore()
	w.settle()
	c := w.get()
	if c.Status.VolumeReplacement == nil || len(c.Status.VolumeReplacement.Consumers) != 32 || c.Status.VolumeReplacement.Consumers[0] != "p-00" {
		t.Fatalf("swap %+v", c.Status.VolumeReplacement)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForConsumers, "35 pods (p-00, p-01, p-02, p-03, p-04, and 30 more)")
	if events := w.newEvents(); !strings.Contains(events, v1alpha1.ReasonWaitingForConsumers) {
		t.Errorf("events: %s", events)
	}
	if now := get[corev1.PersistentVolumeClaim](w, "ci"); now.UID != before || !now.DeletionTimestamp.IsZero() {
		t.Error("the PVC was deleted under its pods")
	}
	writes := len(w.mortal.Writes)
	w.wait(time.Hour)
	if wrote := w.mortal.Writes[writes:]; len(wrote) > 0 {
		t.Errorf("while it waits it writes %q", wrote)
	}
	w.must(server.Client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(w.namespace), client.GracePeriodSeconds(0)))
	w.wait(time.Minute)
	if w.content() == "" {
		t.Error("nothing was restored")
	}
	w.noReplacementLeft()
}

// TestEvictionHeedsBudgets holds that pods are evicted only if the spec asks for
// it, that a PodDisruptionBudget is respected and reported, and that pods which
// are created again cannot mount the old PVC again.
func TestEvictionHeedsBudgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cacheWithSnapshot()
	pod := w.consumer("guarded")
	pod.Labels = map[string]string{"app": "guarded"}
	w.must(server.Client.Update(t.Context(), pod))
	w.consumer("free")
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "budget"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
		},
	}
	w.must(server.Client.Create(t.Context(), budget))
	budget.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: budget.Generation, CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 1}
	w.must(server.Client.Status().Update(t.Context(), budget))
	w.restore(func(s *v1alpha1.GoCacheSpec) { s.Storage.VolumeReplacement.Consumers = v1alpha1.ConsumersEvict })
	for range 20 { // each asks again
		w.must(w.pass())
		_, err := w.cluster.Step(t.Context())
		w.must(err)
		w.invariants()
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForConsumers, "an eviction was refused: pod guarded")
	if exists[corev1.Pod](w, "free") || !exists[corev1.Pod](w, "guarded") {
		t.Error("not the pod without a budget was evicted")
	}
	if pvc := get[corev1.PersistentVolumeClaim](w, "ci"); pvc.DeletionTimestamp.IsZero() {
		t.Error("pods that are made again would hold the PVC again")
	}
	w.must(server.Client.Delete(t.Context(), budget))
	w.wait(time.Minute)
	if exists[corev1.Pod](w, "guarded") || w.content() == "" {
		t.Error("it does not go on when the budget allows it")
	}
	w.noReplacementLeft()
}

// TestCorruptNewVolume holds that a clone which does not pass its check never
// takes the place of the cache's volume, that nothing has changed then, and that
// a new requestID tries again.
func TestCorruptNewVolume(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare func(*world)
		message string
	}{
		"corrupt":        {func(w *world) { w.renewed = corruptEnding() }, "is Corrupt: 1 corrupt"},
		"something else": {func(w *world) { w.renewed = intactWith("sha256:cc") }, "holds something else than"},
		"inconclusive":   {func(w *world) { w.renewed = evicted }, "could not be verified in 3 attempts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cacheWithSnapshot()
			before := get[corev1.PersistentVolumeClaim](w, "ci")
			tt.prepare(w)
			w.restore()
			w.settle()
			for range 4 {
				w.wait(time.Minute)
			}
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonVolumeReplacementFailed, tt.message)
			if now := get[corev1.PersistentVolumeClaim](w, "ci"); now.UID != before.UID {
				t.Error("the cache PVC was replaced")
			}
			w.noReplacementLeft()
			w.renewed = intactWith(contentDigest)
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore.RequestID = "once more" })
			w.settle()
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
			if w.content() == "" {
				t.Error("nothing was restored")
			}
			w.noReplacementLeft()
		})
	}
}

// TestByHand lets a user delete an object that a replacement needs, while it
// waits for a pod, and holds that the replacement ends and that there is a PVC
// with content.
func TestByHand(t *testing.T) {
	t.Parallel()
	del := func(w *world, o client.Object) {
		w.t.Helper()
		w.must(client.IgnoreNotFound(server.Client.Delete(w.t.Context(), o)))
	}
	pv := func(name string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	for name, tt := range map[string]struct {
		happens  func(w *world, in v1alpha1.VolumeReplacementStatus)
		restored bool
	}{
		"next claim": {func(w *world, _ v1alpha1.VolumeReplacementStatus) {
			del(w, get[corev1.PersistentVolumeClaim](w, "ci-next"))
		}, true},
		"cache PVC": {func(w *world, _ v1alpha1.VolumeReplacementStatus) { del(w, get[corev1.PersistentVolumeClaim](w, "ci")) }, true},
		"snapshot": {func(w *world, in v1alpha1.VolumeReplacementStatus) {
			del(w, get[v1alpha1.CacheSnapshot](w, in.Snapshot))
		}, true},
		"new volume": {func(w *world, in v1alpha1.VolumeReplacementStatus) { del(w, pv(in.NextVolume)) }, false},
		"old volume": {func(w *world, in v1alpha1.VolumeReplacementStatus) { del(w, pv(in.PreviousVolume)) }, true},
		"new volume and cache PVC": {func(w *world, in v1alpha1.VolumeReplacementStatus) {
			del(w, get[corev1.PersistentVolumeClaim](w, "ci"))
			del(w, pv(in.NextVolume))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cacheWithSnapshot()
			w.byHand = true
			old := get[corev1.PersistentVolumeClaim](w, "ci").Spec.VolumeName
			pod := w.consumer("a")
			w.restore()
			w.settle()
			in := w.get().Status.VolumeReplacement
			if in == nil || in.NextVolume == "" {
				t.Fatalf("swap %+v", in)
			}
			tt.happens(w, *in)
			w.settle()
			del(w, pod)
			for range 3 {
				w.wait(time.Minute)
			}
			pvc := get[corev1.PersistentVolumeClaim](w, "ci")
			if !volume.Bound(pvc) {
				t.Fatalf("the cache PVC is %s", pvc.Status.Phase)
			}
			if restored := w.content() != ""; restored != tt.restored || !restored && pvc.Spec.VolumeName != old {
				t.Errorf("the PVC is on %s, restored: %v; it was on %s; last swap %+v", pvc.Spec.VolumeName, restored, old, w.get().Status.LastVolumeReplacement)
			}
			w.noReplacementLeft()
		})
	}
}

// TestJobDeletedByHand holds that a check whose Job a user deletes is made again.
func TestJobDeletedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cacheWithSnapshot()
	w.renewed = nil
	w.restore()
	w.settle()
	w.must(server.Client.Delete(t.Context(), get[batchv1.Job](w, "ci-next"), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.renewed = intactWith(contentDigest)
	w.settle()
	if w.content() == "" {
		t.Error("nothing was restored")
	}
	w.noReplacementLeft()
}

// TestNamespaceGoes holds that the deletion of a namespace is not blocked by a
// replacement in progress, and that volumes get their reclaim policies back.
func TestNamespaceGoes(t *testing.T) {
	t.Parallel()
	for name, deletionPolicy := range map[string]v1alpha1.DeletionPolicy{"retain": v1alpha1.DeletionRetain, "delete": v1alpha1.DeletionDelete} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.DeletionPolicy = deletionPolicy })
			pod := w.consumer("a")
			w.restore()
			w.settle()
			in := w.get().Status.VolumeReplacement
			w.must(server.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
			// What the namespace controller does, in an order that is bad for us.
			w.byHand = true
			w.must(server.Client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
			w.must(server.Client.DeleteAllOf(t.Context(), &corev1.PersistentVolumeClaim{}, inNamespace(w)[0].(client.InNamespace)))
			w.must(server.Client.Delete(t.Context(), w.get()))
			w.end()
			if exists[v1alpha1.GoCache](w, "ci") {
				t.Fatalf("the GoCache is held up: %+v", w.get().Status.VolumeReplacement)
			}
			for range 4 {
				_, err := w.cluster.Step(t.Context())
				w.must(err)
			}
			for _, name := range []string{in.PreviousVolume, in.NextVolume} {
				if !slices.Contains(w.cluster.Reclaimed, name) {
					t.Errorf("volume %s is left: reclaimed are %v", name, w.cluster.Reclaimed)
				}
			}
		})
	}
}
