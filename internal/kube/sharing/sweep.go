package sharing

import (
	"context"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// Sweep deletes the contents of pairs whose VolumeSnapshot is gone, as it is when a
// PVC was deleted while it was being populated and the operator was down. Such a
// content is of no use: no other VolumeSnapshot can be bound to it. In a
// cluster without the API, and where the operator may not list contents, there are
// none.
func Sweep(ctx context.Context, c client.Client, live client.Reader) error {
	contents, err := Contents(ctx, live)
	if err != nil {
		return err
	}
	var errs []error
	for i := range contents {
		content := &contents[i]
		ref := content.Spec.VolumeSnapshotRef
		s, err := read.Object[snapshotv1.VolumeSnapshot](ctx, live, ref.Namespace, ref.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s == nil || s.UID != ref.UID {
			errs = append(errs, deleteContent(ctx, c, content))
		}
	}
	return errors.Join(errs...)
}

// Contents are the contents of all pairs.
func Contents(ctx context.Context, live client.Reader) ([]snapshotv1.VolumeSnapshotContent, error) {
	var list snapshotv1.VolumeSnapshotContentList
	err := live.List(ctx, &list, client.HasLabels{volume.IntermediateLabel}, client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	if apierrors.IsForbidden(err) || meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotContents that are shared: %w", err)
	}
	return list.Items, nil
}

// BeingCloned names the CacheSnapshots of a namespace that a PVC of another one is
// populated from now.
func BeingCloned(ctx context.Context, live client.Reader, namespace string) ([]string, error) {
	contents, err := Contents(ctx, live)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range contents {
		from := contents[i].Annotations[v1alpha1.PopulatedFromAnnotation]
		if name, ok := inNamespace(from, namespace); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
