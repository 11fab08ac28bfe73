package gocache

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

// replacementEnd is what must be the same of volumes, however often the manager
// is killed.
type replacementEnd struct {
	// Restored: the cache PVC holds the content of a snapshot. Class is that of
	// the PVC.
	Restored bool
	Class    string
	Reason   v1alpha1.VolumeReplacementReason
	Failed   bool
	// PVCs that exist, and their phases.
	PVCs []string
	// Volumes that exist, and how many were deleted by their policy.
	Volumes, Reclaimed int
	// Left lists what must not exist.
	Left []string
}

func (w *world) replacementEnd() replacementEnd {
	w.t.Helper()
	volumes, err := w.cluster.Volumes(w.t.Context())
	w.must(err)
	e := replacementEnd{Volumes: len(volumes), Reclaimed: len(w.cluster.Reclaimed)}
	var pvcs corev1.PersistentVolumeClaimList
	w.must(server.Client.List(w.t.Context(), &pvcs, inNamespace(w)...))
	for _, c := range pvcs.Items {
		name := c.Name
		if owner := metav1.GetControllerOf(&c); owner != nil { // the names of a pool have its uid
			name = strings.ReplaceAll(name, string(owner.UID), "UID")
		}
		e.PVCs = append(e.PVCs, name+" "+string(c.Status.Phase))
		if c.Name == "ci" {
			e.Restored, e.Class = w.volumes[c.Spec.VolumeName] != "", strings.TrimPrefix(ptr.Deref(c.Spec.StorageClassName, ""), w.namespace)
		}
	}
	for name, pv := range volumes {
		if pv.Annotations[volume.PolicyAnnotation] != "" || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			e.Left = append(e.Left, name)
		}
	}
	if exists[batchv1.Job](w, "ci-next") {
		e.Left = append(e.Left, "Job ci-next")
	}
	if exists[v1alpha1.GoCache](w, "ci") {
		c := w.get()
		e.Left = append(e.Left, c.Finalizers...)
		if c.Status.VolumeReplacement != nil {
			e.Left = append(e.Left, "the intent")
		}
		if last := c.Status.LastVolumeReplacement; last != nil {
			e.Reason, e.Failed = last.Reason, last.Failure != ""
		}
	}
	return e
}

// consumer is a pod of a user that mounts the cache PVC.
func (w *world) consumer(name string) *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci", ReadOnly: true},
			}}},
		},
	}
	w.must(server.Client.Create(w.t.Context(), pod))
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	w.must(server.Client.Status().Update(w.t.Context(), pod))
	return pod
}

// restore declares that the cache is to be what its only snapshot is.
func (w *world) restore(change ...func(*v1alpha1.GoCacheSpec)) {
	w.t.Helper()
	w.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Restore = restoreOf(w.names()[0], "again")
		for _, f := range change {
			f(&c.Spec)
		}
	})
}

func keepNothing(s *v1alpha1.GoCacheSpec) {
	s.Storage.VolumeReplacement.KeepPrevious = &metav1.Duration{}
}

// replacementFlows are those that start a replacement, also if it does not
// succeed.
func replacementFlows() map[string]func(*world, func()) {
	return map[string]func(*world, func()){
		"restore": func(w *world, die func()) {
			w.cacheWithSnapshot()
			die()
			w.restore()
			w.settle()
		},
		// a user created the PVC again, on a volume of another tenant
		"restore beside another tenant's volume": func(w *world, die func()) {
			w.cacheWithSnapshot()
			v := newVictim(w)
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
			w.settle()
			w.byHand = true
			w.removes("ci")
			w.must(server.Client.Delete(w.t.Context(), get[corev1.PersistentVolumeClaim](w, "ci")))
			w.end()
			v.plant(w, server.Client, "ci")
			die()
			w.restore(func(s *v1alpha1.GoCacheSpec) { s.Suspend = false })
			w.settle()
			v.untouched(w)
		},
		// the volume kept by an earlier replacement is deleted, and the last one is
		// not kept
		"restore twice": func(w *world, die func()) {
			w.cacheWithSnapshot()
			w.restore()
			w.settle()
			die()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore.RequestID = "third" })
			w.settle()
			w.edit(func(c *v1alpha1.GoCache) { keepNothing(&c.Spec); c.Spec.Restore.RequestID = "fourth" })
			w.settle()
		},
		"rollback by request": func(w *world, die func()) {
			w.cacheWithSnapshot(keepNothing)
			die()
			w.request("rollback-1", v1alpha1.RequestRollback)
			w.settle()
		},
		"rollback of a corrupt volume": func(w *world, die func()) {
			w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) {
				s.Integrity = &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}
			})
			die()
			w.checked = corrupt
			w.request("failure-report-1", v1alpha1.RequestReportFailure)
			w.settle()
		},
		"migration to another class": func(w *world, die func()) {
			first, second := w.class(), w.namespace+"-b"
			w.must(server.Client.Create(w.t.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: second}, Provisioner: "test.csi.gocache.dev"}))
			w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = first })
			w.now = w.now.Add(time.Minute)
			die()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.StorageClassName = &second })
			w.settle()
		},
		"migration to less": func(w *world, die func()) {
			w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.Size = resource.MustParse("2Gi") })
			w.now = w.now.Add(time.Minute)
			die()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("1Gi") })
			w.settle()
		},
		// a cache of the same name is created again, from the snapshot of the first
		"seed": func(w *world, die func()) {
			snapshot := w.cacheWithSnapshot()
			w.must(server.Client.Delete(w.t.Context(), w.get()))
			w.end()
			w.must(server.Client.Delete(w.t.Context(), get[corev1.PersistentVolumeClaim](w, "ci")))
			w.end()
			die()
			w.cache(func(s *v1alpha1.GoCacheSpec) { s.Restore = restoreOf(snapshot, "") })
			w.settle()
		},
		"a new volume that is Corrupt": func(w *world, die func()) {
			w.cacheWithSnapshot()
			die()
			w.renewed = corruptEnding()
			w.restore()
			w.settle()
		},
		"eviction": func(w *world, die func()) {
			w.cacheWithSnapshot()
			w.consumer("a")
			w.consumer("b")
			die()
			w.restore(func(s *v1alpha1.GoCacheSpec) { s.Storage.VolumeReplacement.Consumers = v1alpha1.ConsumersEvict })
			w.settle()
		},
		"withdrawn while pods hold the PVC": func(w *world, die func()) {
			w.cacheWithSnapshot()
			w.consumer("a")
			die()
			w.restore()
			w.settle()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = nil })
			w.wait(time.Minute)
		},
		"deleted while pods hold the PVC": func(w *world, die func()) {
			w.cacheWithSnapshot()
			w.consumer("a")
			die()
			w.restore()
			w.settle()
			w.must(server.Client.Delete(w.t.Context(), w.get()))
			w.end()
		},
	}
}
