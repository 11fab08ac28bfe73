package cachesnapshot

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/snapshot"
)

// TestVolumeSnapshotFailsLater holds that a verified snapshot which the driver
// cannot restore any more is not used, so that another verified one is, and that
// it is used again when the driver can.
func TestVolumeSnapshotFailsLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.snapshot()
	w.settle()
	newest := func() string {
		older := w.get().DeepCopy()
		older.Name, older.Status.CreationTime = "older", ptr.To(metav1.NewTime(older.Status.CreationTime.Add(-1e9)))
		older.Status.Conditions = nil
		kept := snapshot.All([]v1alpha1.CacheSnapshot{*older, *w.get()}, nil, func(string) bool { return false })
		return snapshot.Newest(kept)
	}
	if got := newest(); got != "s" {
		t.Fatalf("the newest verified snapshot is %q, want s", got)
	}
	var csi snapshotv1.VolumeSnapshot
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &csi))
	w.cluster.SnapshotError = "the source volume is gone"
	csi.Status.ReadyToUse, csi.Status.Error = ptr.To(false), &snapshotv1.VolumeSnapshotError{Message: &w.cluster.SnapshotError}
	w.must(server.Client.Status().Update(t.Context(), &csi))
	w.settle()
	for _, kind := range []string{v1alpha1.SnapshotReadyCondition, v1alpha1.ReadyCondition} {
		c := meta.FindStatusCondition(w.get().Status.Conditions, kind)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonSnapshotFailed {
			t.Errorf("%s is %+v", kind, c)
		}
	}
	if got := newest(); got != "older" {
		t.Errorf("the newest verified snapshot is %q, want older", got)
	}
	if standing := snapshot.Candidate(w.get(), snapshot.Use{}).Standing; standing != snapshot.NotReady {
		t.Errorf("by its own name it is %s, want %s", standing, snapshot.NotReady)
	}

	w.cluster.SnapshotError = ""
	w.settle()
	if got := newest(); got != "s" {
		t.Errorf("the newest verified snapshot is %q once the driver can restore it, want s", got)
	}
}
