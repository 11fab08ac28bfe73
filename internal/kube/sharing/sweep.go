package sharing

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// Protected is for how long a pair keeps the snapshot that it was created of from the
// retention policy. A PVC may wait for its node or its volume without end.
const Protected = time.Hour

// Sweep deletes the contents of pairs whose VolumeSnapshot is gone, as it is when a
// PVC was deleted while it was being populated and the operator was down. Such a
// content is of no use: no other VolumeSnapshot can be bound to it. It deletes both
// objects of a pair whose PVC is gone or has its volume: a user may have removed the
// owner of the VolumeSnapshot. In a cluster without the API, and where the operator may
// not list contents, there are none.
func Sweep(ctx context.Context, c client.Client, live client.Reader) error {
	contents, err := Contents(ctx, live)
	if err != nil {
		return err
	}
	var errs []error
	waiting := waiting{}
	for i := range contents {
		content := &contents[i]
		ref := content.Spec.VolumeSnapshotRef
		s, err := read.Object[snapshotv1.VolumeSnapshot](ctx, live, ref.Namespace, ref.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p := Pair{Content: content}
		if s != nil && s.UID == ref.UID {
			needed, err := waiting.has(ctx, live, ref.Namespace, content.Labels[volume.IntermediateLabel])
			if err != nil || needed {
				errs = append(errs, err)
				continue
			}
			p.Snapshot = s
		}
		errs = append(errs, p.Delete(ctx, c))
	}
	return errors.Join(errs...)
}

// waiting are the uids of the PVCs without a volume, by namespace, as far as they were
// read.
type waiting map[string]map[string]bool

// has reports whether a PVC of a namespace has no volume yet.
func (w waiting) has(ctx context.Context, live client.Reader, namespace, uid string) (bool, error) {
	if w[namespace] == nil {
		uids := map[string]bool{}
		for pvc, err := range read.All[corev1.PersistentVolumeClaim](ctx, live, &corev1.PersistentVolumeClaimList{}, client.InNamespace(namespace)) {
			if err != nil {
				return false, fmt.Errorf("list the PVCs of namespace %s: %w", namespace, err)
			}
			if pvc.Status.Phase != corev1.ClaimBound {
				uids[string(pvc.UID)] = true
			}
		}
		w[namespace] = uids
	}
	return w[namespace][uid], nil
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
// populated from now, by pairs that are not older than Protected.
func BeingCloned(ctx context.Context, live client.Reader, namespace string, now time.Time) ([]string, error) {
	contents, err := Contents(ctx, live)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range contents {
		from := contents[i].Annotations[v1alpha1.PopulatedFromAnnotation]
		if name, ok := inNamespace(from, namespace); ok && now.Sub(contents[i].CreationTimestamp.Time) <= Protected {
			names = append(names, name)
		}
	}
	return names, nil
}
