package modproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/rollback"
)

// maxText is the bound of the schema for a message.
const maxText = 1024

// rollBack replaces the stores of convicted instances, lets them in again once
// they are proven sound, and remembers how far each has come. What is to be
// done stands in the status before it is begun.
func (r *Reconciler) rollBack(ctx context.Context, s *scope) error {
	var errs []error
	for i := range s.proxy.Status.Instances {
		status := &s.proxy.Status.Instances[i]
		if status.VolumeReplacement != nil {
			errs = append(errs, r.advanceSwap(ctx, s, status))
			continue
		}
		errs = append(errs, r.decideRollback(ctx, s, status))
	}
	return errors.Join(errs...)
}

// decideRollback takes the next step of a rollback in which no volume is on its
// way.
func (r *Reconciler) decideRollback(ctx context.Context, s *scope, status *v1alpha1.InstanceStatus) error {
	d := rollback.Decide(s.rollbackFacts(status), s.now)
	if d.Status != nil {
		d.Status.Message = bounded.Text(d.Status.Message, maxText)
	}
	if d.Begin { // both are written at once, or neither
		intent, err := r.intent(ctx, s, status.Name, d.Status.Snapshot)
		if err != nil {
			return err
		}
		status.VolumeReplacement = intent
	}
	status.Rollback = d.Status
	return nil
}

func (s *scope) rollbackFacts(status *v1alpha1.InstanceStatus) rollback.Observation {
	f := rollback.Observation{
		Requested: s.proxy.Spec.Integrity.OnCorrupt == v1alpha1.StoreRollback && s.hasStore(status.Name),
		Status:    status.Rollback.DeepCopy(), Quarantined: status.Quarantined,
		Snapshot: s.restorable(status.Name), MayBeEmpty: !s.offline(),
		FullyServing: s.whole(status),
	}
	if status.LastVolumeReplacement != nil {
		f.ReplacementFailure = status.LastVolumeReplacement.Failure
	}
	if status.Rollback != nil && status.Rollback.ReplacedTime != nil {
		p := s.proven(status.Name, status.Rollback.ReplacedTime.Add(time.Second))
		f.Intact, f.Wrong, f.Waits = p.sound, p.wrong, p.waits
	}
	return f
}

// whole says whether an instance serves with its whole weight, as read back.
func (s *scope) whole(status *v1alpha1.InstanceStatus) bool {
	for _, i := range s.proxy.Spec.Instances {
		if i.Name == status.Name {
			return status.Quarantined == nil && status.DesiredWeight == i.Weight && s.arrived
		}
	}
	return false
}

func (s *scope) hasStore(instance string) bool {
	return slices.ContainsFunc(s.proxy.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return i.Name == instance && i.Storage != nil })
}

// offline says whether an empty store could never be filled.
func (s *scope) offline() bool {
	return s.proxy.Spec.Upstream != nil && s.proxy.Spec.Upstream.Proxy == "off"
}

// restorable is the newest verified snapshot of an instance's store; empty:
// there is none.
func (s *scope) restorable(instance string) string {
	status := s.instanceStatus(instance)
	if status == nil {
		return ""
	}
	return status.LatestVerifiedSnapshot
}

// intent is a volume of the same class and no smaller, made from the snapshot
// of the rollback.
func (r *Reconciler) intent(ctx context.Context, s *scope, instance, from string) (*v1alpha1.VolumeReplacementStatus, error) {
	live, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, s.proxy.Namespace, naming.Child(s.proxy.Name, instance))
	if err != nil {
		return nil, err
	}
	storage := s.storage(instance)
	size := storage.Size
	intent := &v1alpha1.VolumeReplacementStatus{
		Reason: v1alpha1.ReplacementRollback, Snapshot: from, StartTime: metav1.NewTime(s.now),
		StorageClassName: ptr.Deref(storage.StorageClassName, ""),
	}
	if live != nil {
		intent.PreviousVolume = volume.BoundTo(live)
		intent.StorageClassName = ptr.Deref(live.Spec.StorageClassName, "")
		have := live.Spec.Resources.Requests[corev1.ResourceStorage]
		size = volume.Larger(&size, &have)
	}
	snapshot, err := r.snapshot(ctx, s, from)
	if err != nil {
		return nil, err
	}
	if snapshot != nil {
		size = volume.Larger(&size, snapshot.Status.RestoreSize)
	}
	intent.Size = &size
	return intent, nil
}

func (s *scope) storage(instance string) v1alpha1.InstanceStorage {
	for _, i := range s.proxy.Spec.Instances {
		if i.Name == instance && i.Storage != nil {
			return *i.Storage
		}
	}
	return v1alpha1.InstanceStorage{}
}

func (r *Reconciler) snapshot(ctx context.Context, s *scope, name string) (*v1alpha1.CacheSnapshot, error) {
	return read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, s.proxy.Namespace, name)
}

// advanceSwap takes as many steps as it can. It acts only on an intent that
// stands in the status.
func (r *Reconciler) advanceSwap(ctx context.Context, s *scope, status *v1alpha1.InstanceStatus) error {
	if find(s.before, status.Name).VolumeReplacement == nil {
		return nil // it is about to be written, which wakes us
	}
	snapshot, err := r.snapshot(ctx, s, status.VolumeReplacement.Snapshot)
	if err != nil {
		return err
	}
	run, err := r.swapRun(ctx, s, status, snapshot)
	if err != nil {
		return err
	}
	out, err := run.Advance(ctx, func(ctx context.Context, o replacementrun.Observed, f *replacement.Observation) error {
		return r.completeFacts(ctx, s, status, snapshot, o, f)
	})
	s.before.SetFinalizers(s.proxy.GetFinalizers())
	s.before.SetResourceVersion(s.proxy.GetResourceVersion())
	if err != nil {
		return err
	}
	s.bookSwap(status, out, snapshot)
	return nil
}

// swapRun is the swap as the cluster sees it.
func (r *Reconciler) swapRun(ctx context.Context, s *scope, status *v1alpha1.InstanceStatus, snapshot *v1alpha1.CacheSnapshot) (replacementrun.Run, error) {
	storage := s.storage(status.Name)
	trusted, err := r.trust(ctx, s)
	if err != nil {
		return replacementrun.Run{}, err
	}
	return replacementrun.Run{
		Client: r.Client, Live: r.Live, FieldOwner: fieldOwner,
		Owner: s.proxy, Detached: storage.DeletionPolicy != v1alpha1.DeletionDelete,
		Claim:  naming.Child(s.proxy.Name, status.Name),
		Labels: s.labels(&v1alpha1.ProxyInstance{Name: status.Name}), Intent: status.VolumeReplacement,
		Content: replacementrun.Content{
			Snapshot: snapshot, Image: r.Images.Operator, Template: s.proxy.Spec.PodTemplate, Trusted: trusted,
			Empty: &v1alpha1.SourceRecord{Ownership: storage.Ownership, Layout: s.layout(status.Name)},
		},
		OwnPod: func(p *corev1.Pod) bool {
			owner := metav1.GetControllerOf(p)
			return owner != nil && owner.Kind == "StatefulSet" && owner.Name == naming.Child(s.proxy.Name, status.Name)
		},
	}, nil
}

// completeFacts adds what only this controller knows.
func (r *Reconciler) completeFacts(ctx context.Context, s *scope, status *v1alpha1.InstanceStatus, c *v1alpha1.CacheSnapshot, o replacementrun.Observed, f *replacement.Observation) (err error) {
	f.Now = s.now
	f.Deleting = !s.proxy.DeletionTimestamp.IsZero() || !s.hasStore(status.Name)
	f.Discard = f.Deleting && o.Live != nil && metav1.IsControlledBy(o.Live, s.proxy)
	if f.Intent.New == "" && status.VolumeReplacement.Snapshot != "" {
		if f.Source, err = r.judge(ctx, s, status, c); err != nil {
			return err
		}
	}
	f.Busy, err = r.busy(ctx, s, status, o)
	return err
}

// busy says what of our own uses the live claim, past the cache: the instance
// has to be down, and must not come up in between.
func (r *Reconciler) busy(ctx context.Context, s *scope, status *v1alpha1.InstanceStatus, o replacementrun.Observed) (string, error) {
	name := naming.Child(s.proxy.Name, status.Name)
	set, err := read.Object[appsv1.StatefulSet](ctx, r.Live, s.proxy.Namespace, name)
	if err != nil {
		return "", err
	}
	if set != nil && metav1.IsControlledBy(set, s.proxy) {
		down := set.Spec.Replicas != nil && *set.Spec.Replicas == 0 && set.Status.ObservedGeneration == set.Generation && set.Status.Replicas == 0
		if !down || len(o.OwnPods) > 0 {
			return "instance " + status.Name + " to be down", nil
		}
	}
	capture, err := volume.PendingSnapshot(ctx, r.Live, s.proxy.Namespace, name)
	if err != nil || capture == "" {
		return "", err
	}
	return "CSI snapshot " + capture + " to be cut", nil
}

// bookSwap writes into the status where the swap has come to.
func (s *scope) bookSwap(status *v1alpha1.InstanceStatus, out replacementrun.Outcome, snapshot *v1alpha1.CacheSnapshot) {
	intent, d := status.VolumeReplacement, out.Decision
	s.wake = min(s.wake, max(d.After, time.Second))
	intent.Step, intent.Message = string(d.Step), ""
	switch d.Step { //nolint:exhaustive // the others leave nothing to remember
	case replacement.WaitForSource, replacement.WaitForIdle:
		intent.Message = bounded.Text("waits for "+d.Detail, maxText)
	case replacement.WaitForConsumers:
		intent.Consumers = out.ConsumerNames()
		intent.Message = fmt.Sprintf("waits for %d pods that use the store to be gone", len(out.Consumers))
	case replacement.RecordCheck:
		digest := ""
		if snapshot != nil {
			digest = snapshot.Status.Verification.Digest
		}
		replacement.Record(intent, check.Status(check.Verdict(out.Check), out.Check.Run, s.now), volume.BoundTo(out.Live), volume.BoundTo(out.Next), digest)
	case replacement.RecordOld:
		intent.PreviousVolume = d.Volume
	case replacement.GiveUp:
		intent.Failure = bounded.Text(d.Detail, maxText)
	case replacement.Finish:
		s.finishSwap(status)
	case replacement.Abandon:
		if intent.Failure == "" {
			intent.Failure = "the instance was removed"
		}
		status.LastVolumeReplacement, status.VolumeReplacement = replacement.Result(intent, s.now), nil
	default: // it waits, or goes on
	}
}

// finishSwap books that the store has the new volume. From now on the instance
// may come up, and has to prove itself.
func (s *scope) finishSwap(status *v1alpha1.InstanceStatus) {
	intent := status.VolumeReplacement
	intent.Failure = "" // it is done, whatever was said on the way
	status.Content = &v1alpha1.ContentStatus{Snapshot: intent.Snapshot, Reason: intent.Reason, VolumeName: intent.NextVolume}
	status.LastVolumeReplacement, status.VolumeReplacement = replacement.Result(intent, s.now), nil
	if status.Rollback != nil {
		status.Rollback.ReplacedTime = ptr.To(metav1.NewTime(s.now))
	}
}

// rollsBack says whether the store of an instance is being replaced, by what was
// read or by what is about to be written: it must not be used, nor made anew.
func (s *scope) rollsBack(instance string) bool {
	return find(s.proxy, instance).VolumeReplacement != nil || find(s.before, instance).VolumeReplacement != nil
}

// release takes the finalizer away when no store is on its way any more.
func (r *Reconciler) release(ctx context.Context, s *scope) error {
	if slices.ContainsFunc(s.before.Status.Instances, func(i v1alpha1.InstanceStatus) bool { return i.VolumeReplacement != nil }) {
		return nil
	}
	err := replacementrun.Release(ctx, r.Client, s.proxy)
	s.before.SetFinalizers(s.proxy.GetFinalizers())
	s.before.SetResourceVersion(s.proxy.GetResourceVersion())
	return err
}

// leave lets a proxy that is being deleted go. What goes with it is owned by
// it; only stores on their way are brought to an end first.
func (r *Reconciler) leave(ctx context.Context, s *scope) error {
	if len(s.proxy.Finalizers) == 0 {
		return nil
	}
	if err := r.release(ctx, s); err != nil {
		return err
	}
	var errs []error
	for i := range s.proxy.Status.Instances {
		if status := &s.proxy.Status.Instances[i]; status.VolumeReplacement != nil {
			errs = append(errs, r.advanceSwap(ctx, s, status))
		}
	}
	_, err := patch.Status(ctx, r.Client, s.before, s.proxy)
	return errors.Join(append(errs, err)...)
}
