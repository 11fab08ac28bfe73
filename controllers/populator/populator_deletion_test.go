package populator

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestPVCDeletedMidwayIsCleanedUp deletes the user's PVC after each act
// of a population, with the populator up and with it down.
func TestPVCDeletedMidwayIsCleanedUp(t *testing.T) {
	t.Parallel()
	for acts := range 6 {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprintf("after %d acts, populator up %t", acts, up), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.snapshot("ci-1", "ci", metav1.ConditionTrue)
				claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
				w.schedule("data", "n1")
				for i := range acts {
					if i%2 == 0 {
						w.pass("data")
					} else {
						w.must(w.cluster(t.Context()))
					}
				}
				w.must(server.Client.Delete(t.Context(), w.get("data")))
				if up {
					w.pass("data")
				}
				for range 6 {
					w.must(w.cluster(t.Context()))
					if up {
						w.pass("data")
					}
				}
				if w.intermediateOf(claim) != nil {
					t.Error("the intermediate PVC is left")
				}
				if n := w.volumes(); n != 0 {
					t.Errorf("%d volumes are left", n)
				}
			})
		}
	}
}

func TestClaimOfTheSameNameIsAnotherClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	first := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.pass("data")
	w.must(w.cluster(t.Context()))
	w.pass("data") // handed over to the first, not bound
	gone := w.get("data")
	gone.Finalizers = nil
	w.must(server.Client.Update(t.Context(), gone))
	w.must(server.Client.Delete(t.Context(), gone))

	w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.settle("data")
	w.populated("data", "ci-1")
	if w.intermediateOf(first) != nil {
		t.Error("the intermediate PVC of the first PVC is left")
	}
}

func TestSourceDeletedMidway(t *testing.T) {
	t.Parallel()
	for _, bound := range []bool{false, true} {
		t.Run(fmt.Sprintf("clone complete %t", bound), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.stuck = !bound
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			w.cache("ci", "ci-1")
			claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", "n1")
			w.pass("data")
			w.must(w.cluster(t.Context()))

			w.must(server.Client.Delete(t.Context(), &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci-1"}}))
			w.settle("data")
			if !bound {
				if w.intermediateOf(claim) == nil {
					t.Fatal("the provisioner was not left to finish")
				}
				w.complain(w.intermediateOf(claim), "gone", "snapshot ci-1-csi not found")
				w.now = w.now.Add(time.Minute)
				w.settle("data")
			}
			// A complete clone is not handed over either: nothing shows any more that
			// it was made from the snapshot that was verified.
			w.once("Warning SnapshotWithdrawn", "ci-1")
			if w.intermediateOf(claim) != nil {
				t.Fatal("the intermediate PVC would keep the snapshot from going")
			}
			w.stuck = false
			w.snapshot("ci-2", "ci", metav1.ConditionTrue)
			w.offer("ci", "ci-2")
			w.settle("data")
			w.populated("data", "ci-2")
		})
	}
}

func TestSourceCorruptMidwayIsNotHandedOver(t *testing.T) {
	t.Parallel()
	for _, bound := range []bool{false, true} {
		t.Run(fmt.Sprintf("clone complete %t", bound), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.stuck = !bound
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			w.cache("ci", "ci-1")
			w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", "n1")
			w.pass("data")
			w.must(w.cluster(t.Context()))

			w.verdict("ci-1", metav1.ConditionFalse)
			w.settle("data")
			if phase := w.get("data").Status.Phase; phase == corev1.ClaimBound {
				t.Fatal("the PVC got corrupt content")
			}
			w.once("Warning SnapshotWithdrawn", "ci-1")
			w.once("Warning SnapshotCorrupt", "ci-1")
			if n := w.volumes(); n != 0 {
				t.Errorf("%d volumes are left", n)
			}
		})
	}
}

func TestCacheDeletedMidwayDoesNotMatter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-1")
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.pass("data")
	w.must(server.Client.Delete(t.Context(), &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"}}))
	w.settle("data")
	w.populated("data", "ci-1")
}
