package populator

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/scrape"
)

func TestClaimIsFilledFromTheNewestVerifiedSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.snapshot("ci-2", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-2")
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.settle("data")
	w.populated("data", "ci-2")
	w.once("data: Normal Cloning: cloning CacheSnapshot ci-2")
	w.once("data: Normal Populated: filled with a clone of CacheSnapshot ci-2")
	if reported := w.events.all(); len(reported) != 2 {
		t.Errorf("reported more than that: %q", reported)
	}
	if scrape.Value(t, metrics.Registry, "gocache_clone_duration_seconds", "source_kind", v1alpha1.GoCacheKind) < 1 {
		t.Error("the clone was not counted")
	}
}

func TestIntermediateRequestsWhatThePVCRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	block := corev1.PersistentVolumeBlock
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1", func(c *corev1.PersistentVolumeClaim) {
		c.Spec.VolumeMode = &block
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
	})
	w.schedule("data", "n1")
	w.pass("data")
	intermediate := w.intermediateOf(claim)
	if intermediate == nil {
		t.Fatal("no intermediate PVC was made")
	}
	if !metav1.IsControlledBy(intermediate, claim) {
		t.Error("the intermediate PVC does not go with the PVC")
	}
	if *intermediate.Spec.VolumeMode != block || intermediate.Spec.AccessModes[0] != corev1.ReadWriteOncePod || *intermediate.Spec.StorageClassName != w.class {
		t.Errorf("intermediate PVC is of mode %s, %v, class %s", *intermediate.Spec.VolumeMode, intermediate.Spec.AccessModes, *intermediate.Spec.StorageClassName)
	}
	if got := intermediate.Spec.Resources.Requests.Storage().String(); got != "1Gi" {
		t.Errorf("intermediate PVC asks for %s, want 1Gi", got)
	}
	if intermediate.Spec.DataSource.Name != "ci-1-csi" || intermediate.Annotations[v1alpha1.PopulatedFromAnnotation] != "ci-1" {
		t.Errorf("intermediate PVC clones %s and says %v", intermediate.Spec.DataSource.Name, intermediate.Annotations)
	}
	if intermediate.Annotations[volume.SelectedNodeAnnotation] != "n1" {
		t.Errorf("intermediate PVC does not carry the node: %v", intermediate.Annotations)
	}
}

func TestClaimWaitsForItsNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-1")
	claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.settle("data")
	if w.intermediateOf(claim) != nil {
		t.Fatal("an intermediate PVC was made before a node was chosen")
	}
	if reported := w.events.all(); len(reported) != 0 {
		t.Errorf("nothing is wrong, yet events: %q", reported)
	}
	w.schedule("data", "n1")
	w.settle("data")
	w.populated("data", "ci-1")
}

func TestImmediateClassNeedsNoNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-1")
	w.claim("data", v1alpha1.GoCacheKind, "ci", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &w.immediate })
	w.settle("data")
	w.populated("data", "ci-1")
}

func TestClaimWaitsForAVerifiedSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.settle("data")
	w.once("Warning SourceNotFound", "GoCache ci does not exist")

	w.cache("ci", "")
	w.settle("data")
	w.once("Normal NothingVerified", "GoCache ci has no verified snapshot")

	w.snapshot("ci-1", "ci", "")
	w.offer("ci", "ci-1") // a status that runs ahead is not trusted
	w.settle("data")
	w.once("Normal Unverified", "ci-1")
	if w.intermediateOf(claim) != nil {
		t.Fatal("an unverified snapshot is being cloned")
	}

	w.verdict("ci-1", metav1.ConditionTrue)
	w.settle("data")
	w.populated("data", "ci-1")
}

func TestSnapshotInTheMiddleDoesNotMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-1")
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.pass("data")
	w.snapshot("ci-2", "ci", metav1.ConditionTrue)
	w.offer("ci", "ci-2")
	w.settle("data")
	w.populated("data", "ci-1")
}
