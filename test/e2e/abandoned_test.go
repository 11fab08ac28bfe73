package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/test/scenario"
)

// TestDeletedWithoutManager deletes caches and all that hangs on them in several
// orders while no manager runs, in the middle of verifications, populations and
// a volume replacement. When one runs again nothing is stuck, nothing is left that should have
// gone, and nothing is gone that a policy keeps.
func TestDeletedWithoutManager(t *testing.T) {
	namespace := fmt.Sprintf("abandoned-%x", time.Now().Unix()&0xfffff)
	s := inOwn(t, namespace, func() (*scenario.Scenario, error) {
		return suite.cluster.BeginEmpty(suite.ctx, namespace, suite.narrator)
	})
	for _, name := range []string{"kept", "swapped"} { // as by default
		s.tiny(name, v1alpha1.DeletionRetain)
	}
	for _, name := range []string{"top", "bottom"} {
		s.tiny(name, v1alpha1.DeletionDelete)
	}
	snapshots := s.proven("kept", "swapped", "top", "bottom")
	suite.narrator.Print("four caches have a verified snapshot")
	s.detach(snapshots["kept"])
	kept := s.boundTo("kept")
	s.holdInReplacement("swapped", snapshots["swapped"])
	suite.narrator.Print("a volume replacement waits for a pod")
	if s.Kind == scenario.Local { // clones that take long are met half made
		s.must(s.Fault(s.ctx, "set", "restore", "--delay", "5s", "--namespace", s.Namespace))
		s.Cleanup(func() { s.must(s.Fault(context.WithoutCancel(s.ctx), "clear", "restore")) })
	}
	for _, name := range []string{"kept", "top", "bottom"} {
		s.verifying(name)
	}
	for _, name := range []string{"filled-kept", "filled-top"} {
		s.must(s.fillFrom(name, strings.TrimPrefix(name, "filled-")))
	}
	s.until(time.Minute, "two populations to be under way", func(ctx context.Context) (bool, string, error) {
		intermediates, err := s.intermediates(ctx)
		return len(intermediates) == 2, fmt.Sprint(intermediates), err
	})
	suite.narrator.Print("all is under way")

	s.Cleanup(func() { s.must(s.scaleManager(context.WithoutCancel(s.ctx), 1)) })
	s.must(s.scaleManager(s.ctx, 0))
	intermediates, err := s.intermediates(s.ctx)
	s.must(err)
	s.Logf("no manager runs; populations under way: %v", intermediates)
	// What is kept is kept although its parts are taken from under it.
	s.remove(&snapshotv1.VolumeSnapshot{}, "half-kept")
	s.remove(&batchv1.Job{}, naming.Child("half-kept", naming.Verify))
	s.remove(&v1alpha1.CacheSnapshot{}, snapshots["kept"])
	s.remove(&v1alpha1.GoCache{}, "kept")
	// From the top to the bottom, and the other way round.
	s.remove(&v1alpha1.GoCache{}, "top")
	s.remove(&v1alpha1.CacheSnapshot{}, "half-top")
	s.remove(&snapshotv1.VolumeSnapshot{}, snapshots["top"])
	s.remove(&batchv1.Job{}, naming.Child("half-top", naming.Verify))
	s.remove(&corev1.Pod{}, "filled-top")
	s.remove(&corev1.PersistentVolumeClaim{}, "filled-top")
	var half v1alpha1.CacheSnapshot
	s.get("half-bottom", &half)
	s.remove(&corev1.PersistentVolumeClaim{}, naming.Clone(string(half.UID), naming.Verify))
	s.remove(&batchv1.Job{}, naming.Child("half-bottom", naming.Verify))
	s.remove(&corev1.PersistentVolumeClaim{}, "bottom")
	s.remove(&snapshotv1.VolumeSnapshot{}, "half-bottom")
	s.remove(&snapshotv1.VolumeSnapshot{}, snapshots["bottom"])
	s.remove(&v1alpha1.CacheSnapshot{}, "half-bottom")
	s.remove(&v1alpha1.CacheSnapshot{}, snapshots["bottom"])
	s.remove(&v1alpha1.GoCache{}, "bottom")
	// A volume replacement in progress ends with its cache.
	s.remove(&v1alpha1.GoCache{}, "swapped")
	s.remove(&corev1.Pod{}, "holder")

	began := time.Now()
	s.must(s.scaleManager(s.ctx, 1))
	s.until(90*time.Second, "all to be gone that should go", func(ctx context.Context) (bool, string, error) {
		left, err := s.undeleted(ctx, "top", "bottom")
		return len(left) == 0, fmt.Sprint(left), err
	})
	s.Logf("all that should go was gone %s after a manager was wanted again", since(began))
	if now := s.boundTo("kept"); now != kept {
		s.Errorf("claim kept is on %s, and was on %s", now, kept)
	}
	var csi snapshotv1.VolumeSnapshot
	s.get(snapshots["kept"], &csi) // its CacheSnapshot has the policy Retain
	s.boundTo("swapped")
	var snap v1alpha1.CacheSnapshot
	s.get(snapshots["swapped"], &snap)
	if got := condition(snap.Status.Conditions, v1alpha1.VerifiedCondition); got != "True "+v1alpha1.ReasonIntact {
		s.Errorf("the snapshot of swapped is Verified=%s", got)
	}
	// With its CacheSnapshot went what shows that a clone was made from verified
	// content, though the VolumeSnapshot is kept: the clone is not handed over.
	var claim corev1.PersistentVolumeClaim
	s.get("filled-kept", &claim)
	s.until(time.Minute, "the clone for the claim from kept to be gone", func(ctx context.Context) (bool, string, error) {
		var clone corev1.PersistentVolumeClaim
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: volume.IntermediateName(claim.UID)}, &clone)
		return apierrors.IsNotFound(err), string(clone.Status.Phase), client.IgnoreNotFound(err)
	})
	s.get("filled-kept", &claim)
	if claim.Status.Phase != corev1.ClaimPending {
		s.Errorf("claim filled-kept is %s, and nothing shows what it holds", claim.Status.Phase)
	}
}

// tiny makes a cache of two modules and no build, which is warm at once.
func (s *fixture) tiny(name string, deletionPolicy v1alpha1.DeletionPolicy) {
	s.Helper()
	s.must(s.Client.Create(s.ctx, &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name},
		Spec: v1alpha1.GoCacheSpec{
			Toolchain:   v1alpha1.Toolchain{Version: s.Image[strings.LastIndex(s.Image, ":")+1:]},
			Layers:      []v1alpha1.CacheLayer{v1alpha1.LayerModules},
			Storage:     v1alpha1.CacheStorage{Size: resource.MustParse("320Mi"), DeletionPolicy: deletionPolicy},
			Environment: v1alpha1.Environment{Proxy: s.UpstreamURL()},
			WarmUp: &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{
				ConfigMapRef: &v1alpha1.LocalReference{Name: scenario.Cache + "-modules"}, Packages: []string{"unsafe"},
			}}},
			Snapshots: &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), DeletionPolicy: deletionPolicy},
		},
	}))
}

// proven waits for a verified snapshot of each cache.
func (s *fixture) proven(caches ...string) map[string]string {
	s.Helper()
	snapshots := map[string]string{}
	s.until(5*time.Minute, "a verified snapshot of each cache", func(ctx context.Context) (bool, string, error) {
		var list v1alpha1.GoCacheList
		err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace))
		for _, c := range list.Items {
			if name := c.Status.LatestVerifiedSnapshot; name != "" {
				snapshots[c.Name] = name
			}
		}
		return len(snapshots) == len(caches), fmt.Sprintf("of %v: %v", caches, snapshots), err
	})
	return snapshots
}

// detach has a CSI snapshot outlive its CacheSnapshot.
func (s *fixture) detach(name string) {
	s.Helper()
	snap := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	s.must(s.Client.Patch(s.ctx, snap, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"deletionPolicy":"Retain"}}`))))
	s.until(time.Minute, "VolumeSnapshot "+name+" to be nobody's", func(ctx context.Context) (bool, string, error) {
		var csi snapshotv1.VolumeSnapshot
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &csi)
		return len(csi.OwnerReferences) == 0, fmt.Sprint(csi.OwnerReferences), err
	})
}

// holdInReplacement begins to replace the volume of a cache, as far as a pod lets it.
func (s *fixture) holdInReplacement(name, snapshot string) {
	s.Helper()
	s.consume("holder", name) // it ends, and still names the PVC
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	s.must(s.Client.Patch(s.ctx, cache, client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"spec":{"restore":{"snapshotRef":{"name":%q},"requestID":"1"}}}`, snapshot))))
	s.until(time.Minute, "the volume replacement to wait for the pod", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		replacement := cache.Status.VolumeReplacement
		return replacement != nil && len(replacement.Consumers) > 0 && len(cache.Finalizers) > 0, fmt.Sprintf("%+v", replacement), err
	})
}

// verifying begins to verify a snapshot half-NAME of a cache, and waits for its
// Job. It has so little of a processor that it takes a while.
func (s *fixture) verifying(cache string) {
	s.Helper()
	snap := s.snapshotObject("half")
	snap.Name, snap.Spec.SourceRef.Name = "half-"+cache, cache
	snap.Spec.Verification.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"cpu": resource.MustParse("30m")}}
	s.must(s.Client.Create(s.ctx, snap))
	s.until(time.Minute, "the integrity Job of "+snap.Name, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: naming.Child(snap.Name, naming.Verify)}, &batchv1.Job{})
		return err == nil, "there is none", client.IgnoreNotFound(err)
	})
}

// fillFrom creates a PVC from a cache, and a pod that mounts it.
func (s *fixture) fillFrom(name, cache string) error {
	group := v1alpha1.GroupName
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	claim.Spec = corev1.PersistentVolumeClaimSpec{
		AccessModes:   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:     corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("320Mi")}},
		DataSourceRef: &corev1.TypedObjectReference{APIGroup: &group, Kind: v1alpha1.GoCacheKind, Name: cache},
	}
	err := s.Client.Create(s.ctx, claim)
	s.consume(name, name)
	return err
}

// remove deletes as kubectl does, and does not wait. That something is gone
// with its owner is as well.
func (s *fixture) remove(o client.Object, name string) {
	s.Helper()
	o.SetNamespace(s.Namespace)
	o.SetName(name)
	s.must(client.IgnoreNotFound(s.Client.Delete(s.ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground))))
}

// undeleted lists the objects whose deletion does not end, the remains of deleted
// caches, and volumes without an owner.
func (s *fixture) undeleted(ctx context.Context, gone ...string) ([]string, error) {
	left, err := s.strayVolumes(ctx)
	if err != nil {
		return nil, err
	}
	for _, list := range []client.ObjectList{
		&v1alpha1.GoCacheList{}, &v1alpha1.CacheSnapshotList{}, &corev1.PersistentVolumeClaimList{},
		&batchv1.JobList{}, &corev1.PodList{}, &snapshotv1.VolumeSnapshotList{},
	} {
		if err := s.Client.List(ctx, list, client.InNamespace(s.Namespace)); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
		objects, err := meta.ExtractList(list)
		if err != nil {
			return nil, fmt.Errorf("read %T: %w", list, err)
		}
		for _, o := range objects {
			o := o.(client.Object)
			belongs := false
			for _, name := range gone {
				belongs = belongs || o.GetName() == name || strings.HasPrefix(o.GetName(), name+"-") || strings.HasSuffix(o.GetName(), "-"+name)
			}
			if belongs || !o.GetDeletionTimestamp().IsZero() {
				left = append(left, fmt.Sprintf("%T %s %v", o, o.GetName(), o.GetFinalizers()))
			}
		}
	}
	return left, nil
}
