package cachesnapshot

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

// replacing sets in the status of the cache ci that its volume is being replaced
// from the snapshot; empty: that it is not being replaced.
func (w *world) replacing(by string) {
	w.t.Helper()
	var c v1alpha1.GoCache
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &c))
	c.Status.VolumeReplacement = nil
	if by != "" {
		c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementMigration, Snapshot: by, StartTime: metav1.NewTime(w.now)}
	}
	w.must(server.Client.Status().Update(w.t.Context(), &c))
}

// TestSnapshotWaitsForReplacement checks that no snapshot of a PVC is created while
// its volume is being replaced, also when the manager's cache is behind, and that it
// is created afterwards. The snapshot that a migration restores from is created
// during the replacement.
func TestSnapshotWaitsForReplacement(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		by         string
		staleCache bool
		asked      bool
	}{
		"by another": {"other", false, false}, "unseen": {"other", true, false}, "by this one": {"s", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache()
			w.replacing(tt.by)
			if tt.staleCache {
				w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
					Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
						err := c.Get(ctx, key, o, opts...)
						if cache, ok := o.(*v1alpha1.GoCache); ok {
							cache.Status.VolumeReplacement = nil
						}
						return err
					},
				})
			}
			w.snapshot()
			w.passes(4)
			if w.asked() != tt.asked {
				t.Fatalf("asked for: %v, want %v", w.asked(), tt.asked)
			}
			w.replacing("")
			w.settle()
			if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
				t.Errorf("in the end it is %q", v)
			}
		})
	}
}
