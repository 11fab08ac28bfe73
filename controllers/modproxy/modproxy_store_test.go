package modproxy

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// TestStoreCannotFollow holds that storage that the PVC cannot get is
// reported, that the proxy serves on meanwhile, and that taking it back is enough.
func TestStoreCannotFollow(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.InstanceStorage)
		reason string
		want   string
	}{
		"a size lowered":                       {func(s *v1alpha1.InstanceStorage) { s.Size = resource.MustParse("512Mi") }, v1alpha1.ReasonInvalidSpec, "spec.instances[blue].storage.size is 512Mi"},
		"a class changed":                      {func(s *v1alpha1.InstanceStorage) { s.StorageClassName = ptr.To("faster") }, v1alpha1.ReasonInvalidSpec, `spec.instances[blue].storage.storageClassName is "faster"`},
		"a size that the class does not allow": {func(s *v1alpha1.InstanceStorage) { s.Size = resource.MustParse("2Gi") }, v1alpha1.ReasonExpansionNotAllowed, "spec.instances[blue].storage.size: PVC goproxy-blue cannot grow from 1Gi to 2Gi"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serving()
			var pvc corev1.PersistentVolumeClaim
			if !w.exists(&pvc, "goproxy-blue") {
				t.Fatal("there is no PVC")
			}
			pvc.Status.Phase = corev1.ClaimBound // only the size of a bound one can change
			w.must(server.Client.Status().Update(t.Context(), &pvc))
			before := w.get().Spec.Instances[0].Storage.DeepCopy()
			w.edit(func(p *v1alpha1.ModProxy) { tt.change(p.Spec.Instances[0].Storage) })
			w.settle()
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, tt.reason, tt.want)
			w.weights(100, 100)

			w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances[0].Storage = before })
			w.settle()
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue,green serves")
		})
	}
}

// TestStoreFull holds that a store without room for what is fetched is reported
// with what to do, and that this takes no instance out: clients are served.
func TestStoreFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.tick(3)
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonStoresHaveRoom, "")
	w.blue.full = true
	w.tick(5)
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreFull, "blue: the store is full")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreFull, "Set storage.maxUsedPercent")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue,green serves")
	w.weights(100, 100)
	if events := w.recorded(); !strings.Contains(events, "StoreFull") || !strings.Contains(events, "The store of instance blue is full") {
		t.Errorf("the events are %s", events)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances[0].Storage.MaxUsedPercent = ptr.To[int32](80) })
	w.settle()
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreFull, "below maxUsedPercent 80")
	w.blue.full = false
	w.tick(5)
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonStoresHaveRoom, "")
	if events := w.recorded(); !strings.Contains(events, "StoreHasRoom") {
		t.Errorf("the events are %s", events)
	}
}
