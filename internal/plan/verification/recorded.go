package verification

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
)

// Names of the stages in the status that the deadline depends on. It counts from the
// start of RecordedSnapshot, when the CSI snapshot was first asked for, without the
// time from the end of that stage to the start of RecordedVerify.
const (
	RecordedSnapshot = "Snapshot"
	RecordedVerify   = "Verify"
)

// Recorded is the observation that the spec and the status of a CacheSnapshot
// contain. The caller adds the state of the cluster: the other fields are zero.
func Recorded(c *v1alpha1.CacheSnapshot) Observation {
	spec, status := c.Spec, c.Status
	v := status.Verification
	f := Observation{
		Suspended: spec.Suspend,
		Mode:      spec.Verification.Mode,
		WasReady:  status.CreationTime != nil,
		Check:     attempted(v.Attempts, v.Run, v.CompletionTime),
		Verdict:   v.Verdict,
		Repaired:  Repaired(c),
	}
	if status.Repair != nil {
		f.Repair = called(status.Repair.WorkStatus)
	}
	if spec.Verification.OfflineBuild != nil {
		f.OfflineBuild = called(ptr.Deref(status.OfflineBuild, v1alpha1.OfflineBuildStatus{}).WorkStatus)
	}
	if spec.Verification.Deadline != nil {
		f.Deadline = spec.Verification.Deadline.Duration
	}
	if status.StartTime != nil {
		f.Started = status.StartTime.Time
	}
	for _, stage := range status.Stages {
		switch {
		case stage.Name == RecordedVerify:
			f.Checked = stage.StartTime.Time
		case stage.Name == RecordedSnapshot:
			f.Began = stage.StartTime.Time
			if stage.Duration != nil {
				f.Created = f.Began.Add(stage.Duration.Duration)
			}
		}
	}
	return f
}

// Repaired reports whether the CSI snapshot that is to be offered is the one of
// the repaired clone.
func Repaired(c *v1alpha1.CacheSnapshot) bool {
	return c.Status.Repair != nil && c.Status.VolumeSnapshotName == naming.Child(c.Name, naming.Repaired)
}

// Proven reports whether the content that is to be offered was verified on a
// clone of itself and, where an offline build is asked for, a program was built
// from it alone. It does not depend on conditions: conditions report, and a
// pass that failed for another reason may have left them behind.
func (f Observation) Proven() bool {
	return f.Mode != v1alpha1.VerificationSkip && f.Verdict == v1alpha1.VerdictIntact &&
		(!f.OfflineBuild.Called || f.OfflineBuild.Outcome == v1alpha1.WorkSucceeded)
}

func called(done v1alpha1.WorkStatus) Work {
	return Work{Try: attempted(done.Attempts, done.Run, done.CompletionTime), Called: true, Outcome: done.Outcome}
}

func attempted(attempts int32, done string, at *metav1.Time) Try {
	t := Try{Attempts: attempts, Recorded: done}
	if at != nil {
		t.RecordedAt = at.Time
	}
	return t
}
