package csisnapshot

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
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

// Of are the snapshots of one source. Only a cache with Index is indexed; of
// others the whole namespace is asked for.
func Of(ctx context.Context, c client.Reader, indexed bool, namespace, kind, name string) ([]v1alpha1.CacheSnapshot, error) {
	options := []client.ListOption{client.InNamespace(namespace)}
	if indexed {
		options = append(options, client.MatchingFields{sourceIndex: kind + "/" + name})
	}
	var list v1alpha1.CacheSnapshotList
	if err := c.List(ctx, &list, options...); err != nil {
		return nil, fmt.Errorf("list CacheSnapshots of %s %s: %w", kind, name, err)
	}
	return slices.DeleteFunc(list.Items, func(s v1alpha1.CacheSnapshot) bool {
		return s.Spec.SourceRef.Kind != kind || s.Spec.SourceRef.Name != name
	}), nil
}
