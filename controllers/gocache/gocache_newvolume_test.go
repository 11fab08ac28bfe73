package gocache

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
)

// replace deletes the cache PVC, as a user does to start again, and lets the
// operator create another one.
func (w *world) replace() {
	w.t.Helper()
	w.must(server.Client.Delete(w.t.Context(), get[corev1.PersistentVolumeClaim](w, "ci")))
	w.settle()
	if !exists[corev1.PersistentVolumeClaim](w, "ci") {
		w.t.Fatal("the PVC was not made anew")
	}
}

// TestNewVolumeIsWarmedAgain holds that a cache is not Warm after an empty PVC
// took the place of the warm one.
func TestNewVolumeIsWarmedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(afterWarmUp)
	w.settle()
	w.newEvents()
	w.ending = nil
	w.replace()
	w.condition(v1alpha1.WarmCondition, metav1.ConditionFalse, v1alpha1.ReasonWarming, "")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWarming, "")
	if events := w.newEvents(); !strings.Contains(events, "Started a warm-up: its volume is new") {
		t.Errorf("events: %s", events)
	}
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3})
	w.now = w.now.Add(60e9)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if len(w.warmUps) != 2 || len(w.names()) != 2 {
		t.Errorf("%d warm-ups and snapshots %v, want two of each", len(w.warmUps), w.names())
	}
}

// TestNoSnapshotOfNewVolumeForOldRun holds that no snapshot of a new PVC is
// created because of a run that wrote to the old one.
func TestNoSnapshotOfNewVolumeForOldRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(withoutSnapshots)
	w.settle()
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no"})
	w.edit(func(c *v1alpha1.GoCache) { afterWarmUp(&c.Spec); c.Spec.Suspend = true })
	w.settle()
	w.must(server.Client.Delete(t.Context(), get[corev1.PersistentVolumeClaim](w, "ci")))
	_, err := w.cluster.Step(t.Context())
	w.must(err)
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
	w.settle()
	w.condition(v1alpha1.WarmCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpFailed, "no")
	if names := w.names(); len(names) > 0 {
		t.Errorf("snapshots %v of a claim that was never warm", names)
	}
}
