package cachesnapshot

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
)

// replaced reports whether the volume of the source is being replaced, so that the
// content of its PVC is about to change. It is false for the snapshot that a
// migration restores from, which is created during the replacement.
func replaced(ctx context.Context, reader client.Reader, s *v1alpha1.CacheSnapshot) (bool, error) {
	replacement, err := replacementOf(ctx, reader, s.Namespace, s.Spec.SourceRef)
	return replacement != nil && replacement.Snapshot != s.Name, err
}

// replacementOf returns the volume replacement of the source in progress, or nil.
func replacementOf(ctx context.Context, reader client.Reader, namespace string, ref v1alpha1.SnapshotSource) (*v1alpha1.VolumeReplacementStatus, error) {
	if ref.Kind == v1alpha1.ModProxyKind {
		proxy, err := read.Object[v1alpha1.ModProxy](ctx, reader, namespace, ref.Name)
		if err != nil || proxy == nil {
			return nil, err
		}
		for i := range proxy.Status.Instances {
			if instance := &proxy.Status.Instances[i]; instance.Name == ref.Instance {
				return instance.VolumeReplacement, nil
			}
		}
		return nil, nil
	}
	cache, err := read.Object[v1alpha1.GoCache](ctx, reader, namespace, ref.Name)
	if err != nil || cache == nil {
		return nil, err
	}
	return cache.Status.VolumeReplacement, nil
}
