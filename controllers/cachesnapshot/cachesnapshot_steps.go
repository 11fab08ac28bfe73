package cachesnapshot

import (
	"context"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/verification"
)

const (
	// cacheDir is where the integrity Job mounts the clone.
	cacheDir = "/cache"
	// noDeadline bounds a Job whose snapshot has no deadline.
	noDeadline = 24 * time.Hour
)

// act carries out the stage that was decided on.
func (r *Reconciler) act(ctx context.Context, s *scope) error {
	s.noteCut()
	switch s.decision.Stage {
	case verification.Admit:
		s.admit()
	case verification.Capture:
		return r.capture(ctx, s)
	case verification.Check:
		return r.check(ctx, s)
	case verification.Book:
		s.book()
	case verification.CleanUp:
		return r.cleanUp(ctx, s)
	case verification.AwaitCut, verification.Done:
		return r.adopt(ctx, s)
	case verification.Suspended, verification.AwaitSource, verification.AwaitQuiet, verification.AwaitJob,
		verification.AwaitRetry, verification.SnapshotLost, verification.Expired:
	}
	return nil
}

// admit remembers what the source is like, before anything is asked for: the
// source may change or be gone later. The write of the status wakes the next
// pass.
func (s *scope) admit() {
	claim := s.facts.claim
	captured := s.facts.source.captured
	capacity := claim.Status.Capacity[corev1.ResourceStorage]
	captured.VolumeName = claim.Spec.VolumeName
	captured.StorageClassName = ptr.Deref(claim.Spec.StorageClassName, "")
	captured.Capacity = &capacity
	s.snapshot.Status.StartTime = ptr.To(metav1.NewTime(s.now))
	s.snapshot.Status.Source = &captured
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots,verbs=create;patch

// capture asks for the CSI snapshot, while nobody writes. One that is there
// already is looked at live: to apply it would be to take over what was cut for
// somebody else.
func (r *Reconciler) capture(ctx context.Context, s *scope) error {
	there, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Live, s.snapshot.Namespace, s.snapshot.Name)
	if err != nil {
		return err
	}
	if older(there, s.snapshot) {
		return &apply.ConflictError{Kind: "VolumeSnapshot", Namespace: there.Namespace, Name: there.Name, Reason: "older than this CacheSnapshot"}
	}
	quiet, err := r.quiet(ctx, s)
	if err != nil {
		return err
	}
	if !quiet {
		s.facts.busy = true
		s.decision = verification.Decide(s.facts.plan(s))
		return nil
	}
	s.begin(stageCapture)
	_, err = r.applier().Apply(ctx, s.csiOwner(), s.csiSnapshot().Object())
	return err
}

// adopt keeps the CSI snapshot's ownership in step with the deletion policy.
func (r *Reconciler) adopt(ctx context.Context, s *scope) error {
	if s.facts.csi == nil {
		return nil
	}
	_, err := r.applier().Apply(ctx, s.csiOwner(), s.csiSnapshot().Object())
	return err
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
		Class: s.snapshot.Spec.VolumeSnapshotClassName, Claim: s.snapshot.Status.Source.ClaimName,
	}
}

func (s *scope) labels() map[string]string {
	labels := map[string]string{v1alpha1.SnapshotLabel: s.snapshot.Name}
	// The labels of a proxy and its instance on a pod would make it a backend.
	if ref := s.snapshot.Spec.SourceRef; ref.Kind == v1alpha1.GoCacheKind {
		labels[v1alpha1.CacheLabel] = ref.Name
	}
	return labels
}

// csiLabels say in addition which CacheSnapshot of the name asked: a CSI
// snapshot may outlive it.
func (s *scope) csiLabels() map[string]string {
	labels := s.labels()
	if ref := s.snapshot.Spec.SourceRef; ref.Kind == v1alpha1.ModProxyKind {
		labels[v1alpha1.ProxyLabel], labels[v1alpha1.InstanceLabel] = ref.Name, ref.Instance
	}
	labels[v1alpha1.SnapshotUIDLabel] = string(s.snapshot.UID)
	return labels
}

// noteCut copies into the status what the driver says of the CSI snapshot.
func (s *scope) noteCut() {
	csi := s.facts.csi
	if csi != nil {
		s.begin(stageCapture) // a death right after it was asked for lost this
	}
	if !volume.Cut(csi) {
		return
	}
	status := &s.snapshot.Status
	status.VolumeSnapshotName = csi.Name
	status.VolumeSnapshotContentName = *csi.Status.BoundVolumeSnapshotContentName
	status.RestoreSize = csi.Status.RestoreSize
	if status.CreationTime == nil {
		status.CreationTime = csi.Status.CreationTime
		if status.CreationTime == nil { // optional for a driver
			status.CreationTime = ptr.To(metav1.NewTime(s.now))
		}
		s.end(stageCapture)
	}
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=create;patch;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=create;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get

// check makes the clone and the Job on it. The Job is the clone's first
// consumer: nothing is waited for in between.
func (r *Reconciler) check(ctx context.Context, s *scope) error {
	s.begin(stageVerify)
	clone := s.clone()
	if _, err := r.applier().Apply(ctx, apply.ControlledBy(s.snapshot), clone.Object()); err != nil {
		return err
	}
	job, err := r.job(ctx, s, clone.Name)
	if err != nil {
		return err
	}
	_, err = r.applier().Apply(ctx, apply.ControlledBy(s.snapshot), job.Object())
	return err
}

func (s *scope) clone() volume.Claim {
	source := s.snapshot.Status.Source
	claim := volume.Claim{
		Namespace: s.snapshot.Namespace, Name: childName(s.snapshot), Labels: s.labels(),
		Size:     volume.Larger(s.snapshot.Status.RestoreSize, source.Capacity),
		Snapshot: s.snapshot.Status.VolumeSnapshotName,
	}
	if source.StorageClassName != "" {
		claim.Class = &source.StorageClassName
	}
	return claim
}

// job is the integrity Job. It mounts the clone read-only: what is verified is
// what was captured.
func (r *Reconciler) job(ctx context.Context, s *scope, claim string) (jobrun.Spec, error) {
	source := s.snapshot.Status.Source
	near, err := r.near(ctx, source.VolumeName)
	if err != nil {
		return jobrun.Spec{}, err
	}
	trust, err := check.Trust(ctx, r.Live, s.snapshot.Namespace, "spec.verification.trust", s.snapshot.Spec.Verification.Trust)
	if err != nil {
		return jobrun.Spec{}, err
	}
	labels := s.labels()
	labels[v1alpha1.ActionLabel] = "verification"
	deadline := s.decision.Remaining
	if deadline <= 0 {
		deadline = noDeadline
	}
	template := s.snapshot.Spec.PodTemplate
	if template == nil && s.facts.source != nil {
		template = s.facts.source.template
	}
	return jobrun.Spec{
		Namespace: s.snapshot.Namespace, Name: childName(s.snapshot), Labels: labels,
		Image:     r.Images.Operator,
		Command:   append(verifyCommand(source), trust.Flags...),
		Volumes:   append([]corev1.Volume{podspec.Claim("clone", claim)}, trust.Volumes...),
		Mounts:    append([]corev1.VolumeMount{{Name: "clone", MountPath: cacheDir, ReadOnly: true}}, trust.Mounts...),
		Template:  template,
		Resources: s.snapshot.Spec.Verification.Resources,
		Ownership: source.Ownership,
		Platform:  source.Platform,
		Near:      near,
		Deadline:  deadline,
	}, nil
}

// cleanUp removes the Job, then its pods, then the clone: a finished pod keeps
// its claim from going. It is called until nothing is left.
func (r *Reconciler) cleanUp(ctx context.Context, s *scope) error {
	switch {
	case s.facts.job != nil:
		return apply.Delete(ctx, r.Client, s.facts.job)
	case s.facts.pods:
		return nil // garbage collection is at it
	case s.facts.clone == nil:
		return nil
	}
	// The next attempt makes the clone first, then its Job: a cache that has
	// seen only the clone would have it deleted under the Job.
	job, err := read.Object[batchv1.Job](ctx, r.Live, s.snapshot.Namespace, childName(s.snapshot))
	if err != nil || apply.Ours(s.snapshot, s.labels(), job) != nil {
		return err
	}
	return apply.Delete(ctx, r.Client, s.facts.clone)
}

func (r *Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}

// refuse answers a request. This release knows none for a CacheSnapshot, and
// whoever asks is told so.
func (s *scope) refuse() {
	text, ok := s.snapshot.Annotations[v1alpha1.RequestAnnotation]
	text = bounded.Text(text, maxText)
	last := s.snapshot.Status.LastHandledRequest
	if !ok || last != nil && last.Request == text {
		return
	}
	s.snapshot.Status.LastHandledRequest = &v1alpha1.RequestStatus{
		Request: text, Outcome: v1alpha1.RequestRefused, Time: metav1.NewTime(s.now),
		Message: "this release knows no request for a CacheSnapshot",
	}
}
