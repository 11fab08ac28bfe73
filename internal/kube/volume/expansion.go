package volume

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/read"
)

// NotExpandable is why the API server would not let a bound PVC grow to a size, as
// far as its StorageClass decides that; empty: it would, or the PVC is that large.
func NotExpandable(ctx context.Context, live client.Reader, pvc *corev1.PersistentVolumeClaim, size resource.Quantity) (string, error) {
	have, name := pvc.Spec.Resources.Requests[corev1.ResourceStorage], ptr.Deref(pvc.Spec.StorageClassName, "")
	if !Bound(pvc) || size.Cmp(have) <= 0 {
		return "", nil
	}
	what := fmt.Sprintf("PVC %s cannot grow from %s to %s", pvc.Name, have.String(), size.String())
	if name == "" {
		return what + ": it has no StorageClass, and only a class can allow that", nil
	}
	class, err := read.Object[storagev1.StorageClass](ctx, live, "", name)
	switch {
	case err != nil:
		return "", err
	case class == nil:
		return fmt.Sprintf("%s: its StorageClass %s does not exist", what, name), nil
	case !ptr.Deref(class.AllowVolumeExpansion, false):
		return fmt.Sprintf("%s: its StorageClass %s does not allow it. If the driver can expand volumes: kubectl patch storageclass %s -p '{\"allowVolumeExpansion\": true}'", what, name, name), nil
	}
	return "", nil
}

// ExpandedByNextPod reports whether the driver has expanded the volume of a PVC, and
// the file system grows when the next pod mounts it.
func ExpandedByNextPod(pvc *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(pvc.Status.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool {
		return c.Type == corev1.PersistentVolumeClaimFileSystemResizePending && c.Status == corev1.ConditionTrue
	})
}
