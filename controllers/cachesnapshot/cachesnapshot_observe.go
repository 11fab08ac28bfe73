package cachesnapshot

import (
	"context"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/verification"
)

// facts are all that was read in one pass. A nil object does not exist, or is
// not ours: a stranger's Job gives no verdict.
type facts struct {
	source *source
	claim  *corev1.PersistentVolumeClaim // the source's
	busy   bool                          // a Job writes to it, or its volume is being replaced

	csi   *snapshotv1.VolumeSnapshot
	clone *corev1.PersistentVolumeClaim
	job   *batchv1.Job
	run   jobrun.Outcome
	pods  bool // pods of the Job's name exist
	// hindered says why the Job's container does not run, if it should by now.
	hindered string
}

// childName is the name of both the clone and the Job of a snapshot.
func childName(s *v1alpha1.CacheSnapshot) string { return naming.Child(s.Name, naming.Verify) }

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots,verbs=get;list;watch

func (r *Reconciler) observe(ctx context.Context, s *scope) (f facts, err error) {
	ns := s.snapshot.Namespace
	if v := s.snapshot.Status.Verification.Verdict; v == "" || v == v1alpha1.VerdictInconclusive {
		if err := r.observeSource(ctx, s, &f); err != nil {
			return f, err
		}
	}
	if f.csi, err = read.Object[snapshotv1.VolumeSnapshot](ctx, r.Client, ns, s.snapshot.Name); err != nil {
		return f, err
	}
	if f.clone, err = read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, ns, childName(s.snapshot)); err != nil {
		return f, err
	}
	if f.job, err = read.Object[batchv1.Job](ctx, r.Client, ns, childName(s.snapshot)); err != nil {
		return f, err
	}
	if f.csi = apply.Ours(s.snapshot, s.csiLabels(), f.csi); older(f.csi, s.snapshot) {
		f.csi = nil
	}
	f.clone = apply.Ours(s.snapshot, s.labels(), f.clone)
	f.job = apply.Ours(s.snapshot, s.labels(), f.job)
	return f, r.observeRun(ctx, s, &f)
}

// older says whether a VolumeSnapshot was there before the CacheSnapshot of its
// name: an old cut of who knows what, never to be passed off as a new one.
func older(csi *snapshotv1.VolumeSnapshot, s *v1alpha1.CacheSnapshot) bool {
	return csi != nil && csi.CreationTimestamp.Before(&s.CreationTimestamp)
}

// observeSource reads what is captured, and whether somebody writes to it. It
// matters until there is a verdict: the integrity Job runs where the source's
// volume is, by the source's template.
func (r *Reconciler) observeSource(ctx context.Context, s *scope, f *facts) (err error) {
	f.source, err = r.source(ctx, s.snapshot.Namespace, s.snapshot.Spec.SourceRef)
	if conditions.Stalled(err) != nil && s.snapshot.Status.Source != nil {
		err = nil // what has become of the source since is no fault of the snapshot
	}
	if err != nil {
		return err
	}
	var claim string
	switch {
	case s.snapshot.Status.Source != nil:
		claim = s.snapshot.Status.Source.ClaimName
	case f.source != nil:
		claim = f.source.captured.ClaimName
	}
	if f.claim, err = read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, s.snapshot.Namespace, claim); err != nil {
		return err
	}
	writer, err := read.Object[batchv1.Job](ctx, r.Client, s.snapshot.Namespace, s.writer())
	if err != nil {
		return err
	}
	run, err := jobrun.Observe(ctx, r.Live, writer)
	if err != nil {
		return err
	}
	f.busy, err = replaced(ctx, r.Client, s.snapshot)
	f.busy = f.busy || run.Phase == jobrun.Running
	return err
}

// quiet says whether nobody writes to the source, past the cache: the writer
// may have begun a moment ago. A pod may also outlive its Job.
func (r *Reconciler) quiet(ctx context.Context, s *scope) (bool, error) {
	ns, name := s.snapshot.Namespace, s.writer()
	if replaced, err := replaced(ctx, r.Live, s.snapshot); err != nil || replaced {
		return false, err
	}
	if name == "" {
		return true, nil
	}
	writer, err := read.Object[batchv1.Job](ctx, r.Live, ns, name)
	if err != nil {
		return false, err
	}
	run, err := jobrun.Observe(ctx, r.Live, writer)
	if err != nil || run.Phase == jobrun.Running {
		return false, err
	}
	pods, err := jobrun.Pods(ctx, r.Live, ns, name)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(pods, func(p corev1.Pod) bool {
		return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
	}), nil
}

// observeRun reads how the integrity Job stands, and whether pods of it are
// left once it is gone: a pod keeps its claim from being deleted.
func (r *Reconciler) observeRun(ctx context.Context, s *scope, f *facts) (err error) {
	if f.run, err = jobrun.Observe(ctx, r.Live, f.job); err != nil {
		return err
	}
	if f.hindered, err = jobrun.Hindrance(ctx, r.Live, f.job, f.run, s.now); err != nil {
		return err
	}
	if f.job == nil && f.clone != nil {
		pods, err := jobrun.Pods(ctx, r.Live, s.snapshot.Namespace, childName(s.snapshot))
		if err != nil {
			return err
		}
		f.pods = len(pods) > 0
	}
	return nil
}

// plan turns what was read into what is decided on.
func (f facts) plan(s *scope) verification.Facts {
	spec, status := s.snapshot.Spec, s.snapshot.Status
	p := verification.Facts{
		Now:         s.now,
		Suspended:   spec.Suspend,
		Mode:        spec.Verification.Mode,
		SourceReady: f.source != nil && volume.Bound(f.claim) && !f.unwarmed(),
		SourceBusy:  f.busy,
		Asked:       f.csi != nil && f.csi.DeletionTimestamp.IsZero(),
		Cut:         volume.Cut(f.csi),
		WasCut:      status.CreationTime != nil,
		Attempts:    status.Verification.Attempts,
		Verdict:     status.Verification.Verdict,
		Booked:      status.Verification.Run,
		Job:         f.job != nil,
		Run:         f.run.Run,
		JobEnded:    f.run.Phase == jobrun.Ended,
		Leftovers:   f.clone != nil || f.pods,
	}
	if spec.Verification.Deadline != nil {
		p.Deadline = spec.Verification.Deadline.Duration
	}
	if status.StartTime != nil {
		p.Started = status.StartTime.Time
	}
	for _, stage := range status.Stages {
		if stage.Name == stageCapture {
			p.Began = stage.StartTime.Time
		}
	}
	if status.Verification.CompletionTime != nil {
		p.BookedAt = status.Verification.CompletionTime.Time
	}
	return p
}

// unwarmed says whether the source's claim took the place of the one that was
// warmed, so that there is nothing to capture yet.
func (f facts) unwarmed() bool {
	warmed := f.source.warmed
	return warmed != "" && warmed != string(f.claim.UID) && (f.source.restored == "" || f.source.restored != f.claim.Spec.VolumeName)
}

// near is where the clone of a claim can be reached: where its volume can. A
// volume that is gone restricts nothing.
func (r *Reconciler) near(ctx context.Context, volumeName string) (*corev1.NodeSelector, error) {
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", volumeName)
	if err != nil || pv == nil || pv.Spec.NodeAffinity == nil {
		return nil, err
	}
	return pv.Spec.NodeAffinity.Required, nil
}

// byLabel wakes the snapshot that an object was made for.
func byLabel(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.SnapshotLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
