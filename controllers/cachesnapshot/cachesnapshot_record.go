package cachesnapshot

import (
	"context"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/verification"
)

// Names of the stages in status.stages.
const (
	stageSnapshot         = verification.RecordedSnapshot
	stageVerify           = verification.RecordedVerify
	stageRepair           = "Repair"
	stageSnapshotRepaired = "SnapshotRepaired"
	stageReverify         = "VerifyRepaired"
	stageOfflineBuild     = "OfflineBuild"
)

// stageVerify is the stage of the check of the snapshot that is to be offered:
// the one of the source, or the one of the repaired clone.
func (s *scope) stageVerify() string {
	if s.repaired() {
		return stageReverify
	}
	return stageVerify
}

// Limits of the API schema; bounded.Text applies them in bytes.
const (
	maxText    = 512
	maxMessage = 4096
	maxWeaker  = 1024
)

// recordVerdict records the outcome of a check in the status. It records nothing
// if the VolumeSnapshot is no longer the one that the status pins, since the
// verdict would not be about what is offered.
func (r *Reconciler) recordVerdict(ctx context.Context, s *scope) error {
	verdict, pinned, err := r.verdict(ctx, s, s.facts.check)
	if err != nil || !pinned {
		return err
	}
	s.recordCheck(verdict)
	return nil
}

// verdict is the verdict of a check that has ended; false: the VolumeSnapshot is no
// longer the one that the status pins. Its deletion starts another pass, which reports
// it as lost.
func (r *Reconciler) verdict(ctx context.Context, s *scope, w work) (v integrity.Verdict, pinned bool, err error) {
	csi, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Live, s.snapshot.Namespace, s.snapshot.Status.VolumeSnapshotName)
	if err != nil || !volume.Pinned(s.snapshot.Status, csi, nil) {
		return v, false, err
	}
	if v = s.doubt(check.Verdict(w.run)); v.Verdict == integrity.Inconclusive {
		return v, true, nil
	}
	why, err := r.unproven(ctx, s, w)
	if why != "" {
		v = integrity.Verdict{Verdict: integrity.Inconclusive, Message: why}
	}
	return v, true, err
}

// recordCheck writes the verdict of the check that has ended into the status, and
// requests a repair if the verdict calls for one.
func (s *scope) recordCheck(v integrity.Verdict) {
	attempts := s.snapshot.Status.Verification.Attempts
	s.snapshot.Status.Verification = check.Status(v, s.facts.check.run.Run, s.now)
	s.snapshot.Status.Verification.Attempts = attempts + 1
	s.snapshot.Status.Verification.Reference = s.facts.check.run.Annotations[v1alpha1.ReferenceAnnotation]
	s.end(s.stageVerify())
	if v.Verdict == integrity.Inconclusive {
		s.discardClones()
	}
	s.requestRepair(s.snapshot.Status.Verification)
}

// doubt makes an Intact verdict Inconclusive if a layer is empty that was not
// empty in the source.
func (s *scope) doubt(v integrity.Verdict) integrity.Verdict {
	source := s.snapshot.Status.Source
	if source == nil {
		return v
	}
	return check.Doubt(v, source.Layers, source.Counts)
}

// begin records that a stage is in progress. The start time of an earlier attempt
// is kept.
func (s *scope) begin(name string) {
	for i := range s.snapshot.Status.Stages {
		if stage := &s.snapshot.Status.Stages[i]; stage.Name == name {
			stage.Duration = nil
			return
		}
	}
	s.snapshot.Status.Stages = append(s.snapshot.Status.Stages, v1alpha1.StageStatus{Name: name, StartTime: metav1.NewTime(s.now)})
}

// end records how long a stage took, from the start of its first attempt.
func (s *scope) end(name string) {
	for i := range s.snapshot.Status.Stages {
		if stage := &s.snapshot.Status.Stages[i]; stage.Name == name && stage.Duration == nil {
			stage.Duration = &metav1.Duration{Duration: s.now.Sub(stage.StartTime.Time).Truncate(time.Millisecond)}
		}
	}
}
