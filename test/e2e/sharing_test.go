package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/test/scenario"
)

// TestSharing shares a cache with three other namespaces: pods there read clones of
// the snapshot that was verified in the first. A fourth namespace gets nothing, and
// one that is no longer selected gets nothing more. Nothing that carried the
// snapshot is left, and the snapshot itself stays.
func TestSharing(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "e2e-sharing")
	snap, err := s.Offered(s.ctx, "")
	s.must(err)
	guests := make([]*fixture, 4)
	for i := range guests {
		guests[i] = s.guest(fmt.Sprintf("%s-%d", s.Namespace, i))
	}
	s.shareWith(guests[:3]...)

	for i, g := range guests {
		g.must(g.Client.Create(g.ctx, &v1alpha1.GoCache{
			ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: "ci"},
			Spec:       v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{Namespace: s.Namespace, Name: scenario.Cache}},
		}))
		g.claim("data", s)
		g.consume("look", "data")
		if i == 3 {
			g.ready("False " + v1alpha1.ReasonNotShared)
			g.recorded("PersistentVolumeClaim", "data", "NotShared")
			continue
		}
		g.ready("True " + v1alpha1.ReasonCacheReady)
	}
	for _, g := range guests[:3] {
		g.consumed("look", 3*time.Minute)
		from, err := g.PopulatedFrom(g.ctx, "data")
		g.must(err)
		if want := s.Namespace + "/" + snap.Name; from != want {
			g.Errorf("namespace %s got a clone of %q, want %q", g.Namespace, from, want)
		}
		var cache v1alpha1.GoCache
		g.get("ci", &cache)
		if is := cache.Status.Source; is == nil || is.Snapshot != snap.Name || is.Digest != snap.Status.Verification.Digest || is.Verdict != v1alpha1.VerdictIntact {
			g.Errorf("the cache in namespace %s shows %+v, want snapshot %s with digest %s", g.Namespace, is, snap.Name, snap.Status.Verification.Digest)
		}
		g.recorded("PersistentVolumeClaim", "data", "Sharing", "Populated")
		g.nothingCarries()
	}
	var pvc corev1.PersistentVolumeClaim
	guests[3].get("data", &pvc)
	if pvc.Spec.VolumeName != "" {
		s.Errorf("a namespace that is not selected got volume %s", pvc.Spec.VolumeName)
	}

	withdrawn, kept := guests[0], guests[1]
	s.shareWith(guests[1:3]...)
	for _, g := range []*fixture{withdrawn, kept} {
		g.claim("late", s)
		g.consume("late", "late")
	}
	kept.consumed("late", 3*time.Minute)
	withdrawn.recorded("PersistentVolumeClaim", "late", "NotShared")
	withdrawn.get("late", &pvc)
	if pvc.Spec.VolumeName != "" {
		s.Errorf("a namespace that is not selected any more got volume %s", pvc.Spec.VolumeName)
	}
	withdrawn.get("data", &pvc)
	if pvc.Status.Phase != corev1.ClaimBound {
		s.Errorf("the volume that the namespace had is %s", pvc.Status.Phase)
	}

	// The CSI snapshot outlived all that carried it.
	s.must(s.Claim(s.ctx, "own"))
	s.consume("own", "own")
	s.consumed("own", 3*time.Minute)
}

// guest is a namespace beside that of the fixture, with nothing in it. It goes with
// the test.
func (s *fixture) guest(namespace string) *fixture {
	s.Helper()
	s.must(s.Client.Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}))
	s.Cleanup(func() {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if err := suite.cluster.Client.Delete(suite.ctx, ns); client.IgnoreNotFound(err) != nil {
			s.Errorf("remove namespace %s: %v", namespace, err)
		}
	})
	there := *s.Scenario
	there.Namespace = namespace
	g := *s
	g.Scenario = &there
	return &g
}

// shareWith has the cache select the namespaces of some guests by their names.
func (s *fixture) shareWith(guests ...*fixture) {
	s.Helper()
	var names []string
	for _, g := range guests {
		names = append(names, g.Namespace)
	}
	var cache v1alpha1.GoCache
	s.get(scenario.Cache, &cache)
	before := cache.DeepCopy()
	cache.Spec.Consumers = &v1alpha1.CacheConsumers{NamespaceSelector: v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.SelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: "In", Values: names}}}}
	s.must(s.Client.Patch(s.ctx, &cache, client.MergeFrom(before)))
}

// claim creates a PVC that names the shared cache, as large as the PVC of its source.
func (s *fixture) claim(name string, source *fixture) {
	s.Helper()
	var of corev1.PersistentVolumeClaim
	source.get(scenario.Cache, &of)
	s.must(s.Client.Create(s.ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: of.Spec.AccessModes, Resources: of.Spec.Resources, StorageClassName: of.Spec.StorageClassName,
			DataSourceRef: &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: v1alpha1.GoCacheKind, Name: "ci"},
		},
	}))
}

// ready waits until the shared cache is Ready, or not, for a reason.
func (s *fixture) ready(want string) {
	s.Helper()
	var cache v1alpha1.GoCache
	s.until(2*time.Minute, "GoCache ci in "+s.Namespace+" to be Ready="+want, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "ci"}, &cache)
		got := condition(cache.Status.Conditions, v1alpha1.ReadyCondition)
		return got == want, got, err
	})
}

// nothingCarries waits until nothing is left that carried a snapshot into the
// namespace.
func (s *fixture) nothingCarries() {
	s.Helper()
	s.until(time.Minute, "what carried the snapshot into "+s.Namespace+" to be gone", func(ctx context.Context) (bool, string, error) {
		var snapshots snapshotv1.VolumeSnapshotList
		if err := s.Client.List(ctx, &snapshots, client.InNamespace(s.Namespace)); err != nil {
			return false, "", err
		}
		var contents snapshotv1.VolumeSnapshotContentList
		if err := s.Client.List(ctx, &contents, client.HasLabels{volume.IntermediateLabel}); err != nil {
			return false, "", err
		}
		left := len(snapshots.Items)
		for i := range contents.Items {
			if contents.Items[i].Spec.VolumeSnapshotRef.Namespace == s.Namespace {
				left++
			}
		}
		return left == 0, fmt.Sprintf("%d objects", left), nil
	})
}
