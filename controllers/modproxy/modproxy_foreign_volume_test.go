package modproxy

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestAnotherTenantsVolumeIsNeverUsed plays a user with the role edit in one
// namespace that puts a PersistentVolumeClaim that names a volume of another
// namespace in the place of a store, before the store is found corrupt and
// rolled back. The other tenant's volume is not written to.
func TestAnotherTenantsVolumeIsNeverUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.guarded()
	w.request("snapshot-1", v1alpha1.RequestSnapshot)
	w.answered("snapshot-1", v1alpha1.RequestSucceeded, "created CacheSnapshots")
	w.verified()
	w.tick(1)
	pvc, pv, err := cluster.BoundVolume(t.Context(), server.Client, server.Namespace(t), "data")
	w.must(err)
	tenant := server.Tenant(t, w.namespace)
	var store corev1.PersistentVolumeClaim
	w.must(tenant.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy-blue"}, &store))
	labels := store.Labels
	w.must(tenant.Delete(t.Context(), &store))
	for w.play() {
		continue
	}
	w.must(tenant.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: store.Name, Labels: labels},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(""), VolumeName: pv.Name,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}))
	w.poison()
	for range 40 {
		w.tick(1)
		if rb := pass.Instance(w.get(), "blue").Rollback; rb != nil && (rb.CompletionTime != nil || rb.Failed) {
			break
		}
		w.now = w.now.Add(10 * time.Second)
	}
	var now corev1.PersistentVolume
	w.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(pv), &now))
	if now.ResourceVersion != pv.ResourceVersion {
		t.Errorf("the operator wrote to another tenant's volume: claimRef %+v, annotations %v, policy %s",
			now.Spec.ClaimRef, now.Annotations, now.Spec.PersistentVolumeReclaimPolicy)
	}
	var victim corev1.PersistentVolumeClaim
	w.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(pvc), &victim))
	if victim.ResourceVersion != pvc.ResourceVersion {
		t.Errorf("another tenant's PersistentVolumeClaim was changed: %+v", victim.Status)
	}
	rb := pass.Instance(w.get(), "blue").Rollback
	if rb == nil || !strings.Contains(rb.Message, "another PersistentVolumeClaim") {
		t.Errorf("the object does not say what is wrong: %+v", rb)
	}
}
