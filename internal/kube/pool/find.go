package pool

import (
	"context"
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// Request is the PVC of a consumer that a volume is looked for.
type Request struct {
	// Claim of the consumer.
	Claim *corev1.PersistentVolumeClaim
	// Node that the volume has to be reachable from; empty: any.
	Node string
	// Snapshot that the consumer gets now.
	Snapshot string
	// Cloned reports whether a PVC was cloned from the VolumeSnapshot that was verified.
	Cloned func(*corev1.PersistentVolumeClaim) bool
}

// Offer is what the pool of a cache has for a PVC.
type Offer struct {
	// Given is a volume that is reserved for the PVC already; nil: none is.
	Given *corev1.PersistentVolume
	// Member has a volume that the PVC can get; nil: none has.
	Member *corev1.PersistentVolumeClaim
	Volume *corev1.PersistentVolume
}

// Find reads which volume of the pool of a cache a PVC can get. Everything is read
// live, and what is found can be taken by another PVC at any moment: the hand-over
// fails then.
func Find(ctx context.Context, live client.Reader, cache *v1alpha1.GoCache, want Request) (Offer, error) {
	if cache.Status.Pool == nil {
		return Offer{}, nil
	}
	members := cache.Status.Pool.Members
	var offer Offer
	fits := nodes{live: live, name: want.Node}
	for i := range members { // PVCs that are populated at once begin with different members
		m := &members[(i+first(want.Claim, len(members)))%len(members)]
		pv, err := read.Object[corev1.PersistentVolume](ctx, live, "", m.VolumeName)
		if err != nil {
			return Offer{}, err
		}
		if pv == nil {
			continue
		}
		if volume.HeldBy(pv, want.Claim) {
			return Offer{Given: pv}, nil
		}
		if offer.Member != nil || m.State != v1alpha1.PoolMemberReady || m.Snapshot != want.Snapshot {
			continue
		}
		pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, live, cache.Namespace, m.Name)
		if err != nil {
			return Offer{}, err
		}
		if !isMember(pvc, m, cache) || !volume.HeldBy(pv, pvc) || volume.Preexisting(pv, pvc) || !want.Cloned(pvc) || !suits(pvc, pv, want.Claim) {
			continue
		}
		if ok, err := fits.reach(ctx, pv); err != nil || !ok {
			if err != nil {
				return Offer{}, err
			}
			continue
		}
		used, err := mounted(ctx, live, pvc)
		if err != nil {
			return Offer{}, err
		}
		if !used {
			offer.Member, offer.Volume = pvc, pv
		}
	}
	return offer, nil
}

// first is the member that a PVC begins with.
func first(claim *corev1.PersistentVolumeClaim, members int) int {
	hash := fnv.New32a()
	hash.Write([]byte(claim.UID))              //nolint:errcheck // never fails
	return int(hash.Sum32() % uint32(members)) //nolint:gosec // at most MaxSize
}

// isMember reports whether a PVC is the one that the status records, and can be used.
func isMember(pvc *corev1.PersistentVolumeClaim, m *v1alpha1.PoolMember, cache *v1alpha1.GoCache) bool {
	return volume.Bound(pvc) && string(pvc.UID) == m.UID && metav1.IsControlledBy(pvc, cache)
}

// suits reports whether the cluster binds a volume of a member to a PVC, and the PVC
// gets what it asks for.
func suits(member *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	is, want := member.Spec, claim.Spec
	capacity := pv.Spec.Capacity[corev1.ResourceStorage]
	return want.Selector == nil &&
		ptr.Deref(is.StorageClassName, "") == ptr.Deref(want.StorageClassName, "") &&
		pv.Spec.StorageClassName == ptr.Deref(want.StorageClassName, "") &&
		sameModes(is.AccessModes, want.AccessModes) &&
		ptr.Deref(is.VolumeMode, corev1.PersistentVolumeFilesystem) == ptr.Deref(want.VolumeMode, corev1.PersistentVolumeFilesystem) &&
		ptr.Deref(is.VolumeAttributesClassName, "") == ptr.Deref(want.VolumeAttributesClassName, "") &&
		capacity.Cmp(*want.Resources.Requests.Storage()) >= 0
}

// mounted reports whether any pod names the PVC of a member.
func mounted(ctx context.Context, live client.Reader, pvc *corev1.PersistentVolumeClaim) (bool, error) {
	for _, err := range volume.Mounts(ctx, live, pvc.Namespace, []string{pvc.Name}) {
		return err == nil, err
	}
	return false, nil
}

// nodes finds whether a node can reach volumes, and reads it once.
type nodes struct {
	live client.Reader
	name string
	node *corev1.Node
}

// reach reports whether the node can reach a volume. Without a node, and for a volume
// that is everywhere, it is not read.
func (n *nodes) reach(ctx context.Context, pv *corev1.PersistentVolume) (bool, error) {
	affinity := pv.Spec.NodeAffinity
	if n.name == "" || affinity == nil || affinity.Required == nil {
		return true, nil
	}
	if n.node == nil {
		var err error
		n.node, err = read.Object[corev1.Node](ctx, n.live, "", n.name)
		if apierrors.IsForbidden(err) { // not granted where the operator serves some namespaces only
			return false, nil
		}
		if err != nil || n.node == nil {
			return false, err
		}
	}
	selector, err := nodeaffinity.NewNodeSelector(affinity.Required)
	if err != nil {
		return false, fmt.Errorf("node affinity of volume %s: %w", pv.Name, err)
	}
	return selector.Match(n.node), nil
}
