package fleet

import (
	"encoding/json"
	"maps"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
)

// patterns are the first cache with what was made for it, and one snapshot, as a manager and
// a cluster have left them.
type patterns struct {
	cache          *v1alpha1.GoCache
	environments   map[string]*corev1.ConfigMap // by what their names end in
	claim          *corev1.PersistentVolumeClaim
	volume         *corev1.PersistentVolume
	snapshot       *v1alpha1.CacheSnapshot
	volumeSnapshot *snapshotv1.VolumeSnapshot
}

// copies makes all the others after the pattern of the first. A manager finds nothing to
// do for them: what it would apply is there, as if it had applied it.
func (f *fleet) copies() {
	f.Helper()
	of := patterns{f.cache(0), map[string]*corev1.ConfigMap{}, &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}, f.snapshot(0, 0), &snapshotv1.VolumeSnapshot{}}
	f.must(server.Client.Get(f.Context(), client.ObjectKeyFromObject(of.cache), of.cache))
	for _, suffix := range []string{naming.Environment, naming.OfflineEnvironment} {
		of.environments[suffix] = &corev1.ConfigMap{}
		f.must(server.Client.Get(f.Context(), client.ObjectKey{Namespace: of.cache.Namespace, Name: naming.Child(of.cache.Name, suffix)}, of.environments[suffix]))
	}
	f.must(server.Client.Get(f.Context(), client.ObjectKeyFromObject(of.cache), of.claim))
	f.must(server.Client.Get(f.Context(), client.ObjectKey{Name: of.claim.Spec.VolumeName}, of.volume))
	f.must(server.Client.Get(f.Context(), client.ObjectKeyFromObject(of.snapshot), of.snapshot))
	f.must(server.Client.Get(f.Context(), client.ObjectKeyFromObject(of.snapshot), of.volumeSnapshot))
	var group errgroup.Group
	group.SetLimit(32)
	for c := range caches {
		group.Go(func() error { return f.copy(c, of) })
	}
	f.must(group.Wait())
}

// applied creates an object as a controller does that applies it.
func (f *fleet) applied(controller string, owner apply.Owner, o client.Object) error {
	_, err := apply.Applier{Client: server.Client, Live: server.Client, FieldOwner: "gocache-" + controller}.Create(f.Context(), owner, o)
	return err
}

// copy makes one cache, warm on a PVC of its own, and its snapshots.
func (f *fleet) copy(c int, of patterns) error {
	first := 1 // the pattern is there
	made := of.cache
	if c > 0 {
		first, made = 0, f.cache(c)
		if err := server.Client.Create(f.Context(), made); err != nil {
			return err
		}
		for suffix, environment := range of.environments {
			if err := f.applied("gocache", apply.ControlledBy(made), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: made.Namespace, Name: naming.Child(made.Name, suffix), Labels: labels(made)}, Data: environment.Data,
			}); err != nil {
				return err
			}
		}
		if err := f.copyClaim(c, made, of); err != nil {
			return err
		}
	}
	for i := first; i < snapshots; i++ {
		if err := f.copySnapshot(f.snapshot(c, i), string(made.UID), of); err != nil {
			return err
		}
	}
	return nil
}

func labels(cache *v1alpha1.GoCache) map[string]string {
	return map[string]string{v1alpha1.CacheLabel: cache.Name}
}

// copyClaim makes the PVC of a cache and its volume, and gives the cache its status.
func (f *fleet) copyClaim(c int, cache *v1alpha1.GoCache, of patterns) error {
	volumeName := cache.Namespace + "-" + cache.Name
	claim := volume.Claim{Namespace: cache.Namespace, Name: cache.Name, Labels: labels(cache), Class: of.claim.Spec.StorageClassName, Size: cache.Spec.Storage.Size}.Object()
	if err := f.applied("gocache", apply.DetachedFrom(cache), claim); err != nil {
		return err
	}
	if err := server.Client.Get(f.Context(), client.ObjectKeyFromObject(claim), claim); err != nil {
		return err
	}
	bound := maps.Clone(of.claim.Annotations)
	maps.Copy(bound, claim.Annotations)
	claim.Annotations, claim.Spec.VolumeName = bound, volumeName
	if err := server.Client.Update(f.Context(), claim); err != nil {
		return err
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volumeName, Labels: map[string]string{cluster.NamespaceLabel: cache.Namespace}, Annotations: maps.Clone(of.volume.Annotations), Finalizers: of.volume.Finalizers},
		Spec:       *of.volume.Spec.DeepCopy(),
	}
	pv.Spec.CSI.VolumeHandle = volumeName
	pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name, pv.Spec.ClaimRef.UID = claim.Namespace, claim.Name, claim.UID
	pv.Spec.ClaimRef.ResourceVersion = ""
	if err := server.Client.Create(f.Context(), pv); err != nil {
		return err
	}
	pv.Status = *of.volume.Status.DeepCopy()
	if err := server.Client.Status().Update(f.Context(), pv); err != nil {
		return err
	}
	claim.Status = *of.claim.Status.DeepCopy()
	if err := server.Client.Status().Update(f.Context(), claim); err != nil {
		return err
	}
	if err := renamed(of.cache.Status, &cache.Status, of.cache.Status.LatestVerifiedSnapshot, f.latest(c), of.volume.Name, volumeName, of.cache.Name, cache.Name); err != nil {
		return err
	}
	cache.Status.WarmUp.PersistentVolumeClaimUID = string(claim.UID)
	return server.Client.Status().Update(f.Context(), cache)
}

// latest is the snapshot that a cache offers: of those that were created in the same second,
// the last one by name.
func (f *fleet) latest(cache int) string { return f.snapshot(cache, snapshots-1).Name }

func (f *fleet) copySnapshot(s *v1alpha1.CacheSnapshot, source string, of patterns) error {
	if err := server.Client.Create(f.Context(), s); err != nil {
		return err
	}
	claim := s.Spec.SourceRef.Name
	v := volume.Snapshot{
		Namespace: s.Namespace, Name: s.Name, Class: of.volumeSnapshot.Spec.VolumeSnapshotClassName, Claim: claim,
		Labels: map[string]string{v1alpha1.SnapshotLabel: s.Name, v1alpha1.CacheLabel: claim, v1alpha1.SnapshotUIDLabel: string(s.UID)},
	}.Object()
	if err := f.applied("cachesnapshot", apply.ControlledBy(s), v); err != nil {
		return err
	}
	if err := server.Client.Get(f.Context(), client.ObjectKeyFromObject(v), v); err != nil {
		return err
	}
	v.Status = of.volumeSnapshot.Status.DeepCopy()
	if err := server.Client.Status().Update(f.Context(), v); err != nil {
		return err
	}
	if err := renamed(of.snapshot.Status, &s.Status, of.snapshot.Name, s.Name, of.cache.Name, claim); err != nil {
		return err
	}
	s.Status.VolumeSnapshotUID, s.Status.Source.UID = string(v.UID), source
	return server.Client.Status().Update(f.Context(), s)
}

// renamed copies a status in which the first of each two names becomes the second. A name that
// is in another one comes behind it.
func renamed(from, to any, names ...string) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(strings.NewReplacer(names...).Replace(string(text))), to)
}
