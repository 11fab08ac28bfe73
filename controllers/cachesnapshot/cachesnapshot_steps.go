package cachesnapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/plan/verification"
)

const (
	// cacheDir is where a Job mounts the clone, and cloneVolume the name of its volume.
	cacheDir    = "/cache"
	cloneVolume = "clone"
	// noDeadline is the deadline of a Job whose snapshot has none.
	noDeadline = 24 * time.Hour
	// retryStart is when a Job is created again if one of its name is being deleted.
	retryStart = time.Second
)

// act carries out the stage of the decision.
func (r *Reconciler) act(ctx context.Context, s *scope) error {
	if err := r.pin(ctx, s); err != nil {
		return err
	}
	if changed, err := r.pinRepaired(ctx, s); err != nil || changed { // the decision is about another VolumeSnapshot
		return err
	}
	if waits, err := r.queued(ctx, s); err != nil || waits {
		return err
	}
	switch s.decision.Stage {
	case verification.Admit:
		s.admit()
	case verification.CreateSnapshot:
		return r.createSnapshot(ctx, s)
	case verification.Check:
		return r.check(ctx, s)
	case verification.RecordVerdict:
		return r.recordVerdict(ctx, s)
	case verification.Repair:
		return r.repair(ctx, s)
	case verification.RecordRepair:
		return r.recordRepair(ctx, s)
	case verification.RestartRepair:
		return r.restartRepair(ctx, s)
	case verification.SnapshotRepaired:
		return r.snapshotRepairedClone(ctx, s)
	case verification.DeleteRepairedClone:
		return apply.Delete(ctx, r.Client, s.facts.spent)
	case verification.OfflineBuild:
		return r.offlineBuild(ctx, s)
	case verification.RecordOfflineBuild:
		return r.recordOfflineBuild(ctx, s)
	case verification.BeginRepeat:
		s.beginRepeat()
	case verification.Repeat:
		return r.repeat(ctx, s)
	case verification.WaitForRepeat:
		s.explainRepeat(s.facts.hindered)
	case verification.RecordRepeat:
		return r.recordRepeat(ctx, s)
	case verification.EndRepeat:
		return r.endRepeat(ctx, s, "")
	case verification.ClearJobs:
		return r.clearJobs(ctx, s)
	case verification.CleanUp:
		return r.cleanUp(ctx, s)
	case verification.DeleteOriginalSnapshot:
		return apply.Delete(ctx, r.Client, s.facts.csi)
	case verification.WaitForSnapshot, verification.WaitForRepairedSnapshot, verification.Done,
		verification.Suspended, verification.WaitForSource, verification.WaitForWriter, verification.WaitForJob, verification.WaitForRepair,
		verification.WaitForOfflineBuild, verification.WaitForRetry, verification.SnapshotLost, verification.Expired:
	}
	return nil
}

// admit records the source, and what its policy requires, before any object is
// created: the source may be changed or deleted later. The write of the status
// starts the next pass.
func (s *scope) admit() {
	pvc := s.facts.pvc
	record := s.facts.source.record
	capacity := pvc.Status.Capacity[corev1.ResourceStorage]
	record.VolumeName = volume.BoundTo(pvc)
	record.StorageClassName = ptr.Deref(pvc.Spec.StorageClassName, "")
	record.Capacity = &capacity
	record.SealedDigest = s.facts.source.sealed(pvc)
	s.snapshot.Status.StartTime = ptr.To(metav1.NewTime(s.now))
	s.snapshot.Status.Source = &record
	policy := ptr.Deref(s.facts.source.policy, v1alpha1.SnapshotPolicy{})
	s.snapshot.Status.WeakerThanPolicy = bounded.Text(snapshot.Gap(policy.Verification, s.snapshot.Spec.Verification), maxWeaker)
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots,verbs=create;patch;delete

// createSnapshot creates the CSI snapshot while no Job writes to the source. An
// existing VolumeSnapshot of the name is read from the API server first: one that
// is older than this CacheSnapshot holds another state and must not be adopted.
func (r *Reconciler) createSnapshot(ctx context.Context, s *scope) error {
	there, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Live, s.snapshot.Namespace, s.snapshot.Name)
	if err != nil {
		return err
	}
	if older(there, s.snapshot) {
		return &apply.ConflictError{Kind: "VolumeSnapshot", Namespace: there.Namespace, Name: there.Name, Reason: "older than this CacheSnapshot"}
	}
	idle, err := r.sourceIdle(ctx, s)
	if err != nil {
		return err
	}
	if !idle {
		s.facts.busy = true
		s.decision = verification.Decide(s.facts.plan(s))
		return nil
	}
	if recorded, err := r.recordSeal(ctx, s); err != nil || recorded {
		return err
	}
	if err := r.chooseClass(ctx, s); err != nil {
		r.lines.creations.Release(string(s.snapshot.UID))
		return err
	}
	if s.snapshot.Status.Source.MountedBy, err = r.mountedBy(ctx, s); err != nil {
		return err
	}
	s.begin(stageSnapshot)
	_, err = r.applier().Apply(ctx, s.csiOwner(), s.csiSnapshot().Object())
	return err
}

// adopt applies the deletion policy to the owner references of the CSI snapshots. It is
// called in each pass, since the snapshot may be deleted in any stage.
func (r *Reconciler) adopt(ctx context.Context, s *scope) error {
	var errs []error
	for _, csi := range []*snapshotv1.VolumeSnapshot{s.facts.csi, s.facts.repairedCSI} {
		if csi != nil {
			_, err := apply.Own(ctx, r.Client, s.csiOwner(), csi)
			if apierrors.IsConflict(err) { // the snapshot controller writes to it, too: its event causes the next pass
				err = nil
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *scope) csiOwner() apply.Owner {
	if s.snapshot.Spec.DeletionPolicy == v1alpha1.DeletionRetain {
		return apply.DetachedFrom(s.snapshot)
	}
	return apply.ControlledBy(s.snapshot)
}

func (s *scope) csiSnapshot() volume.Snapshot {
	return volume.Snapshot{
		Namespace: s.snapshot.Namespace, Name: s.snapshot.Name, Labels: s.csiLabels(),
		Class: s.snapshotClass(), Claim: s.snapshot.Status.Source.PersistentVolumeClaimName,
	}
}

// snapshotClass is the class of the CSI snapshots: the one of the spec, the one of
// the existing CSI snapshot, or the one that chooseClass has chosen.
func (s *scope) snapshotClass() *string {
	switch {
	case s.snapshot.Spec.VolumeSnapshotClassName != nil:
		return s.snapshot.Spec.VolumeSnapshotClassName
	case s.facts.csi != nil:
		return s.facts.csi.Spec.VolumeSnapshotClassName
	default:
		return s.class
	}
}

func (s *scope) labels() map[string]string {
	labels := map[string]string{v1alpha1.SnapshotLabel: s.snapshot.Name}
	// With the labels of an instance the pod would be a backend of its Service.
	if ref := s.snapshot.Spec.SourceRef; ref.Kind == v1alpha1.GoCacheKind {
		labels[v1alpha1.CacheLabel] = ref.Name
	}
	return labels
}

// csiLabels add the uid of the CacheSnapshot: a CSI snapshot may outlive it, and
// must not be used by another CacheSnapshot of the name.
func (s *scope) csiLabels() map[string]string {
	labels := s.labels()
	if ref := s.snapshot.Spec.SourceRef; ref.Kind == v1alpha1.ModProxyKind {
		labels[v1alpha1.ProxyLabel], labels[v1alpha1.InstanceLabel] = ref.Name, ref.Instance
	}
	labels[v1alpha1.SnapshotUIDLabel] = string(s.snapshot.UID)
	return labels
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotcontents,verbs=get

// pin records the VolumeSnapshot and its content once, before a clone is created
// from it. From then on only this object and this content are verified, offered
// and restored, and no other object of the name.
func (r *Reconciler) pin(ctx context.Context, s *scope) error {
	csi, status := s.facts.csi, &s.snapshot.Status
	if csi != nil && status.CreationTime == nil {
		s.begin(stageSnapshot) // a crash after its creation may have lost this
	}
	if !volume.ReadyToUse(csi) || status.VolumeSnapshotUID != "" {
		return nil
	}
	content, err := r.content(ctx, csi)
	if err != nil {
		return err
	}
	volume.Pin(status, csi, content)
	if status.CreationTime == nil {
		status.CreationTime = csi.Status.CreationTime
		if status.CreationTime == nil { // optional for a driver
			status.CreationTime = ptr.To(metav1.NewTime(s.now))
		}
		s.end(stageSnapshot)
	}
	return nil
}

// content reads the content of a VolumeSnapshot; nil: there is none. It is an error if the
// VolumeSnapshot names that of another one.
func (r *Reconciler) content(ctx context.Context, csi *snapshotv1.VolumeSnapshot) (*snapshotv1.VolumeSnapshotContent, error) {
	content, err := volume.Content(ctx, r.Live, csi)
	if err == nil && content != nil && !volume.Names(content, csi) {
		return nil, &conditions.StalledError{Reason: v1alpha1.ReasonConflict, Message: fmt.Sprintf(
			"VolumeSnapshot %s names VolumeSnapshotContent %s, which does not name it: another client has changed its status. Delete the VolumeSnapshot, and another one is created", csi.Name, content.Name)}
	}
	return content, err
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=create;patch;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=create;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get

// check creates the clones and the integrity Job on them. It does not wait for the
// clones to be bound, since with WaitForFirstConsumer the Job's pod causes that.
func (r *Reconciler) check(ctx context.Context, s *scope) error {
	job, reference, known, err := r.comparingJob(ctx, s)
	if err != nil || !known {
		return err
	}
	s.begin(s.stageVerify())
	if reference == nil {
		s.snapshot.Status.ReferenceCloneUID = ""
		return r.start(ctx, s, job)
	}
	if created, err := r.createClone(ctx, s, *reference, &s.snapshot.Status.ReferenceCloneUID); err != nil || !created {
		return s.refusedByQuota(err)
	}
	return r.start(ctx, s, job)
}

// checkJob returns the integrity Job; false while it is not decided which
// snapshot it compares with.
func (r *Reconciler) checkJob(ctx context.Context, s *scope) (jobrun.Spec, bool, error) {
	job, _, known, err := r.comparingJob(ctx, s)
	return job, known, err
}

// comparingJob returns the integrity Job and the clone that it compares with; nil: none.
func (r *Reconciler) comparingJob(ctx context.Context, s *scope) (job jobrun.Spec, reference *volume.Claim, known bool, err error) {
	job, verify, err := r.integrityJob(ctx, s, s.facts.check.name)
	if err != nil {
		return job, nil, false, err
	}
	reference, known, err = r.compare(ctx, s, &job, &verify)
	job.Command = agentcommand.InImage(verify)
	return job, reference, known, err
}

// integrityJob returns a Job that checks the clone against its own records and
// declared trust data, and its command.
func (r *Reconciler) integrityJob(ctx context.Context, s *scope, name string) (jobrun.Spec, agentcommand.Verify, error) {
	source := s.snapshot.Status.Source
	verify := agentcommand.Verify{Content: check.Content(source, cacheDir)}
	job, err := r.job(ctx, s, name, "verification")
	if err != nil {
		return job, verify, err
	}
	trust, err := r.trust(ctx, s)
	if err != nil {
		return job, verify, err
	}
	verify.Trust = trust.Trust
	// Or what a killed writer and others left would be offered.
	verify.NeverSealed = s.snapshot.Spec.SourceRef.Kind == v1alpha1.GoCacheKind && source.SealedDigest == ""
	job.Image = r.Images.Operator
	job.Command = agentcommand.InImage(verify)
	job.Resources = s.snapshot.Spec.Verification.Resources
	// Read-only, so that the check cannot change what it verifies.
	job.Mounts = append([]corev1.VolumeMount{{Name: cloneVolume, MountPath: cacheDir, ReadOnly: true}}, trust.Mounts...)
	job.Volumes = append(job.Volumes, trust.Volumes...)
	return job, verify, nil
}

// authenticate makes the outcome of each Job inconclusive that is not the one
// that the operator created.
func (r *Reconciler) authenticate(ctx context.Context, s *scope) error {
	for _, w := range s.facts.works() {
		if w.run.Run == w.recorded { // it counted, or did not, already
			continue
		}
		run, err := jobrun.Authenticate(ctx, r.Live, w.job, w.run, s.snapshot.Status.VerificationJobUID, func() (*batchv1.Job, error) {
			if s.snapshot.Status.Source == nil {
				return nil, &conditions.StalledError{Message: "the source is not recorded"}
			}
			job, known, err := w.expected(ctx, s)
			if err != nil || !known {
				return nil, err
			}
			return job.Object(), nil
		})
		if err != nil {
			return err
		}
		w.run = run
	}
	return nil
}

// deleteOutdated deletes a Job whose container has not run and that would be created
// otherwise now. The next pass starts another one.
func (r *Reconciler) deleteOutdated(ctx context.Context, s *scope) error {
	w := s.facts.running()
	if w.job == nil || w.run.Ready || s.snapshot.Status.Source == nil || s.decision.Stage == verification.Suspended {
		return nil
	}
	job, known, err := w.expected(ctx, s)
	if conditions.Stalled(err) != nil || err == nil && !known {
		return nil //nolint:nilerr // the step that would start the Job reports it
	}
	if err != nil {
		return err
	}
	outdated, err := jobrun.Outdated(ctx, r.Live, w.job, w.run, job.Object())
	if err != nil || !outdated {
		return err
	}
	return apply.Delete(ctx, r.Client, w.job)
}

// trust returns the trust data that a Job compares checksums with. It is an error
// if declared trust data does not exist.
func (r *Reconciler) trust(ctx context.Context, s *scope) (check.Trusted, error) {
	declared := s.snapshot.Spec.Verification.Trust
	trusted, err := check.Trust(ctx, r.Live, s.snapshot.Namespace, "spec.verification.trust", declared)
	if err != nil || s.snapshot.Spec.SourceRef.Kind != v1alpha1.GoCacheKind {
		return trusted, err
	}
	trusted.FullCoverage = check.FullCoverage(declared)
	if s.facts.source != nil {
		trusted.TrustSources(s.facts.source.sums)
	}
	return trusted, nil
}

// start creates the clone and, in a later pass, a Job on it.
func (r *Reconciler) start(ctx context.Context, s *scope, job jobrun.Spec) error {
	if created, err := r.createClone(ctx, s, s.clone(), &s.snapshot.Status.VerificationCloneUID); err != nil || !created {
		return s.refusedByQuota(err)
	}
	made, err := jobrun.Start(ctx, r.applier(), s.snapshot, job.Object())
	if err != nil {
		return s.refusedByQuota(err)
	}
	if made.UID != "" {
		s.snapshot.Status.VerificationJobUID = made.UID
		return nil
	}
	s.untrusted = made.Untrusted
	s.decision.Wake = retryStart
	return nil
}

// job returns what all Jobs on a clone have in common.
func (r *Reconciler) job(ctx context.Context, s *scope, name, action string) (jobrun.Spec, error) {
	source := s.snapshot.Status.Source
	near, err := r.near(ctx, source.VolumeName)
	if err != nil {
		return jobrun.Spec{}, err
	}
	labels := s.labels()
	labels[v1alpha1.ActionLabel] = action
	deadline := s.decision.Remaining
	if deadline <= 0 {
		deadline = noDeadline
	}
	template := s.snapshot.Spec.PodTemplate
	// The policy has copied the template of the source, which may have been corrected since.
	copied := s.snapshot.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue
	if s.facts.source != nil && (template == nil || copied) {
		template = s.facts.source.template
	}
	return jobrun.Spec{
		Namespace: s.snapshot.Namespace, Name: name, Labels: labels,
		Volumes:   []corev1.Volume{podspec.Claim(cloneVolume, s.cloneName())},
		Template:  template,
		Ownership: source.Ownership,
		Platform:  source.Platform,
		Near:      near,
		Deadline:  deadline,
	}, nil
}

// clearJobs deletes the Jobs. It is called until their pods are deleted too.
func (r *Reconciler) clearJobs(ctx context.Context, s *scope) error {
	var errs []error
	for _, w := range s.facts.works() {
		if w.job != nil {
			errs = append(errs, apply.Delete(ctx, r.Client, w.job))
		}
	}
	return errors.Join(errs...)
}

// cleanUp deletes the Jobs, then the clones once no pod is left: a finished pod
// keeps its PVC from being deleted. It is called until nothing is left.
func (r *Reconciler) cleanUp(ctx context.Context, s *scope) error {
	if v := &s.snapshot.Status.Verification; s.facts.hindered != "" && v.Verdict == "" {
		v.Message = bounded.Text(s.facts.hindered, maxMessage) // the cause is lost with the pod
	}
	if slices.ContainsFunc(s.facts.works(), func(w *work) bool { return w.job != nil }) {
		return r.clearJobs(ctx, s)
	}
	if s.facts.pods {
		return nil // garbage collection deletes them
	}
	// The next attempt creates the clone first, then its Job. A cache with the
	// clone and without the Job must not have the clone deleted under the Job.
	for _, w := range s.facts.works() {
		job, err := read.Object[batchv1.Job](ctx, r.Live, s.snapshot.Namespace, w.name)
		if err != nil || apply.Ours(s.snapshot, s.labels(), job) != nil {
			return err
		}
	}
	var errs []error
	for _, pvc := range []*corev1.PersistentVolumeClaim{s.facts.clone, s.facts.spent, s.facts.reference} {
		if pvc != nil {
			errs = append(errs, apply.Delete(ctx, r.Client, pvc))
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}
