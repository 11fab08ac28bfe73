package modproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/plan/snapshot"
)

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=get;list;watch;create;patch;delete

// observeSnapshots reads the snapshots of the stores.
func (r *Reconciler) observeSnapshots(ctx context.Context, s *scope) (err error) {
	s.facts.snapshots, err = csisnapshot.Of(ctx, r.Client, r.Indexed, s.proxy.Namespace, v1alpha1.ModProxyKind, s.proxy.Name)
	return err
}

// bySnapshot wakes the proxy whose store a snapshot is of.
func bySnapshot(_ context.Context, o client.Object) []reconcile.Request {
	ref := o.(*v1alpha1.CacheSnapshot).Spec.SourceRef
	if ref.Kind != v1alpha1.ModProxyKind {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: ref.Name}}}
}

// kept are the snapshots of an instance's store as retention sees them.
func (s *scope) kept(instance string) []snapshot.Kept {
	var trust *v1alpha1.Trust
	if policy := s.proxy.Spec.Snapshots; policy != nil {
		trust = policy.Verification.Trust
	}
	own := slices.DeleteFunc(slices.Clone(s.facts.snapshots), func(c v1alpha1.CacheSnapshot) bool { return c.Spec.SourceRef.Instance != instance })
	return snapshot.All(own, trust, func(name string) bool { return s.facts.used[name] })
}

// judge says whether the snapshot of a rollback may be restored, which was chosen
// as the newest of the store.
func (r *Reconciler) judge(ctx context.Context, s *scope, status *v1alpha1.InstanceStatus, c *v1alpha1.CacheSnapshot) (replacement.Source, error) {
	csi, err := volume.StateOf(ctx, r.Live, c)
	of := v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: s.proxy.Name, Instance: status.Name}
	return replacement.Judge(status.VolumeReplacement.Snapshot, snapshot.Candidate(c, snapshot.Use{Of: of, BySource: true, CSI: csi})), err
}

// keepSnapshots takes what is due, and drops what is no longer kept.
func (r *Reconciler) keepSnapshots(ctx context.Context, s *scope) error {
	var plan *schedule.Plan
	if policy := s.proxy.Spec.Snapshots; policy != nil {
		var err error
		if plan, err = schedule.Parse(policy.Schedule, string(s.proxy.UID)+"/snapshots"); err != nil {
			return invalid("spec.snapshots.%v", err)
		}
	}
	var errs []error
	for i := range s.proxy.Spec.Instances {
		if instance := &s.proxy.Spec.Instances[i]; s.checked(instance.Name) {
			errs = append(errs, r.takeSnapshot(ctx, s, instance, plan))
		}
	}
	errs = append(errs, s.capture().Own(ctx, r.Client, s.facts.snapshots), r.dropSnapshots(ctx, s))
	return errors.Join(errs...)
}

// takeSnapshot asks for a snapshot of a store when one is due. What is known to
// hold wrong bytes is not worth to be kept.
func (r *Reconciler) takeSnapshot(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance, plan *schedule.Plan) error {
	status := s.instanceStatus(instance.Name)
	if status == nil || status.Quarantined != nil || status.VolumeReplacement != nil || !status.Healthy {
		return nil
	}
	claim, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, s.proxy.Namespace, s.childName(instance))
	if err != nil || !volume.Bound(claim) {
		return err
	}
	f := snapshot.Observation{
		Now: s.now, Cache: s.childName(instance), Schedule: plan, Created: s.proxy.CreationTimestamp.Time,
		SuccessRun: string(claim.UID), // there always is something in a store
	}
	if status.LastScheduledSnapshot != nil {
		f.LastScheduled = status.LastScheduledSnapshot.Time
	}
	if req, ok := s.accepted(); ok && req.Action == request.Snapshot {
		f.Request = req.Token
	}
	due, next := snapshot.Decide(f)
	if !next.IsZero() {
		s.wake = min(s.wake, max(next.Sub(s.now), confirmInterval))
	}
	if due == nil {
		return nil
	}
	source := v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: s.proxy.Name, Instance: instance.Name}
	err = s.capture().Take(ctx, r.applier(), due.Name, source, s.labels(instance))
	if err != nil {
		return err
	}
	s.taken = append(s.taken, due.Name)
	if due.Scheduled {
		status.LastScheduledSnapshot = ptr.To(metav1.NewTime(s.now))
	}
	return nil
}

func (s *scope) capture() csisnapshot.Policy {
	return csisnapshot.Policy{Of: s.proxy, Spec: s.proxy.Spec.Snapshots, PodTemplate: s.proxy.Spec.PodTemplate}
}

// dropSnapshots deletes what the policy no longer keeps. The cache says only
// whether there is something to drop: what exactly, and whether somebody has
// pinned it or makes a volume of it, is read live.
func (r *Reconciler) dropSnapshots(ctx context.Context, s *scope) error {
	if s.proxy.Spec.Snapshots == nil || len(s.superfluous()) == 0 {
		return nil
	}
	if err := r.observeUse(ctx, s); err != nil {
		return err
	}
	_, err := csisnapshot.Drop(ctx, r.Client, s.superfluous(), s.facts.snapshots)
	return err
}

// superfluous names the snapshots that the policy does not keep, by what is
// known.
func (s *scope) superfluous() []string {
	rule := snapshot.Rule(s.proxy.Spec.Snapshots.Retention)
	var names []string
	for _, i := range s.proxy.Spec.Instances {
		names = append(names, snapshot.Drop(s.kept(i.Name), rule, s.now)...)
	}
	return names
}

// observeUse reads the snapshots again, past the cache, and which of them
// somebody makes a volume of.
func (r *Reconciler) observeUse(ctx context.Context, s *scope) (err error) {
	if s.facts.snapshots, err = csisnapshot.Of(ctx, r.Live, false, s.proxy.Namespace, v1alpha1.ModProxyKind, s.proxy.Name); err != nil {
		return err
	}
	var primes corev1.PersistentVolumeClaimList
	if err := r.Live.List(ctx, &primes, client.InNamespace(s.proxy.Namespace), client.HasLabels{volume.IntermediateLabel}); err != nil {
		return fmt.Errorf("list claims that are being populated: %w", err)
	}
	s.facts.used = map[string]bool{}
	for i := range primes.Items {
		s.facts.used[primes.Items[i].Annotations[v1alpha1.PopulatedFromAnnotation]] = true
	}
	for _, i := range s.proxy.Status.Instances {
		if i.VolumeReplacement != nil {
			s.facts.used[i.VolumeReplacement.Snapshot] = true
		}
	}
	return nil
}

// noteSnapshots copies into the status which snapshots could be rolled back to.
func (s *scope) noteSnapshots() {
	for i := range s.proxy.Status.Instances {
		status := &s.proxy.Status.Instances[i]
		status.LatestVerifiedSnapshot = snapshot.Newest(s.kept(status.Name))
	}
}
