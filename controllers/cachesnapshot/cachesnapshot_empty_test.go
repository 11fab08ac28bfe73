package cachesnapshot

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// warmed sets the counts of the last warm-up, and the uid of the PVC that it wrote
// to, in the status of the cache.
func (w *world) warmed(pvc types.UID, counts v1alpha1.CacheCounts) {
	w.t.Helper()
	var c v1alpha1.GoCache
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &c))
	c.Status.WarmUp.PersistentVolumeClaimUID, c.Status.Counts = string(pvc), counts
	w.must(server.Client.Status().Update(w.t.Context(), &c))
}

func (w *world) pvcUID() types.UID {
	w.t.Helper()
	var pvc corev1.PersistentVolumeClaim
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &pvc))
	return pvc.UID
}

// TestEmptiedCacheIsNotOffered checks that a snapshot with an empty layer is not
// Intact if the last warm-up filled that layer, and is Intact if it did not.
func TestEmptiedCacheIsNotOffered(t *testing.T) {
	t.Parallel()
	empty := strings.NewReplacer(`"modules":3`, `"modules":0`, `"zips":3`, `"zips":0`, `"dirs":3`, `"dirs":0`, `"buildEntries":7`, `"buildEntries":0`).Replace(intactReport)
	for name, tt := range map[string]struct {
		had    v1alpha1.CacheCounts
		report string
		want   v1alpha1.Verdict
	}{
		"emptied":       {v1alpha1.CacheCounts{Modules: 3, BuildEntries: 7}, empty, v1alpha1.VerdictInconclusive},
		"one layer":     {v1alpha1.CacheCounts{BuildEntries: 7}, strings.Replace(intactReport, `"buildEntries":7`, `"buildEntries":0`, 1), v1alpha1.VerdictInconclusive},
		"always empty":  {v1alpha1.CacheCounts{}, empty, v1alpha1.VerdictIntact},
		"fewer entries": {v1alpha1.CacheCounts{Modules: 9, BuildEntries: 9}, intactReport, v1alpha1.VerdictIntact},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ending = &cluster.Ending{Message: tt.report}
			w.cache()
			w.warmed(w.pvcUID(), tt.had)
			w.snapshot()
			w.settle()
			v := w.get().Status.Verification
			if v.Verdict != tt.want || tt.want != v1alpha1.VerdictIntact && !strings.Contains(v.Message, "is empty, and held") {
				t.Errorf("verdict %s: %s, want %s", v.Verdict, v.Message, tt.want)
			}
		})
	}
}

// TestSnapshotWaitsForWarmUpOfNewPVC checks that no snapshot of a PVC that replaced
// the warmed one is created before it is warmed too.
func TestSnapshotWaitsForWarmUpOfNewPVC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.warmed("another", v1alpha1.CacheCounts{})
	w.snapshot()
	w.passes(4)
	w.condition(v1alpha1.ReadyCondition, v1alpha1.ReasonSourceNotReady, "is new and not warmed yet")
	w.warmed(w.pvcUID(), v1alpha1.CacheCounts{})
	w.settle()
	if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
		t.Errorf("verdict %q once the PVC is warm", v)
	}
}
