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
	"gocache.dev/operator/internal/plan/verification"
)

// Stages whose duration is kept.
const (
	stageSnapshot         = verification.RecordedSnapshot
	stageVerify           = "Verify"
	stageRepair           = "Repair"
	stageSnapshotRepaired = "SnapshotRepaired"
	stageReverify         = "VerifyRepaired"
	stageOfflineBuild     = "OfflineBuild"
)

// stageVerify is the stage of the check that runs or ran last.
func (s *scope) stageVerify() string {
	if s.repaired() {
		return stageReverify
	}
	return stageVerify
}

// Bounds of the schema.
const (
	maxText    = 512
	maxMessage = 4096
	maxWeaker  = 1024
)

// recordVerdict writes the outcome of an attempt into the status, unless the
// VolumeSnapshot that the clone was made from is no longer the one that was
// pinned: the verdict would be about something else.
func (r *Reconciler) recordVerdict(ctx context.Context, s *scope) error {
	csi, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Live, s.snapshot.Namespace, s.snapshot.Status.VolumeSnapshotName)
	if err != nil {
		return err
	}
	if csi == nil || string(csi.UID) != s.snapshot.Status.VolumeSnapshotUID {
		return nil // the event of its deletion wakes the next pass, which reports it as lost
	}
	if known, err := r.authentic(ctx, s); err != nil || !known {
		return err
	}
	s.recordCheck()
	return nil
}

// recordCheck writes the outcome of an attempt into the status.
func (s *scope) recordCheck() {
	v := s.doubt(check.Verdict(s.facts.check.run))
	attempts := s.snapshot.Status.Verification.Attempts
	s.snapshot.Status.Verification = check.Status(v, s.facts.check.run.Run, s.now)
	s.snapshot.Status.Verification.Attempts = attempts + 1
	s.snapshot.Status.Verification.Reference = s.facts.check.run.Annotations[v1alpha1.ReferenceAnnotation]
	s.end(s.stageVerify())
	s.requestRepair(s.snapshot.Status.Verification)
}

// doubt lets no emptiness pass that the source did not have.
func (s *scope) doubt(v integrity.Verdict) integrity.Verdict {
	source := s.snapshot.Status.Source
	if source == nil {
		return v
	}
	return check.Doubt(v, source.Layers, source.Counts)
}

// begin notes when a stage was entered first, and that it is under way.
func (s *scope) begin(name string) {
	for i := range s.snapshot.Status.Stages {
		if stage := &s.snapshot.Status.Stages[i]; stage.Name == name {
			stage.Duration = nil
			return
		}
	}
	s.snapshot.Status.Stages = append(s.snapshot.Status.Stages, v1alpha1.StageStatus{Name: name, StartTime: metav1.NewTime(s.now)})
}

// end notes how long a stage took, from its first beginning.
func (s *scope) end(name string) {
	for i := range s.snapshot.Status.Stages {
		if stage := &s.snapshot.Status.Stages[i]; stage.Name == name && stage.Duration == nil {
			stage.Duration = &metav1.Duration{Duration: s.now.Sub(stage.StartTime.Time).Truncate(time.Millisecond)}
		}
	}
}
