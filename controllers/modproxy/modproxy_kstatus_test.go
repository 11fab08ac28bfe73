package modproxy

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/kstatus"
)

// TestKstatus goes through the life of a proxy as a GitOps tool sees it, which
// waits, goes on or gives up by what it reads.
func TestKstatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reports := func(want kstatus.Status, step string) {
		t.Helper()
		kstatus.Want(t, server.Client, w.get(), want, step)
	}
	w.proxy()
	reports(kstatus.InProgress, "applied, and not observed yet")
	w.settle()
	reports(kstatus.InProgress, "before any probe has passed")
	w.tick(2)
	reports(kstatus.Current, "serving")
	w.blue.down = true
	w.tick(3)
	reports(kstatus.Current, "with one dead instance of two: clients notice nothing")
	w.green.down = true
	w.tick(3)
	reports(kstatus.Failed, "with no healthy instance")
	w.blue.down, w.green.down = false, false
	w.tick(12)
	reports(kstatus.Current, "recovered")
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Suspend = true })
	reports(kstatus.InProgress, "edited, and not seen yet")
	w.settle()
	reports(kstatus.Current, "suspended: it serves on")
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Suspend = false })
	w.settle()
	w.blue.wrong = true
	w.tick(3)
	reports(kstatus.Current, "with one quarantined instance of two")
	w.green.wrong = true
	w.tick(3)
	reports(kstatus.Failed, "with every instance quarantined")
	w.must(server.Client.Delete(t.Context(), w.get(), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	reports(kstatus.Terminating, "deleted, while its children go")
}
