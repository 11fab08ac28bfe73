package cachesnapshot

import (
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestOlderVolumeSnapshotIsNotUsed checks that a VolumeSnapshot that was retained
// from an earlier CacheSnapshot of the name, or restored from a backup, is neither
// verified nor offered.
func TestOlderVolumeSnapshotIsNotUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) { s.DeletionPolicy = v1alpha1.DeletionRetain })
	w.settle()
	w.must(server.Client.Delete(t.Context(), w.get()))
	_, err := w.cluster.Step(t.Context())
	w.must(err)

	w.snapshot()
	w.settle()
	s := w.get()
	w.stalled(v1alpha1.ReasonConflict, "VolumeSnapshot "+w.namespace+"/s exists and is not ours")
	if s.Status.CreationTime != nil || s.Status.Verification.Verdict != "" {
		t.Errorf("the old cut was taken over: %+v", s.Status)
	}

	old := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s"}}
	w.must(server.Client.Delete(t.Context(), old, client.GracePeriodSeconds(0)))
	w.settle()
	if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
		t.Errorf("verdict %q once the old cut is gone", v)
	}
}

// TestOlderVolumeSnapshotWithoutUIDIsNotUsed checks the same for a VolumeSnapshot
// without the label with the uid of its CacheSnapshot, by its age.
func TestOlderVolumeSnapshotWithoutUIDIsNotUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	pvc := "ci"
	w.must(server.Client.Create(t.Context(), &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s", Labels: map[string]string{
			v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.SnapshotLabel: "s", v1alpha1.CacheLabel: "ci",
		}},
		Spec: snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &pvc}},
	}))
	_, err := w.cluster.Step(t.Context())
	w.must(err)
	var old snapshotv1.VolumeSnapshot
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &old))
	for range 100 { // creationTimestamp has a resolution of one second
		w.snapshot()
		if later := w.get().CreationTimestamp; old.CreationTimestamp.Before(&later) {
			break
		}
		w.must(server.Client.Delete(t.Context(), w.get()))
		time.Sleep(20 * time.Millisecond)
	}
	w.settle()
	w.stalled(v1alpha1.ReasonConflict, "older than this CacheSnapshot")
	if s := w.get().Status; s.CreationTime != nil || s.Verification.Verdict != "" {
		t.Errorf("the old cut was taken over: %+v", s)
	}
}

// condition checks the reason and a part of the message of a condition.
func (w *world) condition(kind, reason, message string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.get().Status.Conditions, kind)
	if c == nil || c.Reason != reason || !strings.Contains(c.Message, message) {
		w.t.Errorf("condition %s is %+v, want %s, %q", kind, c, reason, message)
	}
}

func (w *world) stalled(reason, message string) {
	w.t.Helper()
	w.condition(v1alpha1.StalledCondition, reason, message)
}
