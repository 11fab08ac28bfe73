package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/test/scenario"
)

// TestDeletedNamespace deletes a namespace while a snapshot in it is being
// verified and PVCs are being filled: everything goes, in whatever order,
// and nothing stays behind that belongs to no namespace.
func TestDeletedNamespace(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "e2e-deleted")
	_, err := s.Offered(s.ctx, "")
	s.must(err)
	if s.Kind == scenario.Local { // clones that take long are met half made
		s.must(s.Fault(s.ctx, "set", "restore", "--delay", "5s", "--namespace", s.Namespace))
		s.Cleanup(func() { s.must(s.Fault(context.WithoutCancel(s.ctx), "clear", "restore")) })
	}

	snap := s.snapshotObject("half")
	s.must(s.Client.Create(s.ctx, snap))
	// The Job waits for its clone as long as the PVCs do for theirs: all are
	// met half made, however fast the rest is.
	verifies := func(ctx context.Context) (bool, string, error) {
		var job batchv1.Job
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: naming.Child(snap.Name, naming.Verify)}, &job)
		return err == nil, "no integrity Job", client.IgnoreNotFound(err)
	}
	s.until(time.Minute, "a verification to be under way", verifies)
	claims := []string{"half-0", "half-1", "half-2"}
	for _, name := range claims {
		s.must(s.Claim(s.ctx, name))
	}
	s.consume("half", claims...)
	s.until(time.Minute, "three populations to be under way beside the verification", func(ctx context.Context) (bool, string, error) {
		intermediates, err := s.intermediates(ctx)
		if err != nil || len(intermediates) != len(claims) {
			return false, fmt.Sprintf("primes: %v", intermediates), err
		}
		return verifies(ctx)
	})

	began := time.Now()
	s.must(s.Client.Delete(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}}))
	s.until(2*time.Minute, "namespace "+s.Namespace+" to be gone", func(ctx context.Context) (bool, string, error) {
		var ns corev1.Namespace
		err := s.Client.Get(ctx, client.ObjectKey{Name: s.Namespace}, &ns)
		saw := ""
		for _, c := range ns.Status.Conditions {
			saw += c.Message + " "
		}
		return client.IgnoreNotFound(err) == nil && err != nil, saw, client.IgnoreNotFound(err)
	})
	s.until(time.Minute, "volumes and snapshots of the namespace to be gone", func(ctx context.Context) (bool, string, error) {
		left, err := s.leftovers(ctx)
		return len(left) == 0, fmt.Sprint(left), err
	})
	s.Logf("all gone after %s", time.Since(began).Round(100*time.Millisecond))
}

// intermediates are the intermediate PVCs through which clones are made now.
func (s *fixture) intermediates(ctx context.Context) ([]string, error) {
	var list corev1.PersistentVolumeClaimList
	err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.HasLabels{volume.IntermediateLabel})
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, err
}

// leftovers are the volumes and snapshot contents of the namespace: they lie in
// none, and outlive it unless they are deleted.
func (s *fixture) leftovers(ctx context.Context) ([]string, error) {
	var left []string
	var volumes corev1.PersistentVolumeList
	if err := s.Client.List(ctx, &volumes); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for i := range volumes.Items {
		v := &volumes.Items[i]
		if ref := v.Spec.ClaimRef; ref == nil || ref.Namespace == s.Namespace {
			left = append(left, fmt.Sprintf("%s (%s)", v.Name, v.Status.Phase))
		}
	}
	var contents snapshotv1.VolumeSnapshotContentList
	if err := s.Client.List(ctx, &contents); err != nil {
		return nil, fmt.Errorf("list snapshot contents: %w", err)
	}
	for i := range contents.Items {
		if c := &contents.Items[i]; c.Spec.VolumeSnapshotRef.Namespace == s.Namespace {
			left = append(left, c.Name)
		}
	}
	return left, nil
}
