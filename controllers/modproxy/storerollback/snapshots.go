package storerollback

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/plan/snapshot"
)

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=create;patch;delete

// kept are the snapshots of an instance's store as retention sees them.
func kept(p *v1alpha1.ModProxy, snapshots []v1alpha1.CacheSnapshot, instance string, used map[string]bool) []snapshot.Kept {
	var trust *v1alpha1.Trust
	if policy := p.Spec.Snapshots; policy != nil {
		trust = policy.Verification.Trust
	}
	own := slices.DeleteFunc(slices.Clone(snapshots), func(c v1alpha1.CacheSnapshot) bool { return c.Spec.SourceRef.Instance != instance })
	return snapshot.All(own, trust, func(name string) bool { return used[name] })
}

// keepSnapshots creates what is due, and drops what is no longer kept.
func (r Reconciler) keepSnapshots(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, out *Result) error {
	var plan *schedule.Plan
	if policy := p.Spec.Snapshots; policy != nil {
		var err error
		if plan, err = schedule.Parse(policy.Schedule, string(p.UID)+"/snapshots"); err != nil {
			return pass.Invalid("spec.snapshots.%v", err)
		}
	}
	var errs []error
	for i := range p.Spec.Instances {
		if instance := &p.Spec.Instances[i]; pass.Checked(p, instance.Name) {
			errs = append(errs, r.createSnapshot(ctx, p, o, instance, plan, out))
		}
	}
	errs = append(errs, policy(p).Own(ctx, r.Client, o.Snapshots), r.dropSnapshots(ctx, p, o))
	return errors.Join(errs...)
}

// createSnapshot creates a snapshot of a store when one is due. What is known to
// be corrupt is not kept.
func (r Reconciler) createSnapshot(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, instance *v1alpha1.ProxyInstance, plan *schedule.Plan, out *Result) error {
	status := pass.InstanceStatus(p, instance.Name)
	if status == nil || status.Quarantined != nil || status.VolumeReplacement != nil || !status.Healthy {
		return nil
	}
	claim, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, p.Namespace, naming.Child(p.Name, instance.Name))
	if err != nil || !volume.Bound(claim) {
		return err
	}
	f := snapshot.Observation{
		Now: o.Now, Cache: naming.Child(p.Name, instance.Name), Schedule: plan, Created: p.CreationTimestamp.Time,
		SuccessRun: string(claim.UID), // there always is something in a store
	}
	if status.LastScheduledSnapshot != nil {
		f.LastScheduled = status.LastScheduledSnapshot.Time
	}
	if req, ok := pass.Accepted(p); ok && req.Action == v1alpha1.RequestSnapshot {
		f.Request = req.UID
	}
	due, next := snapshot.Decide(f)
	out.WakeAt(o.Now, next)
	if due == nil {
		return nil
	}
	source := v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: p.Name, Instance: instance.Name}
	err = policy(p).Take(ctx, apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}, due.Name, source, pass.Labels(p, instance.Name))
	if err != nil {
		return err
	}
	out.Created = append(out.Created, due.Name)
	if due.Scheduled {
		status.LastScheduledSnapshot = ptr.To(metav1.NewTime(o.Now))
	}
	return nil
}

func policy(p *v1alpha1.ModProxy) csisnapshot.Policy {
	return csisnapshot.Policy{Of: p, Spec: p.Spec.Snapshots, PodTemplate: p.Spec.PodTemplate}
}

// dropSnapshots deletes what the policy no longer keeps. The cache is used only
// to see whether there is something to drop: what exactly, and whether it is pinned or a
// volume is being made of it, is read live.
func (r Reconciler) dropSnapshots(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed) error {
	if p.Spec.Snapshots == nil || len(superfluous(p, o.Snapshots, nil, o.Now)) == 0 {
		return nil
	}
	live, err := csisnapshot.Of(ctx, r.Live, false, p.Namespace, v1alpha1.ModProxyKind, p.Name)
	if err != nil {
		return err
	}
	used, err := r.used(ctx, p)
	if err != nil {
		return err
	}
	for i := range live {
		if !snapshot.InUseUntil(&live[i], o.Now).IsZero() {
			used[live[i].Name] = true
		}
	}
	_, err = csisnapshot.Drop(ctx, r.Client, superfluous(p, live, used, o.Now), live)
	return err
}

// superfluous names the snapshots that the policy does not keep.
func superfluous(p *v1alpha1.ModProxy, snapshots []v1alpha1.CacheSnapshot, used map[string]bool, now time.Time) []string {
	rule := snapshot.Rule(p.Spec.Snapshots.Retention)
	var names []string
	for _, i := range p.Spec.Instances {
		names = append(names, snapshot.Drop(kept(p, snapshots, i.Name, used), rule, now)...)
	}
	return names
}

// used are the snapshots that a volume is being made of.
func (r Reconciler) used(ctx context.Context, p *v1alpha1.ModProxy) (map[string]bool, error) {
	used, err := volume.BeingCloned(ctx, r.Live, p.Namespace)
	if err != nil {
		return nil, err
	}
	for _, i := range p.Status.Instances {
		if i.VolumeReplacement != nil {
			used[i.VolumeReplacement.Snapshot] = true
		}
	}
	return used, nil
}

// recordSnapshots copies into the status which snapshot each store could be
// rolled back to.
func recordSnapshots(p *v1alpha1.ModProxy, o pass.Observed) {
	for i := range p.Status.Instances {
		status := &p.Status.Instances[i]
		status.LatestVerifiedSnapshot = snapshot.Newest(kept(p, o.Snapshots, status.Name, nil))
	}
}
