package cachesnapshot

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/kstatus"
)

// TestKstatus checks the kstatus of snapshots in all phases. GitOps tools wait,
// continue or fail by it.
func TestKstatus(t *testing.T) {
	t.Parallel()
	t.Run("intact", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		expect := func(want kstatus.Status, step string) {
			t.Helper()
			kstatus.Want(t, server.Client, w.get(), want, step)
		}
		pass := func() {
			_, err := w.pass(t.Context())
			w.must(err)
		}
		w.snapshot()
		expect(kstatus.InProgress, "applied, and not observed yet")
		pass()
		expect(kstatus.InProgress, "without its source")
		w.cache()
		w.ending = nil
		w.cluster.SnapshotError = "the array is busy"
		for range 4 {
			pass()
			_, err := w.cluster.Step(t.Context())
			w.must(err)
		}
		expect(kstatus.InProgress, "while the driver fails to create it: it is tried again")
		w.cluster.SnapshotError = ""
		for range 6 {
			pass()
			_, err := w.cluster.Step(t.Context())
			w.must(err)
			w.now = w.now.Add(10e9)
		}
		if w.get().Status.CreationTime == nil {
			t.Fatal("it was not cut")
		}
		expect(kstatus.InProgress, "while it is verified")
		s := w.get()
		s.Spec.Suspend = true
		w.must(server.Client.Update(t.Context(), s))
		expect(kstatus.InProgress, "suspended, and not seen yet")
		pass()
		expect(kstatus.Current, "suspended: there is nothing to wait for")
		s = w.get()
		s.Spec.Suspend = false
		w.must(server.Client.Update(t.Context(), s))
		w.ending = &cluster.Ending{Message: intactReport}
		w.settle()
		expect(kstatus.Current, "verified")

		csi := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.get().Status.VolumeSnapshotName}}
		w.must(server.Client.Delete(t.Context(), csi))
		w.settle()
		expect(kstatus.Failed, "its VolumeSnapshot was deleted by hand")

		w.must(server.Client.Delete(t.Context(), w.get(), client.PropagationPolicy(metav1.DeletePropagationForeground)))
		expect(kstatus.Terminating, "deleted, while its children go")
	})
	for name, ending := range map[string]cluster.Ending{
		"convicted":          {Exit: 3, Message: corruptReport},
		"nobody could tell":  {Exit: 1, Message: "killed"},
		"evicted each time":  {Evicted: true},
		"its report is lost": {Lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ending = &ending
			w.cache()
			w.snapshot()
			w.settle()
			kstatus.Want(t, server.Client, w.get(), kstatus.Failed, name)
		})
	}
	t.Run("verification is skipped", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.cache()
		w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) { s.Verification.Mode = v1alpha1.VerificationSkip })
		w.settle()
		kstatus.Want(t, server.Client, w.get(), kstatus.Current, "verification is skipped")
	})
}
