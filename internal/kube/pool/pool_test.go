package pool

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
)

const uid = "0f5c8a52-6d0e-4d36-9f5b-3c1c8f2f4a11"

func cacheOf(change ...func(*v1alpha1.GoCache)) *v1alpha1.GoCache {
	c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: uid}}
	for _, f := range change {
		f(c)
	}
	return c
}

// TestSlotOf holds that a name has a slot only if it is the name of that slot, and of
// this very cache.
func TestSlotOf(t *testing.T) {
	for slot := range maxSize {
		name := Name(cacheOf(), slot)
		if got, ok := slotOf(cacheOf(), name); !ok || got != slot || len(name) > 63 {
			t.Errorf("%s: slot %d, %v", name, got, ok)
		}
	}
	other := cacheOf(func(c *v1alpha1.GoCache) { c.UID = "b" + types.UID(uid[1:]) })
	for _, name := range []string{"", "ci", "pool-" + uid, "pool-" + uid + "-", "pool-" + uid + "-16", "pool-" + uid + "--1", "pool-" + uid + "-01", "pool-" + uid + "-+1", "0", Name(other, 0)} {
		if slot, ok := slotOf(cacheOf(), name); ok {
			t.Errorf("%q is the name of slot %d", name, slot)
		}
	}
}

// TestStorageOf holds what the volumes ask for: as much as a clone has at least, and
// what the cache PVC has where the spec sets nothing.
func TestStorageOf(t *testing.T) {
	from := &v1alpha1.CacheSnapshot{}
	from.Status.RestoreSize = ptr.To(resource.MustParse("3Gi"))
	from.Status.Source = &v1alpha1.SourceRecord{StorageClassName: "fast", Capacity: ptr.To(resource.MustParse("4Gi"))}
	spec := func(s v1alpha1.PoolStorage) *v1alpha1.GoCache {
		return cacheOf(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1, Storage: s} })
	}
	for name, tt := range map[string]struct {
		cache             *v1alpha1.GoCache
		class, size, mode string
	}{
		"unset":          {spec(v1alpha1.PoolStorage{}), "fast", "4Gi", "ReadWriteOnce"},
		"without a pool": {cacheOf(), "fast", "4Gi", "ReadWriteOnce"},
		"smaller":        {spec(v1alpha1.PoolStorage{Size: ptr.To(resource.MustParse("1Gi"))}), "fast", "4Gi", "ReadWriteOnce"},
		"all fields": {spec(v1alpha1.PoolStorage{
			StorageClassName: ptr.To("slow"), Size: ptr.To(resource.MustParse("9Gi")), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}}), "slow", "9Gi", "ReadWriteMany"},
	} {
		got := StorageOf(tt.cache, from)
		if ptr.Deref(got.Class, "") != tt.class || got.Size.String() != tt.size || len(got.Modes) != 1 || string(got.Modes[0]) != tt.mode {
			t.Errorf("%s: %q, %s, %v", name, ptr.Deref(got.Class, ""), &got.Size, got.Modes)
		}
		pvc := Run{Cache: tt.cache, Snapshot: from}.claim(0)
		if why := got.misfit(pvc); why != "" {
			t.Errorf("%s: what is made does not fit: %s", name, why)
		}
	}
	pvc := Run{Cache: cacheOf(), Snapshot: from}.claim(0)
	for want, is := range map[string]v1alpha1.PoolStorage{
		"class slow":         {StorageClassName: ptr.To("slow")},
		"other access modes": {AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}},
		"it asks for 4Gi, and the volumes of the pool have 5Gi now": {Size: ptr.To(resource.MustParse("5Gi"))},
	} {
		if why := StorageOf(spec(is), from).misfit(pvc); !strings.Contains(why, want) {
			t.Errorf("%q, want %q", why, want)
		}
	}
}

// TestRefused holds that a volume counts only if it holds what the snapshot held.
func TestRefused(t *testing.T) {
	of := &v1alpha1.CacheSnapshot{}
	of.Status.Verification.Digest = "sha256:aa"
	for want, v := range map[string]integrity.Verdict{
		"":                      {Verdict: integrity.Intact, Digest: "sha256:aa"},
		"its digest is":         {Verdict: integrity.Intact, Digest: "sha256:bb"},
		"is Inconclusive: x":    {Verdict: integrity.Inconclusive, Message: "x", Digest: "sha256:aa"},
		"is Corrupt: 1 corrupt": {Verdict: integrity.OutcomeCorrupt, Message: "1 corrupt", Digest: "sha256:aa"},
	} {
		if why := refused(v, of); !strings.Contains(why, want) || (why == "") != (want == "") {
			t.Errorf("%q, want %q", why, want)
		}
	}
	of.Status.Verification.Digest = ""
	for _, digest := range []string{"sha256:aa", ""} {
		if why := refused(integrity.Verdict{Verdict: integrity.Intact, Digest: digest}, of); why == "" {
			t.Errorf("digest %q: a volume of a snapshot without a digest counts: nothing shows that it holds the same", digest)
		}
	}
}

// TestReads holds that a pod counts as that of the check only with all marks of the Job,
// with nothing added to it, and only until the volume is ready.
func TestReads(t *testing.T) {
	r := Run{Cache: cacheOf()}
	r.Cache.Status.Pool = &v1alpha1.PoolStatus{Members: []v1alpha1.PoolMember{{Name: Name(r.Cache, 0), State: v1alpha1.PoolMemberReading, JobUID: "j"}}}
	m := &Member{Name: Name(r.Cache, 0)}
	for name, tt := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"it is":                    {func(*corev1.Pod) {}, true},
		"of another Job":           {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "k" }, false},
		"without the label":        {func(p *corev1.Pod) { p.Labels = nil }, false},
		"with a container more":    {func(p *corev1.Pod) { p.Spec.EphemeralContainers = make([]corev1.EphemeralContainer, 1) }, false},
		"when the member is ready": {func(*corev1.Pod) { r.Cache.Status.Pool.Members[0].State = v1alpha1.PoolMemberReady }, false},
	} {
		r.Cache.Status.Pool.Members[0].State = v1alpha1.PoolMemberClearing
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Labels:          map[string]string{batchv1.ControllerUidLabel: "j"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", UID: "j", Controller: ptr.To(true)}},
		}}
		tt.change(pod)
		if got := r.reads(pod, m); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
