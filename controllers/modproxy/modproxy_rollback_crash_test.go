package modproxy

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/rollback"
)

// storeEnd is what must be the same of a store that is rolled back, however
// often the manager is killed.
type storeEnd struct {
	Attempt                  int32
	Proven, Complete, Failed bool
	// Restored: it was made from a snapshot; NewVolume: it lies on another one
	// than the poisoned.
	Restored, NewVolume bool
	// Volumes that exist, and how many were deleted by their policy.
	Volumes, Reclaimed int
	// Left lists what must not exist.
	Left []string
}

func (w *world) storeEnd(instance string) (e storeEnd) {
	w.t.Helper()
	if w.cluster == nil {
		return e
	}
	p := w.get()
	status := pass.Instance(p, instance)
	if rb := status.Rollback; rb != nil {
		e.Attempt, e.Proven, e.Complete, e.Failed = rb.Attempt, rb.VerifiedTime != nil, rb.CompletionTime != nil, rb.Failed
	}
	e.Restored = status.Content != nil && status.Content.Snapshot != ""
	e.NewVolume = status.Content != nil && status.Content.VolumeName == w.blue.volume && !w.blue.rotten
	volumes, err := w.cluster.Volumes(w.t.Context())
	w.must(err)
	e.Volumes, e.Reclaimed, e.Left = len(volumes), len(w.cluster.Reclaimed), p.Finalizers
	for name, pv := range volumes {
		if pv.Annotations[volume.PolicyAnnotation] != "" || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			e.Left = append(e.Left, name)
		}
	}
	next := naming.Child("goproxy-"+instance, "next")
	for _, o := range []client.Object{&batchv1.Job{}, &corev1.PersistentVolumeClaim{}} {
		if w.exists(o, next) {
			e.Left = append(e.Left, next)
		}
	}
	if status.VolumeReplacement != nil {
		e.Left = append(e.Left, "the intent")
	}
	return e
}

// rollbackFlows are those in which a poisoned store is replaced.
func rollbackFlows() map[string]func(*world, func()) {
	// How it comes back is held elsewhere.
	atOnce := func(s *v1alpha1.ModProxySpec) {
		s.Failover.Failback.HoldDown, s.Failover.Failback.Steps = &metav1.Duration{}, []int32{100}
	}
	return map[string]func(*world, func()){
		"rollback to a snapshot": func(w *world, die func()) {
			w.guarded(atOnce)
			w.request("snapshot-1", v1alpha1.RequestSnapshot)
			w.verified()
			w.tick(1)
			w.poison()
			die()
			w.recover()
		},
		"rollback to an empty store": func(w *world, die func()) {
			w.guarded(atOnce)
			w.poison()
			die()
			w.recover()
		},
		// The next rollback has to wait.
		"rollback of a store that turns bad again": func(w *world, die func()) {
			w.guarded(atOnce)
			w.poison()
			w.recover()
			die()
			w.poison()
			w.tick(3)
			if rb := pass.Instance(w.get(), "blue").Rollback; rb.NotBefore == nil || rb.Attempt != 0 {
				w.t.Errorf("it is rolled back at once: %+v", rb)
			}
			w.now = w.now.Add(rollback.FirstPause)
			w.recover()
		},
		// The snapshot held the same: an empty store is the next attempt.
		"rollback to a snapshot that is wrong too": func(w *world, die func()) {
			w.guarded(atOnce)
			w.request("snapshot-1", v1alpha1.RequestSnapshot)
			w.verified()
			w.tick(1)
			w.poison()
			w.blue.stillWrong = true
			die()
			for range 40 {
				w.tick(1)
				if rb := pass.Instance(w.get(), "blue").Rollback; rb != nil && rb.Attempt == 2 {
					w.blue.stillWrong = false
				}
				if w.recovered() {
					break
				}
			}
		},
	}
}

// recover lets time pass until blue serves again. A poisoned store never does.
func (w *world) recover() {
	w.t.Helper()
	for range 40 {
		if w.tick(1); w.recovered() {
			return
		}
	}
	w.t.Errorf("it was never rolled back: %+v", pass.Instance(w.get(), "blue"))
}

func (w *world) recovered() bool {
	w.t.Helper()
	blue := pass.Instance(w.get(), "blue")
	if w.blue.rotten && blue.Quarantined != nil && w.published("blue") == "ready" {
		w.t.Fatal("the poisoned store serves")
	}
	return !w.blue.rotten && blue.Rollback != nil && blue.Rollback.CompletionTime != nil
}
