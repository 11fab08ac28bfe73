package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/test/scenario"
)

// TestDrainedNode drains the only node while a snapshot is verified on it: the
// verdict is Inconclusive and never Corrupt, the snapshot reports that the next
// check finds no node, and it is verified when the node takes pods again.
func TestDrainedNode(t *testing.T) {
	if suite.cluster.Kind == scenario.Current {
		t.Skip("the nodes of a cluster that others use are not cordoned")
	}
	s := onSmall(t)
	_, err := s.Warmed(s.ctx)
	s.must(err)
	snap := s.snapshotObject("drained")
	// So little of a processor that the check is still at it when it is evicted.
	snap.Spec.Verification.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"cpu": resource.MustParse("30m")}}
	s.must(s.Client.Create(s.ctx, snap))
	history := s.watch(snap.Name)

	s.Cleanup(func() { s.must(s.cordon(context.WithoutCancel(s.ctx), false)) })
	s.evictAfter(naming.Child(snap.Name, naming.Verify), func() { s.must(s.cordon(s.ctx, true)) })
	drained := time.Now()
	const message = "has no node (Unschedulable)"
	s.until(3*time.Minute, "the snapshot to say that there is no node", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(snap), snap)
		ready := meta.FindStatusCondition(snap.Status.Conditions, v1alpha1.ReadyCondition)
		if ready == nil {
			return false, "no condition Ready", err
		}
		return strings.Contains(ready.Message, message), ready.Message, err
	})
	s.Logf("after %s it says: %s", since(drained), meta.FindStatusCondition(snap.Status.Conditions, v1alpha1.ReadyCondition).Message)
	if v := snap.Status.Verification; v.Attempts != 1 || v.Verdict != v1alpha1.VerdictInconclusive {
		s.Errorf("%d attempts, the last %s: %s", v.Attempts, v.Verdict, v.Message)
	}

	s.must(s.cordon(s.ctx, false))
	s.verdict(snap.Name, v1alpha1.VerdictIntact)
	for _, was := range history() {
		if got := condition(was.Status.Conditions, v1alpha1.VerifiedCondition); strings.HasPrefix(got, "False") {
			s.Errorf("the snapshot was Verified=%s after attempt %d (%s)", got, was.Status.Verification.Attempts, was.Status.Verification.Message)
		}
	}
	s.get(snap.Name, snap)
	if v := snap.Status.Verification; v.Attempts != 2 {
		s.Errorf("%d attempts, want the evicted and the one that waited for the node", v.Attempts)
	}
	s.recorded(v1alpha1.CacheSnapshotKind, snap.Name, "SnapshotCreated", "Inconclusive", "Verified")
	s.cleanedUp(snap.Name)
}

// cordon keeps new pods from all nodes, or allows them again.
func (s *fixture) cordon(ctx context.Context, on bool) error {
	var nodes corev1.NodeList
	if err := s.Client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, on))
		if err := s.Client.Patch(ctx, &nodes.Items[i], patch); err != nil {
			return fmt.Errorf("cordon %s: %w", nodes.Items[i].Name, err)
		}
	}
	return nil
}
