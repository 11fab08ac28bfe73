package gocache

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

// frozen lets the reconciler's cache lag behind: of the snapshots it knows what
// is true now, and nothing that happens later.
func (w *world) frozen() {
	var list v1alpha1.CacheSnapshotList
	w.must(server.Client.List(w.t.Context(), &list, inNamespace(w)...))
	w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, into client.ObjectList, opts ...client.ListOption) error {
			if snapshots, ok := into.(*v1alpha1.CacheSnapshotList); ok {
				list.DeepCopyInto(snapshots)
				return nil
			}
			return c.List(ctx, into, opts...)
		},
	})
}

// two is a cache with two verified snapshots, of which the policy from now on
// keeps one; the name is that of the older.
func (w *world) two() string {
	w.t.Helper()
	w.cache(hourly(2))
	w.settle()
	w.wait(time.Hour + time.Minute)
	names := w.names()
	if len(names) != 2 {
		w.t.Fatalf("snapshots %v, want two", names)
	}
	slices.Sort(names)
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Snapshots.Retention.KeepLast = 1 })
	return names[0]
}

// TestPinnedInTimeIsKept holds that a snapshot which was pinned a moment ago is
// not dropped by a decision on what the cache still shows.
func TestPinnedInTimeIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.two()
	w.frozen()
	s := get[v1alpha1.CacheSnapshot](w, name)
	s.Spec.Pinned = true
	w.must(server.Client.Update(t.Context(), s))
	w.must(w.pass())
	if got := w.names(); len(got) != 2 {
		t.Errorf("kept %v: the pinned one was dropped", got)
	}
}

// TestClonedSnapshotIsKept holds that a snapshot stays while a consumer's
// volume is being made from it, and goes afterwards.
func TestClonedSnapshotIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.two()
	prime := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, Name: "prime-1",
		Labels:      map[string]string{volume.PrimeLabel: "1", v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: name},
	}}
	prime.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	prime.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	w.must(server.Client.Create(t.Context(), prime))
	w.settle()
	if got := w.names(); !slices.Contains(got, name) {
		t.Fatalf("kept %v: %s is being cloned", got, name)
	}
	if w.last.RequeueAfter <= 0 || w.last.RequeueAfter > sourceInterval {
		t.Errorf("looks again after %v: nobody tells when the clone is made", w.last.RequeueAfter)
	}
	w.must(server.Client.Delete(t.Context(), prime))
	w.settle()
	if got := w.names(); slices.Contains(got, name) {
		t.Errorf("kept %v, want %s dropped", got, name)
	}
}
