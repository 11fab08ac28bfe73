package snapshots

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/volume"
)

// TestDeleteExpired holds which snapshots are deleted: what is pinned, being cloned or
// was cloned lately is read past the cache, and stays.
func TestDeleteExpired(t *testing.T) {
	for name, tt := range map[string]struct {
		policy bool
		change func(all []*v1alpha1.CacheSnapshot)
		clones string // a snapshot that a PVC is populated from
		want   []string
		wakes  bool
	}{
		"all but the newest": {true, func([]*v1alpha1.CacheSnapshot) {}, "", []string{"s0", "s1"}, false},
		"no policy":          {false, func([]*v1alpha1.CacheSnapshot) {}, "", nil, false},
		"pinned meanwhile":   {true, func(all []*v1alpha1.CacheSnapshot) { all[0].Spec.Pinned = true }, "", []string{"s1"}, false},
		"being cloned":       {true, func([]*v1alpha1.CacheSnapshot) {}, "s1", []string{"s0"}, true},
	} {
		scheme := runtime.NewScheme()
		if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
			t.Fatal(err)
		}
		cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci"}}
		if tt.policy {
			cache.Spec.Snapshots = &v1alpha1.SnapshotPolicy{Retention: v1alpha1.Retention{KeepLast: 1}}
		}
		o := pass.Observed{Now: now, Stored: cache.DeepCopy()}
		var live []*v1alpha1.CacheSnapshot
		for i := range 3 {
			s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("s%d", i), UID: "u", Labels: map[string]string{
				v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci",
			}}}
			s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
			s.Status.Verification.Verdict, s.Status.CreationTime = v1alpha1.VerdictIntact, ptr.To(metav1.NewTime(now.Add(time.Duration(i-10)*24*time.Hour)))
			o.Snapshots = append(o.Snapshots, s)
			live = append(live, s.DeepCopy())
		}
		tt.change(live)
		b := fake.NewClientBuilder().WithScheme(scheme)
		for _, s := range live {
			b = b.WithObjects(s)
		}
		if tt.clones != "" {
			b = b.WithObjects(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "i",
				Labels: map[string]string{volume.IntermediateLabel: "x"}, Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: tt.clones}}})
		}
		c := b.Build()
		var out Result
		if err := (Reconciler{Client: c, Live: c}).deleteExpired(t.Context(), cache, o, &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var left v1alpha1.CacheSnapshotList
		if err := c.List(t.Context(), &left, client.InNamespace("n")); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out.Deleted)
		if !slices.Equal(out.Deleted, tt.want) || len(left.Items) != 3-len(tt.want) || len(out.Events) != len(tt.want) || (out.Wake > 0) != tt.wakes {
			t.Errorf("%s: deleted %v, %d are left, %+v", name, out.Deleted, len(left.Items), out)
		}
	}
}
