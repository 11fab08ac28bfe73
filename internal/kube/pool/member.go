package pool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

const (
	// maxSize is the largest spec.pool.size.
	maxSize = 16
	// maxAge is the default of spec.pool.maxAge.
	maxAge = 168 * time.Hour
)

// MaxAge is how long a volume of the pool of a cache is given to a PVC after its check.
func MaxAge(cache *v1alpha1.GoCache) time.Duration {
	if spec := cache.Spec.Pool; spec != nil && spec.MaxAge != nil {
		return spec.MaxAge.Duration
	}
	return maxAge
}

// Name is the name of the member in a slot: of its PVC, and of its Job. It has the uid
// of the cache, so that the admission policy "unassigned-volumes" finds it in a pod, and
// finds no PVC of others.
func Name(cache *v1alpha1.GoCache, slot int) string { return prefix(cache) + strconv.Itoa(slot) }

func prefix(cache *v1alpha1.GoCache) string { return "pool-" + string(cache.UID) + "-" }

// slotOf is the slot of a name; false: it is no name of a member.
func slotOf(cache *v1alpha1.GoCache, name string) (int, bool) {
	slot, err := strconv.Atoi(strings.TrimPrefix(name, prefix(cache)))
	if err != nil || slot < 0 || slot >= maxSize || Name(cache, slot) != name {
		return 0, false
	}
	return slot, true
}

// Labels of the members of a cache.
func Labels(cache string) map[string]string {
	return map[string]string{v1alpha1.CacheLabel: cache, v1alpha1.PoolLabel: cache}
}

// Storage is what the PVC of a member asks for.
type Storage struct {
	// Class; nil: the default of the cluster.
	Class *string
	Size  resource.Quantity
	Modes []corev1.PersistentVolumeAccessMode
}

// StorageOf is what the members of a cache ask for that are made from a snapshot: no
// less than a clone of it has.
func StorageOf(cache *v1alpha1.GoCache, from *v1alpha1.CacheSnapshot) Storage {
	var spec v1alpha1.PoolStorage
	if cache.Spec.Pool != nil {
		spec = cache.Spec.Pool.Storage
	}
	s := Storage{Class: spec.StorageClassName, Modes: spec.AccessModes}
	if source := from.Status.Source; source != nil {
		s.Size = volume.Larger(from.Status.RestoreSize, source.Capacity)
		if s.Class == nil && source.StorageClassName != "" {
			s.Class = &source.StorageClassName
		}
	}
	s.Size = volume.Larger(&s.Size, spec.Size)
	if len(s.Modes) == 0 {
		s.Modes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	}
	return s
}

// misfit is in which respect the PVC of a member is not what it is to be; empty: in
// none.
func (s Storage) misfit(pvc *corev1.PersistentVolumeClaim) string {
	switch is := pvc.Spec; {
	case s.Class != nil && ptr.Deref(is.StorageClassName, "") != *s.Class:
		return fmt.Sprintf("spec.pool.storage asks for class %s now", *s.Class)
	case !sameModes(is.AccessModes, s.Modes):
		return "spec.pool.storage asks for other access modes now"
	case is.Resources.Requests.Storage().Cmp(s.Size) != 0:
		return fmt.Sprintf("it asks for %s, and the volumes of the pool have %s now", is.Resources.Requests.Storage(), &s.Size)
	}
	return ""
}

// claim is the PVC of a member.
func (r Run) claim(slot int) *corev1.PersistentVolumeClaim {
	storage := StorageOf(r.Cache, r.Snapshot)
	pvc := volume.Claim{
		Namespace: r.Cache.Namespace, Name: Name(r.Cache, slot), Labels: Labels(r.Cache.Name),
		Class: storage.Class, AccessModes: storage.Modes, Size: storage.Size, Snapshot: r.Snapshot.Status.VolumeSnapshotName,
	}.Object()
	pvc.Annotations = map[string]string{v1alpha1.PopulatedFromAnnotation: r.Snapshot.Name}
	return pvc
}

func sameModes(a, b []corev1.PersistentVolumeAccessMode) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
