package csisnapshot

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/cached"
	"gocache.dev/operator/internal/kube/read"
)

// sourceIndex finds the snapshots of a source in the manager's cache: a pass of
// one object must not look at those of all others.
const sourceIndex = "spec.sourceRef"

// Index makes a manager's cache able to answer Of. It is called once.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.CacheSnapshot{}, sourceIndex, func(o client.Object) []string {
		ref := o.(*v1alpha1.CacheSnapshot).Spec.SourceRef
		return []string{ref.Kind + "/" + ref.Name}
	})
	if err != nil {
		return fmt.Errorf("index CacheSnapshots by source: %w", err)
	}
	return nil
}

// Of are the snapshots of one source, and of a large one what the cache would hold: read
// it by its name for more. Only a cache with Index is indexed; of the API server, which
// alone has pages, the whole namespace is asked for.
//
// The options are those of the list of an indexed cache.
func Of(ctx context.Context, c client.Reader, indexed bool, namespace, kind, name string, options ...client.ListOption) ([]v1alpha1.CacheSnapshot, error) {
	var of []v1alpha1.CacheSnapshot
	keep := func(s *v1alpha1.CacheSnapshot) {
		if s.Spec.SourceRef.Kind == kind && s.Spec.SourceRef.Name == name {
			of = append(of, *s)
		}
	}
	if indexed {
		var list v1alpha1.CacheSnapshotList
		if err := c.List(ctx, &list, append(options, client.InNamespace(namespace), client.MatchingFields{sourceIndex: kind + "/" + name})...); err != nil {
			return nil, fmt.Errorf("list CacheSnapshots of %s %s: %w", kind, name, err)
		}
		for i := range list.Items {
			keep(&list.Items[i])
		}
		return of, nil
	}
	for s, err := range read.All[v1alpha1.CacheSnapshot](ctx, c, &v1alpha1.CacheSnapshotList{}, client.InNamespace(namespace)) {
		if err != nil {
			return nil, fmt.Errorf("list CacheSnapshots of %s %s: %w", kind, name, err)
		}
		keep(cached.Trimmed(s.DeepCopy()))
	}
	return of, nil
}
