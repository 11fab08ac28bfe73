package cachesnapshot

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/plan/verification"
)

// observeRepeat reads what a repetition of the verification depends on: the source,
// whose policy and pod template apply, and, once a repetition is due, the other
// snapshots of the source.
func (r *Reconciler) observeRepeat(ctx context.Context, s *scope, f *facts) (err error) {
	if s.snapshot.Status.Repeat != nil {
		f.repeat = work{name: naming.Child(s.snapshot.Name, naming.Repeat), recorded: s.snapshot.Status.Repeat.Run, expected: r.repeatJob}
	}
	if p := f.plan(s); !p.Settled() || !p.Proven() {
		return nil
	}
	f.source, err = r.source(ctx, s.snapshot.Namespace, s.snapshot.Spec.SourceRef)
	if conditions.Stalled(err) != nil {
		f.source, err = nil, nil // no snapshot of it can be created any more
	}
	if err != nil || f.source == nil || f.source.suspended {
		return err
	}
	if due := f.plan(s).Repeat.Due; due.IsZero() || due.After(s.now) {
		return nil
	}
	all, err := r.everywhere(ctx, client.InNamespace(s.snapshot.Namespace))
	f.selected = err == nil && snapshot.Repeated(s.snapshot, f.repeatPolicy(s), all)
	return err
}

// repeatPolicy is when the verification is repeated; nil: never.
func (f facts) repeatPolicy(s *scope) *v1alpha1.RepeatPolicy {
	if f.source == nil {
		return verification.RepeatPolicy(s.snapshot, nil)
	}
	return verification.RepeatPolicy(s.snapshot, f.source.policy)
}

// beginRepeat records that a repetition begins, before any object is created for it.
// The write of the status starts the next pass.
func (s *scope) beginRepeat() {
	before := ptr.Deref(s.snapshot.Status.Repeat, v1alpha1.RepeatStatus{})
	s.snapshot.Status.Repeat = &v1alpha1.RepeatStatus{
		StartTime: metav1.NewTime(s.now), Run: before.Run, IntactTime: before.IntactTime, Unreadable: before.Unreadable,
	}
	if before.Unreadable { // the conditions repeat it until there is a verdict
		s.snapshot.Status.Repeat.Message = before.Message
	}
}

// repeat creates a clone and the integrity Job on it. An error that only a person can
// correct ends the repetition, since it is no fault of the snapshot: a snapshot that is
// stalled would not be offered.
func (r *Reconciler) repeat(ctx context.Context, s *scope) error {
	job, _, err := r.repeatJob(ctx, s)
	if err == nil {
		err = r.start(ctx, s, job)
	}
	if stalled := conditions.Stalled(err); stalled != nil {
		return r.endRepeat(ctx, s, stalled.Message)
	}
	s.explainRepeat(s.facts.obstacle.message)
	return err
}

// repeatJob returns the integrity Job of a repetition. It is not compared with the
// first verified snapshot again: the first verification has done so.
func (r *Reconciler) repeatJob(ctx context.Context, s *scope) (jobrun.Spec, bool, error) {
	job, _, err := r.integrityJob(ctx, s, s.facts.repeat.name)
	return job, true, err
}

// explainRepeat records why a repetition has no verdict yet: the cause is lost with
// the pod.
func (s *scope) explainRepeat(cause string) {
	if cause != "" {
		s.snapshot.Status.Repeat.Message = bounded.Text(cause, maxMessage)
	}
}

// recordRepeat records the outcome of an attempt. Intact is the new proof, Corrupt
// withdraws the snapshot, and Inconclusive changes nothing but the status of the
// repetition. It records nothing if the VolumeSnapshot is no longer the one that the
// status pins.
func (r *Reconciler) recordRepeat(ctx context.Context, s *scope) error {
	verdict, pinned, err := r.verdict(ctx, s, s.facts.repeat)
	if err != nil || !pinned {
		return err
	}
	run, status := s.facts.repeat.run, s.snapshot.Status.Repeat
	found := check.Status(verdict, run.Run, s.now)
	status.Run, status.Attempts, status.CompletionTime = run.Run, status.Attempts+1, found.CompletionTime
	status.Verdict, status.Message = found.Verdict, found.Message
	switch found.Verdict {
	case v1alpha1.VerdictIntact:
		status.EndTime, status.IntactTime, status.Unreadable = found.CompletionTime, found.CompletionTime, false
	case v1alpha1.VerdictCorrupt:
		found.Attempts, found.Reference = 1, s.snapshot.Status.Verification.Reference
		status.EndTime, status.Unreadable, s.snapshot.Status.Verification = found.CompletionTime, false, found
	case v1alpha1.VerdictInconclusive:
		s.discardClones()
		last := status.Attempts >= verification.MaxAttempts
		status.Unreadable = status.Unreadable || last && verdict.Findings[integrity.Unreadable] > 0
	}
	return nil
}

// endRepeat ends a repetition that has no conclusive verdict. The snapshot stays what
// it is, unless the CSI driver cannot create a volume from it: consumers would get none
// either. One that still creates it shows nothing.
func (r *Reconciler) endRepeat(ctx context.Context, s *scope, cause string) error {
	status := s.snapshot.Status.Repeat
	if clone := s.facts.clone; clone != nil && clone.Status.Phase == corev1.ClaimPending {
		complaint, err := volume.Complaint(ctx, r.Live, clone)
		if err != nil {
			return err
		}
		switch {
		case volume.InProgress(complaint):
			cause = fmt.Sprintf("the CSI driver was still creating the volume for PVC %s at the deadline; raise it if that takes longer. It reported: %s", clone.Name, complaint)
		case complaint != "":
			status.Unreadable, cause = true, fmt.Sprintf("the CSI driver creates no volume from the VolumeSnapshot: %s", complaint)
		}
	}
	status.EndTime, status.Verdict = ptr.To(metav1.NewTime(s.now)), v1alpha1.VerdictInconclusive
	s.explainRepeat(cause)
	if status.Message == "" {
		status.Message = "no verdict until the deadline"
	}
	return nil
}
