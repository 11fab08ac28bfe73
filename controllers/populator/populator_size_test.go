package populator

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/populate"
)

// TestTooSmallWithoutRestoreSize holds that a PVC is compared with the volume that the
// snapshot was created from while its driver reports no size of the snapshot.
func TestTooSmallWithoutRestoreSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.changeSnapshot("ci-1", func(s *v1alpha1.CacheSnapshot) {
		s.Status.RestoreSize, s.Status.Source.Capacity = ptr.To(resource.MustParse("0")), ptr.To(resource.MustParse("5Gi"))
	})
	w.restoreSize("ci-1", "0")
	w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.settle("data")
	w.once("Warning TooSmall", "requests 1Gi", "resources.requests.storage: 5Gi")
}

// TestCloneOfAnotherSize holds that a PVC whose size the driver refuses gets the size
// to request.
func TestCloneOfAnotherSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stuck = true
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1", func(c *corev1.PersistentVolumeClaim) {
		c.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Gi")
	})
	w.schedule("data", "n1")
	w.settle("data")
	w.complain(w.intermediateOf(claim), "e", "rpc error: code = OutOfRange desc = clone volume size is not matching")
	w.now = w.now.Add(populate.ComplainAfter)
	w.settle("data")
	w.once("Warning CloneFailing", "requests 2Gi", "resources.requests.storage: 1Gi", "clone volume size is not matching")
}

// TestCloneInProgress holds that a driver which reports that it is still at work is
// reported so, and not as an error.
func TestCloneInProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stuck = true
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.settle("data")
	w.complain(w.intermediateOf(claim), "e", "rpc error: code = Aborted desc = clone from snapshot is already in progress")
	w.now = w.now.Add(repeatAfter + time.Minute)
	w.settle("data")
	w.once("Normal Cloning", "still at work", "already in progress")
	if n := w.events.count("Warning"); n > 0 {
		t.Errorf("%d warnings: %q", n, w.events.all())
	}
}
