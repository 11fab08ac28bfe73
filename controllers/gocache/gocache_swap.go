package gocache

import (
	"context"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
)

// keepPrevious is the default of spec.storage.volumeReplacement.keepPrevious.
const keepPrevious = 168 * time.Hour

// retryEviction is when an eviction that was refused is asked for again.
const retryEviction = 10 * time.Second

// maxSwapText is the bound of the schema for a message.
const maxSwapText = 1024

// held says whether the object bears the finalizer of a swap.
func (s *scope) held() bool {
	return controllerutil.ContainsFinalizer(s.cache, v1alpha1.VolumeReplacementFinalizer)
}

// swap replaces the volume of the claim when something asks for it. It acts
// only on an intent that stands in the status.
func (r *Reconciler) swap(ctx context.Context, s *scope) error {
	switch {
	case s.Stored.Status.VolumeReplacement != nil:
		return r.advanceSwap(ctx, s)
	case s.held():
		if err := replacementrun.Release(ctx, r.Client, s.cache); err != nil {
			return err
		}
		s.Stored.SetFinalizers(s.cache.GetFinalizers())
		s.Stored.SetResourceVersion(s.cache.GetResourceVersion())
	}
	return r.beginSwap(ctx, s)
}

// resumeSwap goes on with a swap that has touched the live claim, though the
// object is suspended: it would be left without its volume.
func (r *Reconciler) resumeSwap(ctx context.Context, s *scope) error {
	if s.Stored.Status.VolumeReplacement == nil || !s.held() {
		return nil
	}
	return r.advanceSwap(ctx, s)
}

// dropPrevious deletes the claim that keeps the replaced volume when its time
// is over. The volume's own policy decides about the volume.
func (r *Reconciler) dropPrevious(ctx context.Context, s *scope) error {
	previous := s.Previous
	if previous == nil || !previous.DeletionTimestamp.IsZero() || s.Replacing(s.cache) {
		return nil
	}
	end := previous.CreationTimestamp.Add(keepsPrevious(s.cache.Spec.Storage.VolumeReplacement))
	if s.Now.Before(end) {
		s.wakeAt(end)
		return nil
	}
	s.done.released = previous.Name
	return apply.Delete(ctx, r.Client, previous)
}

// leave lets an object that is being deleted go. What goes with it is owned by
// it; only a swap in progress is brought to an end first.
func (r *Reconciler) leave(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !s.held() {
		return ctrl.Result{}, nil
	}
	if s.Stored.Status.VolumeReplacement == nil {
		return ctrl.Result{}, replacementrun.Release(ctx, r.Client, s.cache)
	}
	var err error
	if s.Observed, err = r.observe(ctx, s.Observed); err == nil {
		err = r.advanceSwap(ctx, s)
	}
	if reportErr := r.report(ctx, s, err); reportErr != nil {
		return ctrl.Result{}, reportErr
	}
	return conditions.Result(err, s.result.Wake)
}

// beginSwap writes the intent of the first wish that can be fulfilled.
func (r *Reconciler) beginSwap(ctx context.Context, s *scope) error {
	if s.PVC != nil && !s.PVC.DeletionTimestamp.IsZero() {
		return nil // its going wakes us
	}
	for _, wish := range []func(context.Context, *scope) (*v1alpha1.VolumeReplacementStatus, error){
		r.wishRestore, r.wishRequest, r.wishCorrupt, r.wishMigration,
	} {
		intent, err := wish(ctx, s)
		if err != nil {
			return err
		}
		if intent != nil {
			intent.StartTime = metav1.NewTime(s.Now)
			intent.PreviousVolume = volume.BoundTo(s.PVC)
			s.cache.Status.VolumeReplacement = intent
			return nil
		}
	}
	return nil
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups="",resources=pods/eviction,verbs=create
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots,verbs=get;list;watch

// advanceSwap takes as many steps as it can.
func (r *Reconciler) advanceSwap(ctx context.Context, s *scope) error {
	intent := s.cache.Status.VolumeReplacement
	if why := s.withdrawn(intent); why != "" && intent.Failure == "" {
		intent.Failure = why
		return nil // and the write of it wakes us
	}
	snapshot, err := read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, s.cache.Namespace, intent.Snapshot)
	if err != nil {
		return err
	}
	run := r.swapRun(s, snapshot)
	out, err := run.Advance(ctx, func(ctx context.Context, o replacementrun.Observed, f *replacement.Observation) error {
		return r.completeFacts(ctx, s, snapshot, o, f)
	})
	s.Stored.SetFinalizers(s.cache.GetFinalizers())
	s.Stored.SetResourceVersion(s.cache.GetResourceVersion())
	if err != nil {
		return err
	}
	s.bookSwap(out, snapshot)
	return r.hinderedSwap(ctx, s, out)
}

// swapRun is the swap as the cluster sees it.
func (r *Reconciler) swapRun(s *scope, snapshot *v1alpha1.CacheSnapshot) replacementrun.Run {
	content := replacementrun.Content{Snapshot: snapshot, Image: r.Images.Operator, Template: s.cache.Spec.PodTemplate}
	verification := pass.SnapshotPolicy(s.cache).Verification
	content.Resources = verification.Resources
	if verification.Deadline != nil {
		content.Deadline = &verification.Deadline.Duration
	}
	return replacementrun.Run{
		Client: r.Client, Live: r.Live, FieldOwner: fieldOwner,
		Owner: s.cache, Detached: s.cache.Spec.Storage.DeletionPolicy != v1alpha1.DeletionDelete,
		Claim: s.cache.Name, Labels: pass.Labels(s.cache), AccessModes: s.cache.Spec.Storage.AccessModes,
		Intent: s.cache.Status.VolumeReplacement, Content: content,
		OwnPod: func(p *corev1.Pod) bool {
			return p.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue && p.Labels[v1alpha1.CacheLabel] == s.cache.Name
		},
	}
}

// completeFacts adds what only this controller knows.
func (r *Reconciler) completeFacts(ctx context.Context, s *scope, snapshot *v1alpha1.CacheSnapshot, o replacementrun.Observed, f *replacement.Observation) (err error) {
	replacement := s.cache.Spec.Storage.VolumeReplacement
	f.Now = s.Now
	f.Evict = replacement.Consumers == v1alpha1.ConsumersEvict
	f.Keep = keepsPrevious(replacement) > 0
	f.Deleting = !s.cache.DeletionTimestamp.IsZero()
	f.Discard = f.Deleting && s.cache.Spec.Storage.DeletionPolicy == v1alpha1.DeletionDelete
	if f.Intent.New == "" {
		if f.Source, err = r.swapSource(ctx, s, snapshot, o); err != nil {
			return err
		}
	}
	f.Busy, err = r.busy(ctx, s, o)
	return err
}

// keepsPrevious is how long a volume that was replaced is kept.
func keepsPrevious(r v1alpha1.VolumeReplacement) time.Duration {
	if r.KeepPrevious == nil {
		return keepPrevious
	}
	return r.KeepPrevious.Duration
}

// busy names what of our own uses the live claim, past the cache.
func (r *Reconciler) busy(ctx context.Context, s *scope, o replacementrun.Observed) (string, error) {
	writer, err := read.Object[batchv1.Job](ctx, r.Live, s.cache.Namespace, naming.Child(s.cache.Name, naming.Writer))
	switch {
	case err != nil:
		return "", err
	case apply.Ours(s.cache, pass.Labels(s.cache), writer) != nil:
		return "Job " + writer.Name + ", which works on the claim, to end", nil
	case len(o.OwnPods) > 0:
		return "pod " + o.OwnPods[0].Name + " to be gone", nil
	}
	capture, err := volume.PendingSnapshot(ctx, r.Live, s.cache.Namespace, s.cache.Name)
	if err != nil || capture == "" {
		return "", err
	}
	return "CSI snapshot " + capture + " to be cut", nil
}

// hinderedSwap says why the pod that checks the new volume does not run, if it
// should by now. No watch tells.
func (r *Reconciler) hinderedSwap(ctx context.Context, s *scope, out replacementrun.Outcome) error {
	if out.Decision.Step != replacement.WaitForCheck || out.Check.Ready {
		return nil
	}
	s.wakeIn(jobrun.StartTimeout)
	why, err := jobrun.Hindrance(ctx, r.Live, out.Job, out.Check, s.Now)
	if intent := s.cache.Status.VolumeReplacement; err == nil && why != "" {
		intent.Message = bounded.Text(intent.Message+", but its pod cannot run yet: "+why, maxSwapText)
	}
	return err
}

// bookSwap writes into the status where the swap has come to.
func (s *scope) bookSwap(out replacementrun.Outcome, snapshot *v1alpha1.CacheSnapshot) {
	intent, d := s.cache.Status.VolumeReplacement, out.Decision
	switch {
	case out.Objection != "":
		s.wakeIn(retryEviction)
	case d.After > 0:
		s.wakeIn(d.After)
	case !d.Waits() && !d.ChangesIntent(): // there is more to do
		s.wakeIn(time.Second)
	}
	intent.Step, intent.Consumers = string(d.Step), nil
	intent.Message = bounded.Text(swapMessage(out), maxSwapText)
	switch step := d.Step; {
	case step == replacement.WaitForConsumers || step == replacement.Evict:
		intent.Consumers = out.ConsumerNames()
	case step == replacement.RecordCheck:
		digest := ""
		if snapshot != nil {
			digest = snapshot.Status.Verification.Digest
		}
		replacement.Record(intent, check.Status(check.Verdict(out.Check), out.Check.Run, s.Now), volume.BoundTo(out.Live), volume.BoundTo(out.Next), digest)
	case step == replacement.RecordOld:
		intent.PreviousVolume = d.Volume
	case step == replacement.GiveUp:
		intent.Failure = bounded.Text(d.Detail, maxSwapText)
	case step == replacement.Finish:
		s.finishSwap(out, snapshot)
	case step == replacement.Abandon:
		if intent.Failure == "" {
			intent.Failure = "the GoCache was deleted"
		}
		s.endSwap()
	}
}

// swapMessage says what a swap waits for.
func swapMessage(out replacementrun.Outcome) string {
	d := out.Decision
	switch step := d.Step; {
	case step == replacement.WaitForSource || step == replacement.WaitForIdle:
		return "waits for " + d.Detail
	case step == replacement.WaitForCheck:
		return "the new volume is being made and verified"
	case step == replacement.WaitForConsumers:
		return fmt.Sprintf("waits for %s to be gone", pods(out.Consumers))
	case step == replacement.Evict:
		if out.Objection != "" {
			return "an eviction was refused: " + out.Objection
		}
		return fmt.Sprintf("evicted %s and waits for them to be gone", pods(out.Consumers))
	case step == replacement.WaitForRetry:
		return "the check of the new volume could not tell, and is repeated"
	default:
		return ""
	}
}

// pods names pods, and counts those that are too many to name.
func pods(all []corev1.Pod) string {
	const most = 5
	var names []string
	for i := range all[:min(len(all), most)] {
		names = append(names, all[i].Name)
	}
	text := fmt.Sprintf("%d pods (%s", len(all), strings.Join(names, ", "))
	if len(all) == 1 {
		text = "pod (" + names[0]
	}
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text + ")"
}

// finishSwap books that the live claim has the new volume, and what it holds.
func (s *scope) finishSwap(out replacementrun.Outcome, snapshot *v1alpha1.CacheSnapshot) {
	intent, status := s.cache.Status.VolumeReplacement, &s.cache.Status
	intent.Failure = "" // it is done, whatever was said on the way
	reason := intent.Reason
	if seeded := status.Content; reason == v1alpha1.ReplacementMigration && status.WarmUp.Run == "" && seeded != nil {
		reason = seeded.Reason // it still holds what it was seeded with
	}
	status.Content = &v1alpha1.ContentStatus{Snapshot: intent.Snapshot, Reason: reason, VolumeName: intent.NextVolume}
	if applied := status.Storage.AppliedSize; applied != nil && intent.Size.Cmp(*applied) < 0 {
		status.Storage.AppliedSize = ptr.To(intent.Size.DeepCopy())
	}
	s.PVC = out.Live
	if intent.Reason == v1alpha1.ReplacementMigration { // what was written to the old volume is on the new one
		if out.Live != nil && status.WarmUp.PersistentVolumeClaimUID != "" {
			status.WarmUp.PersistentVolumeClaimUID = string(out.Live.UID)
		}
	} else {
		status.Counts = v1alpha1.CacheCounts{Modules: intent.Check.Counts.Modules, BuildEntries: intent.Check.Counts.BuildEntries}
		status.ManifestDigest = ""
		if snapshot != nil && snapshot.Status.Source != nil {
			status.Toolchain = snapshot.Status.Source.Toolchain.DeepCopy()
		}
	}
	s.endSwap()
	provision.Record(s.cache, s.Observed)
}

// endSwap clears the intent and answers who asked for it.
func (s *scope) endSwap() {
	intent, status := s.cache.Status.VolumeReplacement, &s.cache.Status
	status.LastVolumeReplacement, status.VolumeReplacement = replacement.Result(intent, s.Now), nil
	switch intent.Reason {
	case v1alpha1.ReplacementRestore:
		status.LastHandledRestore = intent.Restore
	case v1alpha1.ReplacementRequestedRollback:
		s.answerSwap(intent)
	case v1alpha1.ReplacementRollback, v1alpha1.ReplacementMigration:
	}
}

// withdrawn says why nobody wishes for a swap any more that was begun; empty:
// somebody does.
func (s *scope) withdrawn(intent *v1alpha1.VolumeReplacementStatus) string {
	if claim := s.PVC; intent.PreviousVolume != "" && (claim == nil || claim.Spec.VolumeName != intent.PreviousVolume) {
		return "" // there is no way back
	}
	switch spec := s.cache.Spec; intent.Reason {
	case v1alpha1.ReplacementRestore:
		if !equality.Semantic.DeepEqual(spec.Restore, intent.Restore) {
			return "spec.restore was changed"
		}
	case v1alpha1.ReplacementMigration:
		class, size, asked := s.migration()
		if !asked || class != intent.StorageClassName || size.Cmp(*intent.Size) != 0 {
			return "spec.storage was changed"
		}
	case v1alpha1.ReplacementRollback:
		if spec.Integrity == nil || spec.Integrity.OnCorrupt != v1alpha1.CacheRollback {
			return "spec.integrity.onCorrupt is no longer Rollback"
		}
	case v1alpha1.ReplacementRequestedRollback:
	}
	return ""
}
