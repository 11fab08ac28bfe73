package replacement

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
)

// Run is one replacement for one owner.
type Run struct {
	// Client writes, and Live reads past the caches.
	Client client.Client
	Live   client.Reader
	// FieldOwner names the controller.
	FieldOwner string
	// Owner bears the finalizer and controls what is made in passing.
	Owner client.Object
	// Detached: the live and the previous PVC outlive the owner.
	Detached bool
	// Claim is the name of the live PVC, Labels those of all three, and
	// AccessModes those of the live one.
	Claim       string
	Labels      map[string]string
	AccessModes []corev1.PersistentVolumeAccessMode
	// Intent as it stands in the status.
	Intent *v1alpha1.VolumeReplacementStatus
	// OwnPod reports whether a pod that names the live PVC is the owner's, so
	// that it is waited for and never evicted; nil: none is.
	OwnPod func(*corev1.Pod) bool
	// Content of the new volume. Not looked at once the intent names that.
	Content Content
}

// NextName is the name of the next PVC and of the integrity Job on it.
func (r Run) NextName() string { return naming.Child(r.Claim, naming.Next) }

// SourceName is the name of a PVC that the next one is copied from.
func (r Run) SourceName() string { return naming.Child(r.Claim, naming.ReplacementSource) }

// PreviousName is the name of the previous PVC.
func (r Run) PreviousName() string { return naming.Child(r.Claim, naming.Previous) }

// Observed is what exists of a replacement. What is nil does not.
type Observed struct {
	// Live, Next, Previous and Source are PVCs.
	Live, Next, Previous, Source *corev1.PersistentVolumeClaim
	// Old and New are the volumes that the intent names, and Named is the one
	// that the live PVC names, if that is another.
	Old, New, Named *corev1.PersistentVolume
	// Job is the integrity Job, and Check how it stands.
	Job   *batchv1.Job
	Check jobrun.Outcome
	// Consumers are the pods that name the live PVC, without the owner's own,
	// which are OwnPods.
	Consumers, OwnPods []corev1.Pod

	claims volume.ReplacementPVCs
	pods   bool // of the Job are left
	held   bool
}

// Observe reads what exists. A foreign PVC or Job of a needed name is a
// ConflictError, and nothing is done until it is gone.
func (r Run) Observe(ctx context.Context) (o Observed, err error) {
	ns := r.Owner.GetNamespace()
	for name, into := range map[string]**corev1.PersistentVolumeClaim{
		r.Claim: &o.Live, r.NextName(): &o.Next, r.PreviousName(): &o.Previous, r.SourceName(): &o.Source,
	} {
		if *into, err = r.claim(ctx, ns, name); err != nil {
			return o, err
		}
	}
	o.claims = volume.ReplacementPVCs{
		Owner: r.Owner.GetUID(), Namespace: ns, LiveName: r.Claim, NextName: r.NextName(), PreviousName: r.PreviousName(),
		Live: o.Live, Next: o.Next, Previous: o.Previous,
	}
	if o.Old, err = read.Object[corev1.PersistentVolume](ctx, r.Live, "", r.Intent.PreviousVolume); err != nil {
		return o, err
	}
	if o.New, err = read.Object[corev1.PersistentVolume](ctx, r.Live, "", r.Intent.NextVolume); err != nil {
		return o, err
	}
	if name := volumeNamed(o.Live); name != r.Intent.PreviousVolume && name != r.Intent.NextVolume {
		if o.Named, err = read.Object[corev1.PersistentVolume](ctx, r.Live, "", name); err != nil {
			return o, err
		}
	}
	if err := r.observeCheck(ctx, ns, &o); err != nil {
		return o, err
	}
	o.held = controllerutil.ContainsFinalizer(r.Owner, v1alpha1.VolumeReplacementFinalizer)
	consumers, err := volume.Consumers(ctx, r.Live, ns, r.Claim)
	for _, pod := range consumers {
		if r.OwnPod != nil && r.OwnPod(&pod) {
			o.OwnPods = append(o.OwnPods, pod)
		} else {
			o.Consumers = append(o.Consumers, pod)
		}
	}
	return o, err
}

func volumeNamed(pvc *corev1.PersistentVolumeClaim) string {
	if pvc == nil {
		return ""
	}
	return pvc.Spec.VolumeName
}

func (r Run) claim(ctx context.Context, ns, name string) (*corev1.PersistentVolumeClaim, error) {
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, ns, name)
	if err != nil || pvc == nil {
		return nil, err
	}
	return pvc, apply.Check(r.Owner, r.Labels, pvc, "PersistentVolumeClaim")
}

// CheckNames returns a ConflictError for a PVC or Job of a name that the replacement needs
// and that is not the owner's. It is called before the intent is written: with the intent
// nothing else goes on, and Observe does not get past a foreign object.
func (r Run) CheckNames(ctx context.Context) error {
	ns := r.Owner.GetNamespace()
	for _, name := range []string{r.Claim, r.NextName(), r.SourceName(), r.PreviousName()} {
		if _, err := r.claim(ctx, ns, name); err != nil {
			return err
		}
	}
	_, err := r.integrityJob(ctx, ns)
	return err
}

func (r Run) integrityJob(ctx context.Context, ns string) (*batchv1.Job, error) {
	job, err := read.Object[batchv1.Job](ctx, r.Live, ns, r.NextName())
	if err != nil || job == nil {
		return nil, err
	}
	return job, apply.Check(r.Owner, r.Labels, job, "Job")
}

func (r Run) observeCheck(ctx context.Context, ns string, o *Observed) (err error) {
	if o.Job, err = r.integrityJob(ctx, ns); err != nil {
		return err
	}
	if o.Check, err = jobrun.Observe(ctx, r.Live, o.Job); err != nil {
		return err
	}
	if o.Check, err = r.authenticate(ctx, o); err != nil {
		return err
	}
	o.pods, err = jobrun.AnyPods(ctx, r.Live, ns, nil, r.NextName())
	return err
}

// authenticate makes the outcome of a Job inconclusive that is not the one that
// the operator created, until the outcome is recorded.
func (r Run) authenticate(ctx context.Context, o *Observed) (jobrun.Outcome, error) {
	if r.Intent.NextVolume != "" || o.Check.Run == r.Intent.Check.Run {
		return o.Check, nil
	}
	return jobrun.Authenticate(ctx, r.Live, o.Job, o.Check, r.Intent.JobUID, func() (*batchv1.Job, error) {
		if r.Intent.Snapshot != "" && (r.Content.Snapshot == nil || r.Content.Snapshot.Status.Source == nil) {
			return nil, &conditions.StalledError{Message: "its CacheSnapshot is gone"}
		}
		job, err := r.job(ctx, r.Content)
		return job.Object(), err
	})
}

// Facts is the observation to decide on. The caller adds the time, the state of
// the source, its own use of the PVC, and the user's policy.
func (o Observed) Facts(intent *v1alpha1.VolumeReplacementStatus) replacement.Observation {
	return replacement.Observation{
		Intent: replacement.IntentOf(intent),
		Live:   volume.ReplacementPVC(o.Live), Next: volume.ReplacementPVC(o.Next), Previous: volume.ReplacementPVC(o.Previous),
		Old: o.claims.Volume(o.Old), New: o.claims.Volume(o.New), Named: o.claims.Volume(o.Named),
		Check: replacement.Check{
			Exists: o.Job != nil, Ended: o.Check.Phase == jobrun.Ended, Run: o.Check.Run,
			Leftovers: o.Job == nil && o.pods || o.Source != nil,
		},
		Consumers: len(o.Consumers), Held: o.held,
	}
}

// ConsumerNames are the names of the pods that are waited for, as many as a
// status may hold.
func (o Observed) ConsumerNames() []string {
	var names []string
	for i := range o.Consumers[:min(len(o.Consumers), maxConsumers)] {
		names = append(names, o.Consumers[i].Name)
	}
	return names
}

// maxConsumers is the bound of the schema.
const maxConsumers = 32
