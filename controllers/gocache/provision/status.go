package provision

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/growth"
)

// Bound is the fact for the condition PVCBound.
func Bound(cache *v1alpha1.GoCache, o pass.Observed) *pass.Fact {
	switch pvc := o.PVC; {
	case pvc == nil:
		return pass.False(v1alpha1.ReasonProgressing, "PVC %s is being created", cache.Name)
	case pvc.Status.Phase == corev1.ClaimLost:
		return pass.False(v1alpha1.ReasonPVCLost, "The volume of PersistentVolumeClaim %s is gone; delete the PersistentVolumeClaim to begin again", pvc.Name)
	case !volume.Bound(pvc):
		return pass.False(v1alpha1.ReasonPVCPending, "PVC %s waits for its volume", pvc.Name)
	default:
		return pass.True(v1alpha1.ReasonPVCBound, "PVC %s is bound to volume %s", pvc.Name, pvc.Spec.VolumeName)
	}
}

// Sufficient is the fact for the condition StorageSufficient: whether the PVC has
// room, and what keeps it from growing if not. It is nil without a rule of growth.
func Sufficient(cache *v1alpha1.GoCache, o pass.Observed) *pass.Fact {
	rule, status := cache.Spec.Storage.Growth, cache.Status.Storage
	full := func() string {
		message := fmt.Sprintf("%d%% of %s is used", ptr.Deref(status.UsedPercent, 0), status.Capacity)
		if status.Inodes != nil && status.InodesUsed != nil {
			message += fmt.Sprintf(", %d of %d inodes", *status.InodesUsed, *status.Inodes)
		}
		return message
	}
	d := Growth(cache, o)
	if rule == nil {
		return nil
	}
	switch d.State {
	case "":
		return pass.Unknown(v1alpha1.ReasonWaiting, "The PVC has no volume yet")
	case growth.Unmeasured:
		return pass.Unknown(v1alpha1.ReasonWaiting, "No run has measured yet how full the volume of %s is", status.Capacity)
	case growth.Enough:
		return pass.True(v1alpha1.ReasonSpaceLeft, "%s; the PVC grows at %d%%", full(), rule.UsedPercent)
	case growth.Grow:
		if name := beingCreated(o); name != "" {
			return pass.False(v1alpha1.ReasonGrowing, "%s; growth of the PVC to %s is requested when CacheSnapshot %s is created", full(), &d.Size, name)
		}
		return pass.False(v1alpha1.ReasonGrowing, "%s; growth of the PVC to %s is requested", full(), &d.Size)
	case growth.Growing:
		return growing(cache, o)
	case growth.Refused:
		return pass.False(v1alpha1.ReasonGrowthRefused, "%s, and the PVC may not grow to %s: %s; use a StorageClass that allows expansion, or raise the quota; it is tried again every %s",
			full(), &status.Growth.Size, status.Growth.Refused, growth.Pause)
	case growth.OutOfInodes:
		return pass.False(v1alpha1.ReasonOutOfInodes, "%s, and the file system has no more inodes since the PVC has grown: request a cleanup with lower bounds, or migrate to a StorageClass whose file systems have more inodes", full())
	case growth.AtLimit:
		return pass.False(v1alpha1.ReasonAtLimit, "%s, and spec.storage.growth.limit is %s: raise it, or request a cleanup", full(), &rule.Limit)
	}
	return nil
}

func growing(cache *v1alpha1.GoCache, o pass.Observed) *pass.Fact {
	asked := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	switch report, infeasible := expansion(o.PVC); {
	case infeasible:
		return pass.False(v1alpha1.ReasonGrowthRefused, "The storage driver cannot expand the volume of %s to %s; %s; see the events of the PVC", cache.Status.Storage.Capacity, &asked, report)
	case report != "":
		return pass.False(v1alpha1.ReasonGrowing, "The PVC grows from %s to %s; %s", cache.Status.Storage.Capacity, &asked, report)
	default:
		return pass.False(v1alpha1.ReasonGrowing, "The PVC grows from %s to %s", cache.Status.Storage.Capacity, &asked)
	}
}
