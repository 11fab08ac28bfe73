package gocache

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/kstatus"
)

// TestKstatus goes through the life of a cache as a GitOps tool sees it, which
// waits, goes on or gives up by what it reads.
func TestKstatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expect := func(want kstatus.Status, step string) {
		t.Helper()
		kstatus.Want(t, server.Client, w.get(), want, step)
	}
	ending := w.ending
	w.ending = nil
	w.cache(afterWarmUp)
	expect(kstatus.InProgress, "applied, and not observed yet")
	w.must(w.pass())
	expect(kstatus.InProgress, "after the first pass")
	w.settle()
	expect(kstatus.InProgress, "while the first warm-up runs")
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no such module"})
	w.settle()
	expect(kstatus.InProgress, "after a warm-up failed, which is tried again")
	w.ending, w.slow = ending, true
	w.wait(2 * 60e9)
	expect(kstatus.InProgress, "warm, with a snapshot that is not verified yet")
	w.slow = false
	w.settle()
	expect(kstatus.Current, "warm, with a verified snapshot")

	w.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Snapshots.Schedule = v1alpha1.Schedule{Schedule: "@daily", TimeZone: "Mars/Base"}
	})
	expect(kstatus.InProgress, "edited, and not seen yet")
	w.settle()
	expect(kstatus.Failed, "with a time zone that does not exist")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Snapshots.TimeZone = "" })
	expect(kstatus.InProgress, "corrected, and not observed yet")
	w.settle()
	expect(kstatus.Current, "corrected")

	w.corrupt = true
	w.request("snapshot-1", v1alpha1.RequestSnapshot)
	w.settle()
	expect(kstatus.Current, "when its newest snapshot is corrupt: an older one is offered")

	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
	w.settle()
	expect(kstatus.Current, "suspended: there is nothing to wait for")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
	w.settle()
	expect(kstatus.Current, "resumed")

	w.must(server.Client.Delete(t.Context(), w.get(), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	w.must(w.pass())
	expect(kstatus.Terminating, "deleted, while its children go")
}
