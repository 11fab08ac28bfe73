package gocache

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// victim is another tenant's PersistentVolumeClaim and its volume.
type victim struct {
	pvc *corev1.PersistentVolumeClaim
	pv  *corev1.PersistentVolume
}

func newVictim(w *world) victim {
	w.t.Helper()
	pvc, pv, err := cluster.BoundVolume(w.t.Context(), server.Client, server.Namespace(w.t), "data")
	w.must(err)
	return victim{pvc: pvc, pv: pv}
}

// untouched holds that neither object was written to.
func (v victim) untouched(w *world) {
	w.t.Helper()
	var pv corev1.PersistentVolume
	w.must(server.Client.Get(w.t.Context(), client.ObjectKeyFromObject(v.pv), &pv))
	if pv.ResourceVersion != v.pv.ResourceVersion {
		w.t.Errorf("the operator wrote to another tenant's volume: claimRef %+v, annotations %v, policy %s",
			pv.Spec.ClaimRef, pv.Annotations, pv.Spec.PersistentVolumeReclaimPolicy)
	}
	var pvc corev1.PersistentVolumeClaim
	w.must(server.Client.Get(w.t.Context(), client.ObjectKeyFromObject(v.pvc), &pvc))
	if pvc.ResourceVersion != v.pvc.ResourceVersion {
		w.t.Errorf("another tenant's PersistentVolumeClaim was changed: %+v", pvc.Status)
	}
}

// plant makes a PersistentVolumeClaim that names the victim's volume and bears
// the labels of the cache, with a tenant's rights. It stays Pending.
func (v victim) plant(w *world, tenant client.Client, name string) {
	w.t.Helper()
	w.must(tenant.Create(w.t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{
			v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci",
		}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(""), VolumeName: v.pv.Name,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}))
}

func (w *world) editAs(tenant client.Client, change func(*v1alpha1.GoCache)) {
	w.t.Helper()
	var c v1alpha1.GoCache
	w.must(tenant.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &c))
	change(&c)
	w.must(tenant.Update(w.t.Context(), &c))
}

// TestAnotherTenantsVolumeIsNeverUsed plays a user with the role edit in one
// namespace, whose PersistentVolumeClaim names a volume of another namespace
// when a replacement of the cache's volume is requested. Whatever starts the
// replacement, the other tenant's volume is not written to, and the status
// reports why nothing happens.
func TestAnotherTenantsVolumeIsNeverUsed(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(w *world, tenant client.Client){
		"restore": func(w *world, tenant client.Client) {
			w.editAs(tenant, func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf(w.names()[0], "") })
		},
		"restore that keeps nothing": func(w *world, tenant client.Client) {
			w.editAs(tenant, func(c *v1alpha1.GoCache) {
				keepNothing(&c.Spec)
				c.Spec.Restore = restoreOf(w.names()[0], "")
			})
		},
		"rollback request": func(w *world, tenant client.Client) {
			asked := *w.requests
			asked.Client = tenant
			asked.Create(w.t, "rollback-1", v1alpha1.RequestRollback)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cacheWithSnapshot()
			v, tenant := newVictim(w), server.Tenant(t, w.namespace)
			defer v.untouched(w)
			w.editAs(tenant, func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
			w.settle()
			w.byHand = true
			w.must(tenant.Delete(t.Context(), get[corev1.PersistentVolumeClaim](w, "ci")))
			w.end()
			v.plant(w, tenant, "ci")
			ask(w, tenant)
			w.editAs(tenant, func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
			for range 4 {
				w.settle()
				w.now = w.now.Add(time.Minute)
			}
			status := w.get().Status
			message := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition).Message
			if exists[v1alpha1.CacheRequest](w, "rollback-1") {
				message += "\n" + w.requests.Get(t, "rollback-1").Status.Message
			}
			if !strings.Contains(message, v.pv.Name) || !strings.Contains(message, "another PersistentVolumeClaim") {
				t.Errorf("the object does not say what is wrong: %s", message)
			}
			if strings.Contains(message, v.pvc.Namespace+"/") {
				t.Errorf("the object names another tenant's PersistentVolumeClaim: %s", message)
			}
		})
	}
}

// TestAnotherTenantsVolumeIsNeverUsedMidway plants the PersistentVolumeClaim
// while a replacement is in progress: in the place of the cache's own, or of
// the one that the new content is made in.
func TestAnotherTenantsVolumeIsNeverUsedMidway(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ci", "ci-next", "ci-previous"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cacheWithSnapshot()
			v, tenant := newVictim(w), server.Tenant(t, w.namespace)
			defer v.untouched(w)
			pod := w.consumer("a")
			w.restore()
			w.settle()
			if in := w.get().Status.VolumeReplacement; in == nil || in.NextVolume == "" {
				t.Fatalf("no replacement waits: %+v", in)
			}
			w.byHand = true
			w.editAs(tenant, func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
			if name != "ci-previous" {
				w.must(tenant.Delete(t.Context(), get[corev1.PersistentVolumeClaim](w, name)))
			}
			w.must(tenant.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
			for range 3 {
				_, err := w.cluster.Step(t.Context())
				w.must(err)
			}
			v.plant(w, tenant, name)
			w.editAs(tenant, func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
			for range 4 {
				w.settle()
				w.now = w.now.Add(time.Minute)
			}
		})
	}
}
