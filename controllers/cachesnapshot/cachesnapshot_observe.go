package cachesnapshot

import (
	"context"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
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

// facts are what one pass has read. An object is nil if it does not exist or was
// not created by this controller for this snapshot: a foreign Job gives no verdict.
type facts struct {
	source *source
	pvc    *corev1.PersistentVolumeClaim // the source's
	busy   bool                          // a Job writes to it, or its volume is being replaced

	csi         *snapshotv1.VolumeSnapshot // of the source
	repairedCSI *snapshotv1.VolumeSnapshot // of the repaired clone
	clone       *corev1.PersistentVolumeClaim
	spent       *corev1.PersistentVolumeClaim // the repaired clone, of which a snapshot was created

	reference *corev1.PersistentVolumeClaim // the clone of the first verified snapshot
	obstacle  obstacle

	check, repair, offlineBuild, repeat work
	selected                            bool // by the policy of repetitions
	pods                                bool // pods of deleted Jobs still exist
	superseded                          bool // it waits, and there is a newer one of the source
	// hindered is why the container of the Job does not run; empty if it does, or
	// may still start.
	hindered string
}

// work is a Job on the clone, and its outcome so far.
type work struct {
	name string
	job  *batchv1.Job
	run  jobrun.Outcome
	// recorded is the run whose outcome was recorded last.
	recorded string
	// expected makes the Job; false: it is not decided yet.
	expected func(context.Context, *scope) (jobrun.Spec, bool, error)
}

// checkName is the name of the integrity Job on the clone.
func (s *scope) checkName() string { return naming.Child(s.snapshot.Name, s.checkSuffix()) }

// cloneName is the name of the clone that is verified. It is of the source, or of the
// repaired clone after a repair.
func (s *scope) cloneName() string { return naming.Clone(string(s.snapshot.UID), s.checkSuffix()) }

// sourceCloneName is the name of the clone of the source, which a repair changes.
func (s *scope) sourceCloneName() string {
	return naming.Clone(string(s.snapshot.UID), naming.Verify)
}

func (s *scope) checkSuffix() string {
	if s.repaired() {
		return naming.Reverify
	}
	return naming.Verify
}

// repaired reports whether the CSI snapshot of the repaired clone is the one that
// is verified and offered.
func (s *scope) repaired() bool { return verification.Repaired(s.snapshot) }

func (s *scope) repairedName() string { return naming.Child(s.snapshot.Name, naming.Repaired) }

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots,verbs=get;list;watch

func (r *Reconciler) observe(ctx context.Context, s *scope) (f facts, err error) {
	f.check = work{name: s.checkName(), recorded: s.snapshot.Status.Verification.Run, expected: r.checkJob}
	if !f.plan(s).Settled() {
		if err := r.observeSource(ctx, s, &f); err != nil {
			return f, err
		}
	}
	if f.csi, err = r.csi(ctx, s, s.snapshot.Name); err != nil {
		return f, err
	}
	if done := s.snapshot.Status.Repair; done != nil {
		f.repair = work{name: naming.Child(s.snapshot.Name, naming.Repair), recorded: done.Run, expected: r.repairJob}
		if f.repairedCSI, err = r.csi(ctx, s, s.repairedName()); err != nil {
			return f, err
		}
	}
	if s.snapshot.Spec.Verification.OfflineBuild != nil {
		f.offlineBuild = work{name: naming.Child(s.snapshot.Name, naming.OfflineBuild), expected: r.offlineBuildJob}
		f.offlineBuild.recorded = ptr.Deref(s.snapshot.Status.OfflineBuild, v1alpha1.OfflineBuildStatus{}).Run
	}
	if err := r.observeRepeat(ctx, s, &f); err != nil {
		return f, err
	}
	if err := r.observeWork(ctx, s, &f); err != nil {
		return f, err
	}
	if err := r.observeClones(ctx, s, &f); err != nil {
		return f, err
	}
	if f.superseded, err = r.superseded(ctx, s); err != nil {
		return f, err
	}
	return f, r.observeCloning(ctx, s, &f)
}

// +kubebuilder:rbac:groups="",resources=events,verbs=list

// csi reads a VolumeSnapshot that was created for this CacheSnapshot; nil if there
// is none, or another object has taken its name.
func (r *Reconciler) csi(ctx context.Context, s *scope, name string) (*snapshotv1.VolumeSnapshot, error) {
	csi, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Client, s.snapshot.Namespace, name)
	if err != nil {
		return nil, err
	}
	if csi = apply.Ours(s.snapshot, s.csiLabels(), csi); older(csi, s.snapshot) || replacedSnapshot(csi, s.snapshot.Status) {
		return nil, nil
	}
	return csi, nil
}

// replacedSnapshot reports whether a VolumeSnapshot has the name, but not the uid
// or the content, of the one that the status pins. The pinned one then counts as
// lost, whatever the other one holds.
func replacedSnapshot(csi *snapshotv1.VolumeSnapshot, status v1alpha1.CacheSnapshotStatus) bool {
	if csi == nil || status.VolumeSnapshotUID == "" || csi.Name != status.VolumeSnapshotName {
		return false
	}
	other := string(csi.UID) != status.VolumeSnapshotUID
	if bound := csi.Status; bound != nil && bound.BoundVolumeSnapshotContentName != nil {
		other = other || *bound.BoundVolumeSnapshotContentName != status.VolumeSnapshotContentName
	}
	return other
}

// older reports whether a VolumeSnapshot was created before the CacheSnapshot of
// its name. It holds an earlier state, and is never used for this CacheSnapshot.
func older(csi *snapshotv1.VolumeSnapshot, s *v1alpha1.CacheSnapshot) bool {
	return csi != nil && csi.CreationTimestamp.Before(&s.CreationTimestamp)
}

// observeSource reads the source, its PVC, and whether a Job writes to it. It is
// called until there is a verdict, since the integrity Job runs where the volume of
// the source is, from the pod template of the source.
func (r *Reconciler) observeSource(ctx context.Context, s *scope, f *facts) (err error) {
	f.source, err = r.source(ctx, s.snapshot.Namespace, s.snapshot.Spec.SourceRef)
	if conditions.Stalled(err) != nil && s.snapshot.Status.Source != nil {
		err = nil // a later change of the source does not stall the snapshot
	}
	if err != nil {
		return err
	}
	var name string
	switch {
	case s.snapshot.Status.Source != nil:
		name = s.snapshot.Status.Source.PersistentVolumeClaimName
	case f.source != nil:
		name = f.source.record.PersistentVolumeClaimName
	}
	if f.pvc, err = read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, s.snapshot.Namespace, name); err != nil {
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

// sourceIdle reports whether no Job writes to the source and its volume is not
// being replaced. It reads from the API server, since a writer that has just
// started is not in the cache, and it reads pods, since a pod may outlive its Job.
func (r *Reconciler) sourceIdle(ctx context.Context, s *scope) (bool, error) {
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
	if unrecorded, err := r.unrecorded(ctx, s, writer, run); err != nil || unrecorded {
		return false, err
	}
	for pod, err := range jobrun.Pods(ctx, r.Live, ns, name) {
		if err != nil || pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			return false, err
		}
	}
	return true, nil
}

// maxMountedBy is how many of the pods that have the PVC mounted are recorded.
const maxMountedBy = 8

// mountedBy returns the names of at most maxMountedBy pods that may have the
// source's PVC mounted. The snapshot does not wait for them; their names help a user
// to find the cause when the snapshot is Corrupt.
func (r *Reconciler) mountedBy(ctx context.Context, s *scope) ([]string, error) {
	var names []string
	for pod, err := range read.All[corev1.Pod](ctx, r.Live, &corev1.PodList{}, client.InNamespace(s.snapshot.Namespace)) {
		if err != nil {
			return nil, fmt.Errorf("list the pods that have PVC %s mounted: %w", s.snapshot.Status.Source.PersistentVolumeClaimName, err)
		}
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		uses := slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == s.snapshot.Status.Source.PersistentVolumeClaimName
		})
		if uses && !ended {
			names = append(names, pod.Name)
		}
		if len(names) == maxMountedBy {
			break
		}
	}
	return names, nil
}

// observeWork reads the Jobs and their outcomes. There is at most one Job, except
// while a finished one is being deleted.
func (r *Reconciler) observeWork(ctx context.Context, s *scope, f *facts) error {
	for _, w := range f.works() {
		job, err := read.Object[batchv1.Job](ctx, r.Client, s.snapshot.Namespace, w.name)
		if err != nil {
			return err
		}
		w.job = apply.Ours(s.snapshot, s.labels(), job)
		if w.run, err = jobrun.Observe(ctx, r.Live, w.job); err != nil {
			return err
		}
		hindered, err := jobrun.Hindrance(ctx, r.Live, w.job, w.run, s.now)
		if err != nil {
			return err
		}
		if hindered != "" {
			f.hindered = hindered
		}
	}
	return nil
}

// works returns the Jobs that this snapshot may have.
func (f *facts) works() []*work {
	return slices.DeleteFunc([]*work{&f.check, &f.repair, &f.offlineBuild, &f.repeat}, func(w *work) bool { return w.name == "" })
}

// running returns the Job that runs, or the zero work.
func (f *facts) running() work {
	for _, w := range f.works() {
		if w.run.Phase == jobrun.Running {
			return *w
		}
	}
	return work{}
}

// observeClones reads the clones, and whether pods still use them after their Jobs
// were deleted: a pod keeps its PVC from being deleted.
func (r *Reconciler) observeClones(ctx context.Context, s *scope, f *facts) (err error) {
	if f.clone, err = r.ownPVC(ctx, r.Client, s, s.cloneName()); err != nil {
		return err
	}
	jobs := slices.ContainsFunc(f.works(), func(w *work) bool { return w.job != nil })
	if f.clone == nil && jobs { // deleted, or not in the cache yet
		if f.clone, err = r.ownPVC(ctx, r.Live, s, s.cloneName()); err != nil {
			return err
		}
	}
	if s.repaired() {
		if f.spent, err = r.ownPVC(ctx, r.Client, s, s.sourceCloneName()); err != nil {
			return err
		}
	}
	if t := s.snapshot.Spec.Verification.Trust; t != nil && t.FirstSeen {
		if f.reference, err = r.ownPVC(ctx, r.Client, s, s.referenceName()); err != nil {
			return err
		}
	}
	if jobs || f.clone == nil && f.spent == nil && f.reference == nil {
		return nil
	}
	var names []string
	if s.repaired() {
		names = append(names, naming.Child(s.snapshot.Name, naming.Verify))
	}
	for _, w := range f.works() {
		names = append(names, w.name)
	}
	f.pods, err = jobrun.AnyPods(ctx, r.Live, s.snapshot.Namespace, s.labels(), names...)
	return err
}

// ownPVC reads a PVC that was created for this snapshot; nil if there is none.
func (r *Reconciler) ownPVC(ctx context.Context, from client.Reader, s *scope, name string) (*corev1.PersistentVolumeClaim, error) {
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, from, s.snapshot.Namespace, name)
	if err != nil {
		return nil, err
	}
	return apply.Ours(s.snapshot, s.labels(), pvc), nil
}

// plan returns the Observation that verification.Decide decides on.
func (f facts) plan(s *scope) verification.Observation {
	p := verification.Recorded(s.snapshot)
	offered := f.csi
	if p.Repaired {
		offered = f.repairedCSI
	}
	p.Now = s.now
	p.SourceReady = f.source != nil && volume.Bound(f.pvc) && !f.unwarmed()
	p.SourceBusy = f.busy
	p.Superseded = f.superseded
	p.Asked = offered != nil && offered.DeletionTimestamp.IsZero()
	p.SnapshotReady = volume.ReadyToUse(offered)
	f.check.observed(&p.Check)
	f.repair.observed(&p.Repair.Try)
	f.offlineBuild.observed(&p.OfflineBuild.Try)
	p.Repeat = verification.Repeated(s.snapshot, f.repeatPolicy(s))
	p.Repeat.Selected = f.selected
	f.repeat.observed(&p.Repeat.Try)
	p.RepairedAsked, p.Original = f.repairedCSI != nil, f.csi != nil
	p.Clone, p.Spent, p.Reference, p.Pods = f.clone != nil, f.spent != nil, f.reference != nil, f.pods
	p.Fresh = recorded(f.clone, s.snapshot.Status.VerificationCloneUID) && recorded(f.reference, s.snapshot.Status.ReferenceCloneUID)
	return p
}

// observed adds the state of the Job to the recorded outcome of its attempts.
func (w work) observed(t *verification.Try) {
	t.Job, t.Run, t.Ended = w.job != nil, w.run.Run, w.run.Phase == jobrun.Ended
}

// unwarmed reports whether the source's PVC is a new one that was neither warmed
// nor restored, so that it has no content to create a snapshot of.
func (f facts) unwarmed() bool {
	warmed := f.source.warmed
	return warmed != "" && warmed != string(f.pvc.UID) && (f.source.restored == "" || f.source.restored != f.pvc.Spec.VolumeName)
}

// near returns the nodes that can reach the source's volume, on which the Jobs run,
// since a clone is reachable where its source is; nil if there is no restriction or
// the volume does not exist any more.
func (r *Reconciler) near(ctx context.Context, volumeName string) (*corev1.NodeSelector, error) {
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", volumeName)
	if err != nil || pv == nil || pv.Spec.NodeAffinity == nil {
		return nil, err
	}
	return pv.Spec.NodeAffinity.Required, nil
}

// everywhere lists the CacheSnapshots of all namespaces, or those that match the
// options. They are not copied from the cache: do not change them.
func (r *Reconciler) everywhere(ctx context.Context, of ...client.ListOption) ([]v1alpha1.CacheSnapshot, error) {
	var list v1alpha1.CacheSnapshotList
	if err := r.Client.List(ctx, &list, append(of, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("list CacheSnapshots: %w", err)
	}
	return list.Items, nil
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotclasses,verbs=get;list;watch

// classes lists the VolumeSnapshotClasses of the cluster.
func (r *Reconciler) classes(ctx context.Context) ([]snapshotv1.VolumeSnapshotClass, error) {
	var list snapshotv1.VolumeSnapshotClassList
	if err := r.Live.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotClasses: %w", err)
	}
	return list.Items, nil
}

// withoutCSISnapshot maps a VolumeSnapshotClass to the snapshots that may wait for it.
func (r *Reconciler) withoutCSISnapshot(ctx context.Context, _ client.Object) []reconcile.Request {
	all, err := r.everywhere(ctx)
	if err != nil {
		return nil // they are reconciled again after their wake-up time
	}
	var requests []reconcile.Request
	for i := range all {
		if c := &all[i]; c.Status.Source != nil && c.Status.CreationTime == nil {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(c)})
		}
	}
	return requests
}

// byLabel maps an object to the CacheSnapshot that it was created for.
func byLabel(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.SnapshotLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}
