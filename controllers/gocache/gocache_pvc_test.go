package gocache

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// class is an expandable StorageClass of this world's own.
func (w *world) class() *string {
	w.t.Helper()
	name := w.namespace
	w.must(server.Client.Create(w.t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "test.csi.gocache.dev", AllowVolumeExpansion: ptr.To(true),
	}))
	return &name
}

func (w *world) asksFor(size string) {
	w.t.Helper()
	pvc := get[corev1.PersistentVolumeClaim](w, "ci")
	if got := pvc.Spec.Resources.Requests[corev1.ResourceStorage]; got.Cmp(resource.MustParse(size)) != 0 {
		w.t.Errorf("the PVC asks for %s, want %s", got.String(), size)
	}
}

// TestPVCGrows holds that the cache PVC grows with spec.storage.size.
func TestPVCGrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	class := w.class()
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = class })
	w.settle()
	w.asksFor("1Gi")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("2Gi") })
	w.settle()
	w.asksFor("2Gi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestPVCThatGrewByHand holds that a PVC that a user expanded is not shrunk.
func TestPVCThatGrewByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	class := w.class()
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = class })
	w.settle()
	pvc := get[corev1.PersistentVolumeClaim](w, "ci")
	pvc.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("5Gi")
	w.must(server.Client.Update(t.Context(), pvc))
	w.settle()
	w.asksFor("5Gi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestExpansionNotAllowed holds that a size to which the StorageClass lets no PVC grow
// is reported once, with what to do, that the cache stays as usable as it was, and that
// it grows as soon as the class allows it, or recovers when the size is set back.
func TestExpansionNotAllowed(t *testing.T) {
	t.Parallel()
	rigid := func(w *world) *string {
		name := w.class()
		class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: *name}}
		w.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(class), class))
		class.AllowVolumeExpansion = nil
		w.must(server.Client.Update(t.Context(), class))
		return name
	}
	for name, tt := range map[string]struct {
		class   func(*world) *string
		message string
	}{
		"a class that does not allow it": {rigid, "spec.storage.size: PVC ci cannot grow from 1Gi to 2Gi: its StorageClass "},
		"no class":                       {func(*world) *string { return nil }, "spec.storage.size: PVC ci cannot grow from 1Gi to 2Gi: it has no StorageClass"},
		"a class that is gone":           {func(*world) *string { return ptr.To("gone") }, "its StorageClass gone does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			class := tt.class(w)
			w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = class })
			w.settle()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("2Gi") })
			w.settle()
			w.asksFor("1Gi")
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonExpansionNotAllowed, tt.message)
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
			before := len(w.mortal.Writes)
			w.wait(10 * time.Minute)
			if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
				t.Errorf("it wrote %q", wrote)
			}
			size := "1Gi"
			if class != nil && *class != "gone" {
				size = "2Gi"
				patched := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: *class}}
				w.must(server.Client.Patch(t.Context(), patched, client.RawPatch(types.StrategicMergePatchType, []byte(`{"allowVolumeExpansion": true}`)))) // the command of the message
			} else {
				w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse(size) })
			}
			w.wait(2 * time.Minute)
			w.asksFor(size)
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
			if meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition) != nil {
				t.Errorf("still stalled: %+v", w.get().Status.Conditions)
			}
		})
	}
}

// TestPVCThatNeverHadAVolume holds that a PVC whose class or size cannot be
// provisioned is created again after the spec was changed, and that a PVC with a
// volume is never deleted for that.
func TestPVCThatNeverHadAVolume(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *v1alpha1.CacheStorage, class *string){
		"another class": func(s *v1alpha1.CacheStorage, class *string) { s.StorageClassName = class },
		"less":          func(s *v1alpha1.CacheStorage, _ *string) { s.Size = resource.MustParse("512Mi") },
		"more":          func(s *v1alpha1.CacheStorage, _ *string) { s.Size = resource.MustParse("3Gi") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			class := w.class()
			w.cluster.Unbound = func(*corev1.PersistentVolumeClaim) bool { return true }
			w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = ptr.To("nobody-knows") })
			w.settle()
			w.condition(v1alpha1.PVCBoundCondition, metav1.ConditionFalse, v1alpha1.ReasonPVCPending, "waits for its volume")
			was := get[corev1.PersistentVolumeClaim](w, "ci").UID

			w.edit(func(c *v1alpha1.GoCache) { change(&c.Spec.Storage, class) })
			w.cluster.Unbound = nil
			for range 5 { // the cluster would provision the old PVC: the operator is first
				w.must(w.pass())
			}
			w.settle()
			pvc, spec := get[corev1.PersistentVolumeClaim](w, "ci"), w.get().Spec.Storage
			w.asksFor(spec.Size.String())
			if pvc.UID == was || *pvc.Spec.StorageClassName != *spec.StorageClassName {
				t.Errorf("claim %s (was %s) of class %s", pvc.UID, was, *pvc.Spec.StorageClassName)
			}
			if events := w.newEvents(); !strings.Contains(events, "PVCDeleted") {
				t.Errorf("events: %s", events)
			}
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
			w.settle()
			if again := get[corev1.PersistentVolumeClaim](w, "ci").UID; again != pvc.UID {
				t.Error("a claim with a volume was withdrawn")
			}
		})
	}
}

// TestForeignPVCIsNotUsed holds that a PVC of the cache's name is neither changed
// nor written to if a user created it or if it belongs to another object of the
// operator.
func TestForeignPVCIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, labels := range map[string]map[string]string{
		"not managed": {"app": "mine"},
		"store of a proxy": {
			v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ProxyLabel: "c", v1alpha1.InstanceLabel: "i",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			foreign := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci", Labels: labels}}
			foreign.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
			foreign.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
			w.must(server.Client.Create(t.Context(), foreign))
			w.cache()
			w.settle()
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonConflict, "PersistentVolumeClaim "+w.namespace+"/ci exists and is not ours")
			if len(w.warmUps) > 0 {
				t.Error("a writer was let at somebody else's claim")
			}
			pvc := get[corev1.PersistentVolumeClaim](w, "ci")
			if _, labelled := pvc.Labels[v1alpha1.CacheLabel]; labelled {
				t.Error("the PVC was labelled")
			}
			if w.get().Status.Storage.PersistentVolumeClaimName != "" {
				t.Errorf("status calls it the cache's claim: %+v", w.get().Status.Storage)
			}
		})
	}
}

// TestPVCLost holds that a lost volume is reported.
func TestPVCLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	pvc := get[corev1.PersistentVolumeClaim](w, "ci")
	pvc.Status.Phase = corev1.ClaimLost
	w.must(server.Client.Status().Update(t.Context(), pvc))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonPVCLost, "delete the PersistentVolumeClaim to begin again")
	w.must(server.Client.Delete(t.Context(), pvc))
	w.settle()
	w.condition(v1alpha1.StalledCondition, "", "", "")
	if !exists[corev1.PersistentVolumeClaim](w, "ci") {
		t.Error("the PVC was not made anew")
	}
}

// TestWhenDeleted holds which objects are deleted with a cache and which are
// retained, also when the deletion policy was changed before, whatever the cache
// was doing.
func TestWhenDeleted(t *testing.T) {
	t.Parallel()
	suspended := func(w *world) { w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true }) }
	restored := func(w *world) { w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf(w.names()[0], "") }) }
	replacing := func(w *world) { w.renewed = nil; restored(w) }
	for _, tt := range []struct {
		name          string
		atFirst, then v1alpha1.DeletionPolicy
		pvcStays      bool
		before        func(*world) // the policy is changed; may be nil
	}{
		{name: "retain", atFirst: v1alpha1.DeletionRetain, then: v1alpha1.DeletionRetain, pvcStays: true},
		{name: "delete", atFirst: v1alpha1.DeletionDelete, then: v1alpha1.DeletionDelete},
		{name: "retain, then delete", atFirst: v1alpha1.DeletionRetain, then: v1alpha1.DeletionDelete},
		{name: "delete, then retain", atFirst: v1alpha1.DeletionDelete, then: v1alpha1.DeletionRetain, pvcStays: true},
		{name: "delete, then retain, suspended", atFirst: v1alpha1.DeletionDelete, then: v1alpha1.DeletionRetain, pvcStays: true, before: suspended},
		{name: "retain, then delete, suspended", atFirst: v1alpha1.DeletionRetain, then: v1alpha1.DeletionDelete, before: suspended},
		{name: "delete, then retain, replacing", atFirst: v1alpha1.DeletionDelete, then: v1alpha1.DeletionRetain, pvcStays: true, before: replacing},
		{name: "retain, then delete, replacing", atFirst: v1alpha1.DeletionRetain, then: v1alpha1.DeletionDelete, before: replacing},
		{name: "delete, then retain, replaced", atFirst: v1alpha1.DeletionDelete, then: v1alpha1.DeletionRetain, pvcStays: true, before: restored},
		{name: "retain, then delete, replaced", atFirst: v1alpha1.DeletionRetain, then: v1alpha1.DeletionDelete, before: restored},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			policy := func(p v1alpha1.DeletionPolicy) func(s *v1alpha1.GoCacheSpec) {
				return func(s *v1alpha1.GoCacheSpec) {
					s.Storage.DeletionPolicy = p
					s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), DeletionPolicy: p}
				}
			}
			w.cache(policy(tt.atFirst))
			w.settle()
			if tt.before != nil {
				tt.before(w)
				w.settle()
			}
			previous := exists[corev1.PersistentVolumeClaim](w, "ci-previous")
			w.edit(func(c *v1alpha1.GoCache) { policy(tt.then)(&c.Spec) })
			w.settle()
			w.must(server.Client.Delete(t.Context(), w.get()))
			w.end()
			if got := exists[corev1.PersistentVolumeClaim](w, "ci"); got != tt.pvcStays {
				t.Errorf("claim exists: %v, want %v", got, tt.pvcStays)
			}
			if got := exists[corev1.PersistentVolumeClaim](w, "ci-previous"); previous && got != tt.pvcStays {
				t.Errorf("the PVC with the previous volume exists: %v, want %v", got, tt.pvcStays)
			}
			if got := len(w.snapshots()) > 0; got != tt.pvcStays {
				t.Errorf("snapshot exists: %v, want %v", got, tt.pvcStays)
			}
			if exists[corev1.ConfigMap](w, "ci-env") || exists[corev1.ConfigMap](w, "ci-env-offline") {
				t.Error("an environment stays without its cache")
			}
			if !tt.pvcStays {
				return
			}
			uid := get[corev1.PersistentVolumeClaim](w, "ci").UID
			w.cache()
			w.settle()
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
			if get[corev1.PersistentVolumeClaim](w, "ci").UID != uid {
				t.Error("a cache of the same name did not take up the PVC again")
			}
		})
	}
}

// TestDeletedWhileWarming holds that nothing is stuck.
func TestDeletedWhileWarming(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.DeletionPolicy = v1alpha1.DeletionDelete })
	w.settle()
	w.must(server.Client.Delete(t.Context(), w.get()))
	w.end()
	for range 3 {
		w.must(w.pass())
	}
	var pods corev1.PodList
	w.must(server.Client.List(t.Context(), &pods, inNamespace(w)...))
	if len(pods.Items) > 0 || exists[corev1.PersistentVolumeClaim](w, "ci") {
		t.Errorf("left behind: %d pods, the PVC: %v", len(pods.Items), exists[corev1.PersistentVolumeClaim](w, "ci"))
	}
}
