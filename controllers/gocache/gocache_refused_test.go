package gocache

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

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
