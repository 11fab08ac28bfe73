package pool

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

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
	// Now is the time of the pass.
	Now time.Time
	// Cloned reports whether a PVC was cloned from the VolumeSnapshot that was verified.
	Cloned func(*corev1.PersistentVolumeClaim) bool
}

// Offer is what the pool of a cache has for a PVC.
type Offer struct {
	// Given: a volume is reserved for the PVC already.
	Given bool
	// Member has a volume that the PVC can get; nil: none has.
	Member *corev1.PersistentVolumeClaim
	// Volume of the member.
	Volume *corev1.PersistentVolume
	// Why no member has, for a person; empty: one has, or there is no pool.
	Why string
}

// search looks through the members of a pool for one PVC.
type search struct {
	live  client.Reader
	cache *v1alpha1.GoCache
	want  Request
	// node that was chosen; nil: it was not read yet.
	node  *corev1.Node
	offer Offer
}

// Find reads which volume of the pool of a cache a PVC can get. Everything is read
// live, and what is found can be taken by another PVC at any moment: the hand-over
// fails then.
func Find(ctx context.Context, live client.Reader, cache *v1alpha1.GoCache, want Request) (Offer, error) {
	if cache.Status.Pool == nil {
		return Offer{}, nil
	}
	s := search{live: live, cache: cache, want: want, offer: Offer{Why: "none of its volumes is ready"}}
	members := cache.Status.Pool.Members
	for i := range members { // PVCs that are populated at once begin with different members
		m := &members[(i+first(want.Claim, len(members)))%len(members)]
		pv, err := read.Object[corev1.PersistentVolume](ctx, live, "", m.VolumeName)
		if err != nil {
			return Offer{}, err
		}
		if pv != nil && !pv.DeletionTimestamp.IsZero() {
			pv = nil // no PVC would be bound to it
		}
		if pv != nil && volume.HeldBy(pv, want.Claim) {
			return Offer{Given: true}, nil
		}
		if pv == nil || s.offer.Member != nil || !s.offered(m) {
			continue
		}
		if err := s.consider(ctx, m, pv); err != nil {
			return Offer{}, err
		}
	}
	return s.offer, nil
}

// first is the member that a PVC begins with.
func first(claim *corev1.PersistentVolumeClaim, members int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(claim.UID))       // a hash never fails
	return int(hash.Sum32() % uint32(members)) //nolint:gosec // at most 16
}

// offered reports whether the pool offers a member now: the controller of the cache
// discards the others, when it looks.
func (s *search) offered(m *v1alpha1.PoolMember) bool {
	return s.cache.Spec.Pool != nil && m.State == v1alpha1.PoolMemberReady && m.Snapshot == s.want.Snapshot &&
		m.ReadyTime != nil && s.want.Now.Sub(m.ReadyTime.Time) < MaxAge(s.cache)
}

// consider makes a member the offer if the PVC can get its volume.
func (s *search) consider(ctx context.Context, m *v1alpha1.PoolMember, pv *corev1.PersistentVolume) error {
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, s.live, s.cache.Namespace, m.Name)
	if err != nil {
		return err
	}
	if !s.isMember(pvc, m) || !volume.HeldBy(pv, pvc) || volume.Preexisting(pv, pvc) || !s.want.Cloned(pvc) {
		return nil
	}
	why := unsuited(pvc, pv, s.want.Claim)
	if why == "" {
		why, err = s.unreachable(ctx, pv)
	}
	if why == "" && err == nil {
		why, err = s.mounted(ctx, pvc)
	}
	if err != nil {
		return err
	}
	if s.offer.Why = why; why == "" {
		s.offer.Member, s.offer.Volume = pvc, pv
	}
	return nil
}

// isMember reports whether a PVC is the one that the status records, and can be used.
func (s *search) isMember(pvc *corev1.PersistentVolumeClaim, m *v1alpha1.PoolMember) bool {
	return volume.Bound(pvc) && string(pvc.UID) == m.UID && metav1.IsControlledBy(pvc, s.cache)
}

// unsuited is why the cluster would not bind a volume of a member to a PVC, or the PVC
// would not get what it asks for; empty: it would.
func unsuited(member *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) string {
	is, want := member.Spec, claim.Spec
	class, capacity, size := ptr.Deref(want.StorageClassName, ""), pv.Spec.Capacity[corev1.ResourceStorage], want.Resources.Requests.Storage()
	switch {
	case ptr.Deref(is.StorageClassName, "") != class || pv.Spec.StorageClassName != class:
		return fmt.Sprintf("its volumes are of class %q, and the PVC is of class %q", pv.Spec.StorageClassName, class)
	case !sameModes(is.AccessModes, want.AccessModes):
		return fmt.Sprintf("its volumes have access modes %v, and the PVC %v", is.AccessModes, want.AccessModes)
	case ptr.Deref(is.VolumeMode, corev1.PersistentVolumeFilesystem) != ptr.Deref(want.VolumeMode, corev1.PersistentVolumeFilesystem):
		return "its volumes have another volume mode"
	case ptr.Deref(is.VolumeAttributesClassName, "") != ptr.Deref(want.VolumeAttributesClassName, ""):
		return "its volumes have another volume attributes class"
	case want.Selector != nil:
		return "the PVC selects volumes by their labels"
	case capacity.Cmp(*size) < 0:
		return fmt.Sprintf("its volumes have %s, and the PVC requests %s: raise spec.pool.storage.size", &capacity, size)
	}
	return ""
}

// mounted is which pod names the PVC of a member; empty: none.
func (s *search) mounted(ctx context.Context, pvc *corev1.PersistentVolumeClaim) (string, error) {
	for mount, err := range volume.Mounts(ctx, s.live, pvc.Namespace, pvc.Name) {
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("pod %s has mounted a volume of the pool", mount.Pod.Name), nil
	}
	return "", nil
}

// unreachable is why the chosen node cannot reach a volume; empty: it can. The node is
// read once, and only for a volume that not every node can reach.
func (s *search) unreachable(ctx context.Context, pv *corev1.PersistentVolume) (string, error) {
	affinity := pv.Spec.NodeAffinity
	if s.want.Node == "" || affinity == nil || affinity.Required == nil {
		return "", nil
	}
	if s.node == nil {
		node, err := read.Object[corev1.Node](ctx, s.live, "", s.want.Node)
		switch {
		case apierrors.IsForbidden(err):
			return fmt.Sprintf("the operator may not read node %s, and not every node can reach its volumes: grant it the verb get on nodes", s.want.Node), nil
		case err != nil:
			return "", err
		case node == nil:
			return fmt.Sprintf("node %s is gone", s.want.Node), nil
		}
		s.node = node
	}
	selector, err := nodeaffinity.NewNodeSelector(affinity.Required)
	if err != nil {
		return "", fmt.Errorf("node affinity of volume %s: %w", pv.Name, err)
	}
	if !selector.Match(s.node) {
		return fmt.Sprintf("node %s cannot reach its volumes", s.want.Node), nil
	}
	return "", nil
}
