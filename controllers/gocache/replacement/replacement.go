package replacement

import (
	"context"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
)

const (
	// retryEviction is when an eviction that was refused is asked for again.
	retryEviction = 10 * time.Second
	// maxText is the bound of the schema for a message, in bytes.
	maxText = 1024
)

// Reconciler replaces the volume of a GoCache's PVC.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is applied.
	FieldOwner string
	// Image of the operator, for the pod that verifies a new volume.
	Image string
	// CreateSnapshot creates a CacheSnapshot of the cache PVC: that of a migration.
	CreateSnapshot func(ctx context.Context, cache *v1alpha1.GoCache, name string) error
}

// Result is what a pass did about the volume.
type Result struct {
	pass.Result
	// Replaced: the cache PVC was replaced in this pass, and is PVC now. Later
	// parts must see that one, and not the one that was observed.
	Replaced bool
	PVC      *corev1.PersistentVolumeClaim
	// Unfulfilled is a replacement that is asked for and cannot be begun.
	Unfulfilled *Unfulfilled
}

// Unfulfilled is a replacement that is asked for and cannot be begun.
type Unfulfilled struct {
	Reason v1alpha1.VolumeReplacementReason
	// WaitsFor is what it waits for; or else Refused is why it never can be, or Conflict
	// is which object of another owner has a name that it needs.
	WaitsFor string
	Refused  string
	Conflict string
}

// attempt is the work of one pass.
type attempt struct {
	Reconciler
	pass.Observed
	cache *v1alpha1.GoCache
	out   Result
}

// Held reports whether a GoCache bears the finalizer of a replacement: the cache
// PVC may have been touched.
func Held(cache *v1alpha1.GoCache) bool {
	return controllerutil.ContainsFinalizer(cache, v1alpha1.VolumeReplacementFinalizer)
}

// Release takes the finalizer of a replacement from a GoCache.
func (r Reconciler) Release(ctx context.Context, cache *v1alpha1.GoCache) error {
	return replacementrun.Release(ctx, r.Client, cache)
}

// Reconcile replaces the volume when something asks for it, and deletes the one
// that was replaced when its time is over.
func (r Reconciler) Reconcile(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (Result, error) {
	a := attempt{Reconciler: r, Observed: o, cache: cache}
	err := errors.Join(a.replace(ctx), a.deletePrevious(ctx))
	return a.out, err
}

// Resume continues a replacement that has touched the cache PVC, though the
// GoCache is suspended or being deleted: the PVC would be left without a volume.
func (r Reconciler) Resume(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (Result, error) {
	a := attempt{Reconciler: r, Observed: o, cache: cache}
	if o.Stored.Status.VolumeReplacement == nil || !Held(cache) {
		return a.out, nil
	}
	err := a.advance(ctx)
	return a.out, err
}

// replace acts only on an intent that is stored.
func (a *attempt) replace(ctx context.Context) error {
	if a.Stored.Status.VolumeReplacement != nil {
		return a.advance(ctx)
	}
	if Held(a.cache) {
		if err := a.Release(ctx, a.cache); err != nil {
			return err
		}
	}
	return a.begin(ctx)
}

// deletePrevious deletes the PVC that keeps the replaced volume when its time is
// over; a snapshot of it that new PVCs are populated from prolongs that. The reclaim
// policy of the volume decides about the volume.
func (a *attempt) deletePrevious(ctx context.Context) error {
	previous := a.Previous
	if previous == nil || !previous.DeletionTimestamp.IsZero() || a.Replacing(a.cache) {
		return nil
	}
	end := a.PreviousEnd(a.cache)
	if a.Now.Before(end) {
		a.out.WakeAt(a.Now, end)
		return nil
	}
	if err := apply.Delete(ctx, a.Client, previous); err != nil {
		return err
	}
	a.out.Events = append(a.out.Events, event.Normal("PreviousReleased", "Replace", "Deleted PVC %s: the replaced volume was kept for the configured time", previous.Name))
	return nil
}

// begin writes the intent of the first replacement that is due and can be begun,
// in order of precedence.
func (a *attempt) begin(ctx context.Context) error {
	if a.PVC != nil && !a.PVC.DeletionTimestamp.IsZero() {
		return nil // the watch reports when it is gone
	}
	for _, due := range []func(context.Context) (*v1alpha1.VolumeReplacementStatus, error){
		a.dueRestore, a.dueRequestedRollback, a.dueRollback, a.dueMigration,
	} {
		intent, err := due(ctx)
		if err != nil {
			return err
		}
		if intent == nil {
			continue
		}
		why, err := a.conflict(ctx)
		if err != nil {
			return err
		}
		if why != "" {
			a.refuse(intent.Reason, why)
			continue
		}
		intent.StartTime = metav1.NewTime(a.Now)
		intent.PreviousVolume = volume.BoundTo(a.PVC)
		a.cache.Status.VolumeReplacement = intent
		return nil
	}
	return nil
}

// conflict is which object of another owner has a name that a replacement needs, and what
// to do; empty: none.
func (a *attempt) conflict(ctx context.Context) (string, error) {
	err := a.run(nil).CheckNames(ctx)
	var conflict *apply.ConflictError
	if errors.As(err, &conflict) {
		return conflict.Error(), nil
	}
	return "", err
}

// refuse reports that a replacement cannot be begun before a person has acted. A request
// is answered, so that the next one has its turn.
func (a *attempt) refuse(reason v1alpha1.VolumeReplacementReason, why string) {
	if reason == v1alpha1.ReplacementRequestedRollback {
		pass.Answer(a.cache, a.Now, v1alpha1.RequestRefused, why)
		return
	}
	a.out.Unfulfilled = &Unfulfilled{Reason: reason, Conflict: why}
	a.out.WakeIn(pass.Interval)
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups="",resources=pods/eviction,verbs=create
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots,verbs=get;list;watch

// advance takes as many steps as it can.
func (a *attempt) advance(ctx context.Context) error {
	intent := a.cache.Status.VolumeReplacement
	if intent.Failure == "" {
		why, err := a.withdrawn(ctx, intent)
		if err != nil || why != "" {
			intent.Failure = why
			return err // the write of it causes the next pass
		}
	}
	snapshot, err := read.Object[v1alpha1.CacheSnapshot](ctx, a.Live, a.cache.Namespace, intent.Snapshot)
	if err != nil {
		return err
	}
	run := a.run(snapshot)
	out, err := run.Advance(ctx, func(ctx context.Context, o replacementrun.Observed, f *replacement.Observation) error {
		return a.complete(ctx, snapshot, o, f)
	})
	if err != nil {
		return err
	}
	a.record(out, snapshot)
	if err := a.copyInstead(ctx, out, snapshot); err != nil || a.cache.Status.VolumeReplacement == nil || a.cache.Status.VolumeReplacement.Check.Run == out.Check.Run {
		return err
	}
	return a.recordHindrance(ctx, out)
}

// run is the replacement as internal/kube/replacement carries it out.
func (a *attempt) run(snapshot *v1alpha1.CacheSnapshot) replacementrun.Run {
	content := replacementrun.Content{Snapshot: snapshot, Image: a.Image, Template: a.cache.Spec.PodTemplate}
	verification := pass.SnapshotPolicy(a.cache).Verification
	content.Resources = verification.Resources
	if verification.Deadline != nil {
		content.Deadline = &verification.Deadline.Duration
	}
	return replacementrun.Run{
		Client: a.Client, Live: a.Live, FieldOwner: a.FieldOwner,
		Owner: a.cache, Detached: a.cache.Spec.Storage.DeletionPolicy != v1alpha1.DeletionDelete,
		Claim: a.cache.Name, Labels: pass.Labels(a.cache), AccessModes: a.cache.Spec.Storage.AccessModes,
		Intent: a.cache.Status.VolumeReplacement, Content: content,
		OwnPod: func(p *corev1.Pod) bool {
			return p.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue && p.Labels[v1alpha1.CacheLabel] == a.cache.Name
		},
	}
}

// complete adds what only this controller can observe.
func (a *attempt) complete(ctx context.Context, snapshot *v1alpha1.CacheSnapshot, o replacementrun.Observed, f *replacement.Observation) (err error) {
	replacement := a.cache.Spec.Storage.VolumeReplacement
	f.Now = a.Now
	f.Evict = replacement.Consumers == v1alpha1.ConsumersEvict
	f.Keep = pass.KeepPrevious(replacement) > 0
	f.Deleting = !a.cache.DeletionTimestamp.IsZero()
	f.Discard = f.Deleting && a.cache.Spec.Storage.DeletionPolicy == v1alpha1.DeletionDelete
	if f.Intent.New == "" {
		if f.Source, err = a.source(ctx, snapshot, o); err != nil {
			return err
		}
	}
	f.Busy, err = a.busy(ctx, o)
	return err
}

// busy names what of the operator itself uses the cache PVC, read past the
// client's cache.
func (a *attempt) busy(ctx context.Context, o replacementrun.Observed) (string, error) {
	writer, err := read.Object[batchv1.Job](ctx, a.Live, a.cache.Namespace, naming.Child(a.cache.Name, naming.Writer))
	switch {
	case err != nil:
		return "", err
	case apply.Ours(a.cache, pass.Labels(a.cache), writer) != nil:
		return "Job " + writer.Name + ", which uses the cache PVC, to end", nil
	case len(o.OwnPods) > 0:
		return "pod " + o.OwnPods[0].Name + " to be gone", nil
	}
	pending, err := volume.PendingSnapshot(ctx, a.Live, a.cache.Namespace, a.cache.Name)
	if err != nil || pending == "" {
		return "", err
	}
	return "VolumeSnapshot " + pending + " to be created", nil
}

// recordHindrance records why the pod that verifies the new volume does not run,
// if it should by now. No watch reports that.
func (a *attempt) recordHindrance(ctx context.Context, out replacementrun.Outcome) error {
	recheck := out.Check.Recheck()
	if out.Decision.Step != replacement.WaitForCheck || recheck == 0 {
		return nil
	}
	a.out.WakeIn(recheck)
	why, err := jobrun.Hindrance(ctx, a.Live, out.Job, out.Check, a.Now)
	if intent := a.cache.Status.VolumeReplacement; err == nil && why != "" {
		intent.Message = bounded.Text(intent.Message+", but its pod cannot run yet: "+why, maxText)
	}
	return err
}
