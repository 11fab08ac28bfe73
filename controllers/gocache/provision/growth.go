package provision

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/snapshot"
)

// recordGrowth decides on the size that the PVC is asked to grow to. It is
// written into the status first: applyPVC asks for it once it is stored.
func recordGrowth(cache *v1alpha1.GoCache, o pass.Observed, out *Result) {
	if o.Replacing(cache) {
		return // for a PVC that is about to be another one
	}
	d := Growth(cache, o)
	out.WakeAt(o.Now, d.Wake)
	if d.State != growth.Grow {
		return
	}
	status := &cache.Status.Storage
	if g := status.Growth; g != nil && g.Refused == "" && g.Size.Cmp(d.Size) == 0 {
		return // is asked for
	}
	status.Growth = &v1alpha1.GrowthStatus{Size: d.Size, Time: metav1.NewTime(o.Now)}
	if observation(cache, o).ForInodes() {
		status.Growth.Inodes = status.Inodes
	}
}

// Growth is where the PVC stands by the rule of its growth; no state without a
// rule.
func Growth(cache *v1alpha1.GoCache, o pass.Observed) growth.Decision {
	rule, status := cache.Spec.Storage.Growth, cache.Status.Storage
	if rule == nil || !volume.Bound(o.PVC) || status.Capacity == nil {
		return growth.Decision{}
	}
	return growth.Decide(observation(cache, o))
}

// observation is what the decision about growth is made from, of a PVC with a rule and
// a volume.
func observation(cache *v1alpha1.GoCache, o pass.Observed) growth.Observation {
	rule, status := cache.Spec.Storage.Growth, cache.Status.Storage
	f := growth.Observation{
		Now: o.Now, UsedPercent: rule.UsedPercent, Step: rule.Step, Limit: rule.Limit,
		Requested: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage], Capacity: *status.Capacity,
		Used: status.UsedPercent, Measured: status.MeasuredCapacity,
		Inodes: ptr.Deref(status.Inodes, 0), InodesUsed: ptr.Deref(status.InodesUsed, 0),
	}
	if g := status.Growth; g != nil && g.Refused != "" {
		f.RefusedAt, f.RefusedSize = g.Time.Time, g.Size
	} else if g != nil {
		f.GrownInodes = ptr.Deref(g.Inodes, 0)
	}
	return f
}

// grownSize is the size that the PVC has grown to, or is to grow to, as it is
// stored; nil when the spec's is enough.
func grownSize(cache *v1alpha1.GoCache, o pass.Observed) *resource.Quantity {
	g := o.Stored.Status.Storage.Growth
	if g == nil || g.Refused != "" || cache.Status.Storage.Growth == nil {
		return nil
	}
	return &g.Size
}

// recordRefusedGrowth records that the API server does not let the PVC grow to
// the size that the rule asks for, and reports whether it was that.
func recordRefusedGrowth(cache *v1alpha1.GoCache, o pass.Observed, asked resource.Quantity, err error) bool {
	g := cache.Status.Storage.Growth
	if !apply.Refused(err) || g == nil || grownSize(cache, o) == nil || asked.Cmp(g.Size) != 0 || asked.Cmp(cache.Spec.Storage.Size) <= 0 {
		return false
	}
	g.Refused, g.Time = bounded.Text(err.Error(), 1024), metav1.NewTime(o.Now)
	return true
}

const (
	// snapshotFirst is how long the creation of a snapshot delays an expansion. Some
	// drivers fail a snapshot of a volume that grows; one that does not succeed must not
	// leave the cache without room.
	snapshotFirst = 10 * time.Minute
	// againAfter is when an expansion that waits is looked at again.
	againAfter = 15 * time.Second
)

// beingCreated names a CacheSnapshot of the cache PVC that is not created yet, and
// that an expansion waits for; empty: none. It may have no CSI snapshot yet.
func beingCreated(o pass.Observed) string {
	for i := range o.Snapshots {
		s := &o.Snapshots[i]
		kept, ok := snapshot.Of(s, false)
		if ok && kept.Pending && s.Status.CreationTime == nil && o.Now.Sub(s.CreationTimestamp.Time) < snapshotFirst {
			return s.Name
		}
	}
	return ""
}

// snapshotPending reports whether an expansion of the cache PVC waits for a snapshot
// of it, also for one that the operator did not request.
func (r Reconciler) snapshotPending(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (bool, error) {
	if beingCreated(o) != "" {
		return true, nil
	}
	name, err := volume.PendingSnapshotSince(ctx, r.Live, cache.Namespace, cache.Name, o.Now.Add(-snapshotFirst))
	return name != "", err
}

// expansion is what a PVC reports of an expansion that is under way, and
// whether it was given up.
func expansion(pvc *corev1.PersistentVolumeClaim) (report string, infeasible bool) {
	stage := pvc.Status.AllocatedResourceStatuses[corev1.ResourceStorage]
	infeasible = stage == corev1.PersistentVolumeClaimControllerResizeInfeasible || stage == corev1.PersistentVolumeClaimNodeResizeInfeasible
	var all []string
	if volume.ExpandedByNextPod(pvc) {
		all = append(all, "the next run on it finishes that")
	}
	for _, c := range pvc.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		if c.Type == corev1.PersistentVolumeClaimControllerResizeError || c.Type == corev1.PersistentVolumeClaimNodeResizeError {
			all = append(all, "error of the driver: "+c.Message)
		}
	}
	return strings.Join(all, "; "), infeasible
}
