package populator

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestReadOnlyMany holds that a PVC which many pods read is populated by a volume of
// that access mode: drivers make such a volume without a copy, and one of another mode
// would never be bound to it.
func TestReadOnlyMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
	claim := w.claim("shared", v1alpha1.CacheSnapshotKind, "ci-1", func(c *corev1.PersistentVolumeClaim) {
		c.Spec.AccessModes, c.Spec.StorageClassName = modes, &w.immediate
	})
	w.pass("shared")
	if got := w.intermediateOf(claim); got == nil || !slices.Equal(got.Spec.AccessModes, modes) {
		t.Fatalf("intermediate PVC %+v, want access modes %v", got, modes)
	}
	w.settle("shared")
	w.populated("shared", "ci-1")
	pv := &corev1.PersistentVolume{}
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Name: w.get("shared").Spec.VolumeName}, pv))
	if !slices.Equal(pv.Spec.AccessModes, modes) {
		t.Errorf("the volume has access modes %v, want %v", pv.Spec.AccessModes, modes)
	}
}

// TestCloneIsNoted holds that the snapshot shows that it was cloned when the PVC is
// handed over its volume, and that many clones are noted once.
func TestCloneIsNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	noted := func(name string) string {
		w.claim(name, v1alpha1.CacheSnapshotKind, "ci-1", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &w.immediate })
		w.settle(name)
		w.populated(name, "ci-1")
		s := &v1alpha1.CacheSnapshot{}
		w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci-1"}, s))
		return s.Annotations[v1alpha1.ClonedAtAnnotation]
	}
	first := noted("a")
	if at, err := time.Parse(time.RFC3339, first); err != nil || w.now.Sub(at).Abs() > time.Second {
		t.Fatalf("noted %q (%v), want %s", first, err, w.now)
	}
	w.now = w.now.Add(time.Minute)
	if again := noted("b"); again != first {
		t.Errorf("noted %q a minute later, want %q", again, first)
	}
	w.now = w.now.Add(time.Hour)
	if again := noted("c"); again == first {
		t.Error("a clone an hour later is not noted")
	}
}
