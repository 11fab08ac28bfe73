package csisnapshot

import (
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
)

// kind is what a cluster with CSI snapshots serves.
var kind = schema.GroupKind{Group: snapshotv1.GroupName, Kind: "VolumeSnapshot"}

// ServedInterval is when it is read again whether a cluster serves CSI snapshots.
const ServedInterval = 15 * time.Second

// Served returns nil if the cluster serves the API of CSI snapshots, and otherwise a
// [conditions.StalledError]: that API is an add-on, of which nothing works without.
func Served(mapper meta.RESTMapper) error {
	_, err := mapper.RESTMapping(kind, snapshotv1.SchemeGroupVersion.Version)
	if meta.IsNoMatchError(err) {
		return &conditions.StalledError{Reason: v1alpha1.ReasonSnapshotAPIMissing, RetryAfter: ServedInterval, Message: fmt.Sprintf(
			"the cluster does not serve %s of %s, so that no snapshot is created and no PVC is populated: install the CRDs and the snapshot controller of kubernetes-csi/external-snapshotter. This is read again every %s",
			kind.Kind, snapshotv1.SchemeGroupVersion, ServedInterval)}
	}
	if err != nil {
		return fmt.Errorf("look for the API of CSI snapshots: %w", err)
	}
	return nil
}
