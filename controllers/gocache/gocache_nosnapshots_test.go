package gocache

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// noSnapshots is a client of a cluster that does not serve CSI snapshots.
type noSnapshots struct{ client.Client }

func (noSnapshots) RESTMapper() meta.RESTMapper { return meta.NewDefaultRESTMapper(nil) }

// TestNoSnapshotAPI reports at once, and not after the first warm-up, that the
// cluster has no CSI snapshots, and that only of a cache that creates some.
func TestNoSnapshotAPI(t *testing.T) {
	w := newWorld(t)
	w.cache()
	served := w.reconciler.Client
	w.reconciler.Client = noSnapshots{served}
	if err := w.pass(); err != nil {
		t.Fatal(err)
	}
	const message = "No snapshots: the cluster does not serve VolumeSnapshot of snapshot.storage.k8s.io/v1"
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotAPIMissing, message)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotAPIMissing, message)
	w.condition(v1alpha1.SnapshotAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotAPIMissing, message)

	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(false)} })
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotsDisabled, "")

	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true)} })
	if err := w.pass(); err != nil {
		t.Fatal(err)
	}
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSnapshotAPIMissing, message)
	w.reconciler.Client = served
	if err := w.pass(); err != nil {
		t.Fatal(err)
	}
	if got := w.get(); meta.FindStatusCondition(got.Status.Conditions, v1alpha1.StalledCondition) != nil {
		t.Errorf("still stalled: %+v", got.Status.Conditions)
	}
}
