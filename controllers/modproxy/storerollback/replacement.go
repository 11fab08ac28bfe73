package storerollback

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/read"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/snapshot"
)

// intent is a volume of the same class and no smaller, made from the snapshot
// of the rollback.
func (r Reconciler) intent(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, instance, from string) (*v1alpha1.VolumeReplacementStatus, error) {
	live, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, p.Namespace, naming.Child(p.Name, instance))
	if err != nil {
		return nil, err
	}
	storage := pass.Storage(p, instance)
	size := storage.Size
	intent := &v1alpha1.VolumeReplacementStatus{
		Reason: v1alpha1.ReplacementRollback, Snapshot: from, StartTime: metav1.NewTime(o.Now),
		StorageClassName: ptr.Deref(storage.StorageClassName, ""),
	}
	if live != nil {
		intent.PreviousVolume = volume.BoundTo(live)
		intent.StorageClassName = ptr.Deref(live.Spec.StorageClassName, "")
		have := live.Spec.Resources.Requests[corev1.ResourceStorage]
		size = volume.Larger(&size, &have)
	}
	snapshot, err := r.snapshot(ctx, p, from)
	if err != nil {
		return nil, err
	}
	if snapshot != nil {
		size = volume.Larger(&size, snapshot.Status.RestoreSize)
	}
	intent.Size = &size
	return intent, nil
}

func (r Reconciler) snapshot(ctx context.Context, p *v1alpha1.ModProxy, name string) (*v1alpha1.CacheSnapshot, error) {
	return read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, p.Namespace, name)
}

// advance takes as many steps as it can. It acts only on an intent that
// stands in the status.
func (r Reconciler) advance(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, status *v1alpha1.InstanceStatus, out *Result) error {
	if pass.Instance(o.Stored, status.Name).VolumeReplacement == nil {
		return nil // it is about to be written, which wakes us
	}
	snapshot, err := r.snapshot(ctx, p, status.VolumeReplacement.Snapshot)
	if err != nil {
		return err
	}
	run, err := r.run(ctx, p, status, snapshot)
	if err != nil {
		return err
	}
	outcome, err := run.Advance(ctx, func(ctx context.Context, seen replacementrun.Observed, f *replacement.Observation) error {
		return r.completeFacts(ctx, p, o, status, snapshot, seen, f)
	})
	if err != nil {
		return err
	}
	out.WakeIn(max(outcome.Decision.After, time.Second))
	record(status, outcome, snapshot, o.Now)
	return nil
}

// run is the replacement as the cluster sees it.
func (r Reconciler) run(ctx context.Context, p *v1alpha1.ModProxy, status *v1alpha1.InstanceStatus, snapshot *v1alpha1.CacheSnapshot) (replacementrun.Run, error) {
	storage := pass.Storage(p, status.Name)
	trusted, err := pass.Trust(ctx, r.Live, p)
	if err != nil {
		return replacementrun.Run{}, err
	}
	return replacementrun.Run{
		Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner,
		Owner: p, Detached: storage.DeletionPolicy != v1alpha1.DeletionDelete,
		Claim:  naming.Child(p.Name, status.Name),
		Labels: pass.Labels(p, status.Name), Intent: status.VolumeReplacement,
		Content: replacementrun.Content{
			Snapshot: snapshot, Image: r.Images.Operator, Template: p.Spec.PodTemplate, Trusted: trusted,
			Empty: &v1alpha1.SourceRecord{Ownership: storage.Ownership, Layout: string(pass.Layout(p, status.Name))},
		},
		OwnPod: func(pod *corev1.Pod) bool {
			owner := metav1.GetControllerOf(pod)
			return owner != nil && owner.Kind == "StatefulSet" && owner.Name == naming.Child(p.Name, status.Name)
		},
	}, nil
}

// completeFacts adds what only this controller can observe.
func (r Reconciler) completeFacts(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, status *v1alpha1.InstanceStatus, c *v1alpha1.CacheSnapshot, run replacementrun.Observed, f *replacement.Observation) (err error) {
	f.Now = o.Now
	f.Deleting = !p.DeletionTimestamp.IsZero() || !pass.HasStore(p, status.Name)
	f.Discard = f.Deleting && run.Live != nil && metav1.IsControlledBy(run.Live, p)
	if f.Intent.New == "" && status.VolumeReplacement.Snapshot != "" {
		if f.Source, err = r.judge(ctx, p, status, c); err != nil {
			return err
		}
	}
	f.Busy, err = r.busy(ctx, p, status, run)
	return err
}

// busy is what of the operator's own uses the PVC of the store, read past the
// cache: the instance has to be down, and must not start in between.
func (r Reconciler) busy(ctx context.Context, p *v1alpha1.ModProxy, status *v1alpha1.InstanceStatus, run replacementrun.Observed) (string, error) {
	name := naming.Child(p.Name, status.Name)
	set, err := read.Object[appsv1.StatefulSet](ctx, r.Live, p.Namespace, name)
	if err != nil {
		return "", err
	}
	if set != nil && metav1.IsControlledBy(set, p) {
		down := set.Spec.Replicas != nil && *set.Spec.Replicas == 0 && set.Status.ObservedGeneration == set.Generation && set.Status.Replicas == 0
		if !down || len(run.OwnPods) > 0 {
			return "instance " + status.Name + " to be down", nil
		}
	}
	pending, err := volume.PendingSnapshot(ctx, r.Live, p.Namespace, name)
	if err != nil || pending == "" {
		return "", err
	}
	return "CSI snapshot " + pending + " to be created", nil
}

// record writes into the status how far the replacement is.
func record(status *v1alpha1.InstanceStatus, out replacementrun.Outcome, snapshot *v1alpha1.CacheSnapshot, now time.Time) {
	intent, d := status.VolumeReplacement, out.Decision
	intent.Step, intent.Message = string(d.Step), ""
	switch d.Step { //nolint:exhaustive // the others leave nothing to remember
	case replacement.WaitForSource, replacement.WaitForAdmission, replacement.WaitForIdle:
		intent.Message = bounded.Text("waits for "+d.Detail, pass.MaxText)
	case replacement.WaitForConsumers:
		intent.Consumers = out.ConsumerNames()
		intent.Message = fmt.Sprintf("waits for %d pods that use the store to be gone", len(out.Consumers))
	case replacement.RecordCheck:
		digest := ""
		if snapshot != nil {
			digest = snapshot.Status.Verification.Digest
		}
		replacement.Record(intent, check.Status(check.Verdict(out.Check), out.Check.Run, now), volume.BoundTo(out.Live), volume.BoundTo(out.Next), digest)
	case replacement.RecordOld:
		intent.PreviousVolume = d.Volume
	case replacement.GiveUp:
		intent.Failure = bounded.Text(d.Detail, pass.MaxText)
	case replacement.Finish:
		finish(status, now)
	case replacement.Abandon:
		if intent.Failure == "" {
			intent.Failure = "the instance was removed"
		}
		status.LastVolumeReplacement, status.VolumeReplacement = replacement.Result(intent, now), nil
	default: // it waits, or goes on
	}
}

// finish records that the store has the new volume. From now on the instance may
// come up, and has to be proven intact.
func finish(status *v1alpha1.InstanceStatus, now time.Time) {
	intent := status.VolumeReplacement
	intent.Failure = "" // it is done, whatever was recorded on the way
	status.Content = &v1alpha1.ContentStatus{Snapshot: intent.Snapshot, Reason: intent.Reason, VolumeName: intent.NextVolume}
	status.LastVolumeReplacement, status.VolumeReplacement = replacement.Result(intent, now), nil
	if status.Rollback != nil {
		status.Rollback.ReplacedTime = ptr.To(metav1.NewTime(now))
	}
}

// judge reports whether the snapshot of a rollback may be restored, which was
// chosen as the newest of the store.
func (r Reconciler) judge(ctx context.Context, p *v1alpha1.ModProxy, status *v1alpha1.InstanceStatus, c *v1alpha1.CacheSnapshot) (replacement.Source, error) {
	csi, err := volume.StateOf(ctx, r.Live, c)
	of := v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: p.Name, Instance: status.Name}
	return replacement.Judge(status.VolumeReplacement.Snapshot, snapshot.Candidate(c, snapshot.Use{Of: of, BySource: true, CSI: csi})), err
}
