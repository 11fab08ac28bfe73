package populator

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
)

// available makes a volume that was there before any PVC, and matches the
// given one as the volume controller matches it.
func (w *world) available(name string, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	w.t.Helper()
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-" + name, Annotations: map[string]string{"pv.kubernetes.io/bound-by-controller": "yes"}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: claim.Spec.AccessModes, StorageClassName: w.class,
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: name}},
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.namespace, Name: claim.Name, UID: claim.UID},
		},
	}
	w.create(pv)
	return pv
}

func TestPVCBoundToAnotherVolumeIsReportedAndCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	pv := w.available("empty", claim)
	w.must(w.cluster(t.Context()))
	w.settle("data")
	w.once("Warning Unpopulated", pv.Name)
	if got := w.counted(); got != 1 {
		t.Errorf("counted %v times, want once", got)
	}
	if w.intermediateOf(claim) != nil {
		t.Error("an intermediate PVC was made for a PVC that has its volume")
	}
}

// TestDroppedSourceIsReported holds that a PVC whose annotations are those of a
// consumer, and whose source the API server has removed, since it names a namespace,
// is reported and counted once; and that a PVC without these annotations, one that
// names another source, and one that is being deleted are left alone.
func TestDroppedSourceIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ofConsumer := func(c *corev1.PersistentVolumeClaim) {
		c.Annotations = map[string]string{v1alpha1.MountPathAnnotation: "/gocache"}
	}
	elsewhere := func(c *corev1.PersistentVolumeClaim) { c.Spec.DataSourceRef.Namespace = ptr.To("other") }
	dropped := w.claim("dropped", v1alpha1.GoCacheKind, "ci", ofConsumer, elsewhere)
	if dropped.Spec.DataSourceRef != nil {
		t.Fatalf("the API server keeps %+v", dropped.Spec.DataSourceRef)
	}
	w.claim("own", v1alpha1.GoCacheKind, "ci", elsewhere)
	w.claim("cloned", v1alpha1.GoCacheKind, "ci", ofConsumer, func(c *corev1.PersistentVolumeClaim) {
		c.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "own"}
	})
	deleted := w.claim("deleted", v1alpha1.GoCacheKind, "ci", ofConsumer, elsewhere, func(c *corev1.PersistentVolumeClaim) {
		c.Finalizers = []string{"example.com/wait"}
	})
	w.must(server.Client.Delete(t.Context(), deleted))
	for range 3 {
		for _, name := range []string{"dropped", "own", "cloned", "deleted"} {
			w.pass(name)
		}
		w.now = w.now.Add(2 * time.Hour)
	}
	w.once("Warning Unpopulated", "dataSourceRef.namespace", v1alpha1.MountPathAnnotation)
	if got := w.counted(); got != 1 {
		t.Errorf("counted %v times, want once", got)
	}
	for name, want := range map[string]bool{"dropped": true, "own": false, "cloned": false, "deleted": true} {
		if got := concerns(w.get(name)); got != want {
			t.Errorf("%s wakes the controller: %v", name, got)
		}
	}
}

func TestIntermediateBoundToAnotherVolumeIsNotHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stuck = true
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.pass("data")
	pv := w.available("empty", w.intermediateOf(claim))
	w.settle("data")
	w.once("Warning NotAClone", pv.Name)
	if w.get("data").Status.Phase == corev1.ClaimBound {
		t.Fatal("the PVC got a volume that is no clone")
	}
}

// counted reads the counter as a scraper does.
func (w *world) counted() float64 {
	w.t.Helper()
	families, err := metrics.Registry.Gather()
	w.must(err)
	for _, family := range families {
		if family.GetName() != "gocache_unpopulated_pvcs_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == w.namespace {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
