package cachesnapshot

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/volume"
)

// requestRepair records that a Corrupt snapshot is to be repaired. Content that
// contradicts trust data is not repaired: it is evidence of a forgery, which a
// repair would remove.
func (s *scope) requestRepair(found v1alpha1.VerificationStatus) {
	if s.snapshot.Spec.Verification.OnCorrupt != v1alpha1.SnapshotRepair || s.snapshot.Status.Repair != nil ||
		found.Verdict != v1alpha1.VerdictCorrupt || found.Findings[string(integrity.ChecksumMismatch)] > 0 {
		return
	}
	s.snapshot.Status.Repair = &v1alpha1.RepairStatus{Found: found}
}

// repair starts the Job that removes corrupt entries from the clone that was
// verified.
func (r *Reconciler) repair(ctx context.Context, s *scope) error {
	s.begin(stageRepair)
	job, _, err := r.repairJob(ctx, s)
	if err != nil {
		return err
	}
	return r.start(ctx, s, job)
}

// repairJob returns the Job of a repair.
func (r *Reconciler) repairJob(ctx context.Context, s *scope) (jobrun.Spec, bool, error) {
	job, err := r.job(ctx, s, s.facts.repair.name, "repair")
	if err != nil {
		return job, false, err
	}
	trust, err := r.trust(ctx, s)
	if err != nil {
		return job, false, err
	}
	source := s.snapshot.Status.Source
	job.Image = r.Images.Operator
	job.Command = agentcommand.InImage(agentcommand.Repair{Content: check.Content(source, cacheDir), SpareMismatches: true, Trust: trust.Trust})
	job.Resources = s.snapshot.Spec.Verification.Resources
	job.Mounts = append([]corev1.VolumeMount{{Name: cloneVolume, MountPath: cacheDir}}, trust.Mounts...)
	job.Volumes = append(job.Volumes, trust.Volumes...)
	return job, true, nil
}

// recordRepair writes the outcome of an attempt to repair into the status.
func (r *Reconciler) recordRepair(ctx context.Context, s *scope) error {
	status := s.snapshot.Status.Repair
	result, outcome, message := repairResult(s.facts.repair.run)
	if outcome != v1alpha1.WorkInconclusive {
		why, err := r.unproven(ctx, s, s.facts.repair)
		if err != nil {
			return err
		}
		if why != "" {
			result, outcome, message = integrity.Repaired{}, v1alpha1.WorkInconclusive, why
		}
	}
	status.WorkStatus = v1alpha1.WorkStatus{
		Run: s.facts.repair.run.Run, Attempts: status.Attempts + 1, Outcome: outcome,
		Message: bounded.Text(message, maxMessage), CompletionTime: ptr.To(metav1.NewTime(s.now)),
	}
	status.Removed, status.Digest = int64(result.Removed), ""
	if outcome == v1alpha1.WorkSucceeded {
		status.Digest = result.After.Digest
	}
	if outcome == v1alpha1.WorkInconclusive {
		s.discardClones()
	}
	s.end(stageRepair)
	return nil
}

// repairResult returns the outcome of a repair. It is conclusive only if the
// container ended by itself, and its report and exit code agree.
func repairResult(run jobrun.Outcome) (integrity.Repaired, v1alpha1.WorkOutcome, string) {
	if !run.Conclusive() {
		return integrity.Repaired{}, v1alpha1.WorkInconclusive, run.Cause
	}
	code := int(*run.ExitCode)
	m, err := integrity.ParseRepaired([]byte(run.Message))
	switch {
	case err != nil:
		return integrity.Repaired{}, v1alpha1.WorkInconclusive, fmt.Sprintf("the agent ended with exit code %d and left no report (%v): %s", code, err, run.Message)
	case m.Refused != "":
		return m, v1alpha1.WorkFailed, m.Refused
	case code != exitcode.OfVerdict(m.After.Verdict):
		return m, v1alpha1.WorkInconclusive, fmt.Sprintf("the agent ended with exit code %d and reported %s", code, m.After.Verdict)
	}
	switch m.After.Verdict {
	case integrity.Intact:
		return m, v1alpha1.WorkSucceeded, ""
	case integrity.OutcomeCorrupt:
		return m, v1alpha1.WorkFailed, "corrupt content remains that cannot be removed: " + m.After.Message
	case integrity.Inconclusive:
	}
	return m, v1alpha1.WorkInconclusive, m.After.Message
}

// restartRepair starts the repair again if the repaired clone was deleted before
// a snapshot of it was created.
func (r *Reconciler) restartRepair(ctx context.Context, s *scope) error {
	there, err := r.ownPVC(ctx, r.Live, s, s.cloneName())
	if err != nil || there != nil {
		return err
	}
	s.snapshot.Status.Repair.Outcome, s.snapshot.Status.Repair.Digest = "", ""
	return nil
}

// snapshotRepairedClone creates the CSI snapshot of the repaired clone, once no pod
// has it mounted. What a pod writes to the clone after this is found when the snapshot is
// verified, on a clone of itself.
func (r *Reconciler) snapshotRepairedClone(ctx context.Context, s *scope) error {
	why, err := r.unproven(ctx, s, work{})
	if err != nil {
		return err
	}
	if why != "" {
		status := s.snapshot.Status.Repair
		status.Outcome, status.Digest, status.Message = v1alpha1.WorkInconclusive, "", bounded.Text(why, maxMessage)
		s.discardClones()
		return nil
	}
	s.begin(stageSnapshotRepaired)
	_, err = r.applier().Apply(ctx, s.csiOwner(), s.repairedSnapshot().Object())
	return err
}

func (s *scope) repairedSnapshot() volume.Snapshot {
	snapshot := s.csiSnapshot()
	snapshot.Name, snapshot.Claim = s.repairedName(), s.sourceCloneName()
	return snapshot
}

// pinRepaired pins the VolumeSnapshot of the repaired clone, once it is ready to
// use, as the one that is verified and offered. status.creationTime stays, since it
// is the time of the content.
func (r *Reconciler) pinRepaired(ctx context.Context, s *scope) (changed bool, err error) {
	status := &s.snapshot.Status
	if status.Repair == nil || status.Repair.Outcome != v1alpha1.WorkSucceeded || s.repaired() || !volume.ReadyToUse(s.facts.repairedCSI) {
		return false, nil
	}
	content, err := r.content(ctx, s.facts.repairedCSI)
	if err != nil {
		return false, err
	}
	s.begin(stageSnapshotRepaired)
	s.end(stageSnapshotRepaired)
	volume.Pin(status, s.facts.repairedCSI, content)
	status.Verification = v1alpha1.VerificationStatus{}
	return true, nil
}
