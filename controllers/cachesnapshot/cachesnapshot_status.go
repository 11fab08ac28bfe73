package cachesnapshot

import (
	"fmt"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/verification"
)

// setConditions writes all conditions from the facts of the pass and its error.
func (s *scope) setConditions(failed error) {
	status := &s.snapshot.Status
	status.ObservedGeneration = s.snapshot.Generation
	set := conditions.Set{Conditions: &status.Conditions, Generation: s.snapshot.Generation, Now: s.now}
	if set.Fail(failed) {
		return
	}
	s.setCaptured(set)
	s.setVerified(set)
	s.setReady(set)
}

func (s *scope) setCaptured(set conditions.Set) {
	const captured = v1alpha1.CapturedCondition
	switch failure := volume.CaptureError(s.facts.csi); {
	case s.decision.Stage == verification.SnapshotLost:
		set.False(captured, v1alpha1.ReasonSnapshotLost, "VolumeSnapshot %s was deleted", s.snapshot.Status.VolumeSnapshotName)
	case s.snapshot.Status.CreationTime != nil:
		set.True(captured, v1alpha1.ReasonSucceeded, "VolumeSnapshot %s can be restored", s.snapshot.Status.VolumeSnapshotName)
	case failure != "":
		set.False(captured, v1alpha1.ReasonCaptureFailed, "The CSI driver could not take the snapshot yet: %s", failure)
	default:
		reason, message := s.waiting()
		set.False(captured, reason, "%s", message)
	}
}

// waiting says what a snapshot that is not cut waits for.
func (s *scope) waiting() (reason, message string) {
	switch s.decision.Stage {
	case verification.AwaitSource:
		if s.facts.source == nil {
			return v1alpha1.ReasonSourceNotReady, fmt.Sprintf("There is no %s", s.sourceName())
		}
		if volume.Bound(s.facts.claim) {
			return v1alpha1.ReasonSourceNotReady, fmt.Sprintf("The claim of %s is new and not warmed yet", s.sourceName())
		}
		return v1alpha1.ReasonSourceNotReady, fmt.Sprintf("The claim of %s is not bound yet", s.sourceName())
	case verification.AwaitQuiet:
		return v1alpha1.ReasonWaiting, fmt.Sprintf("A Job writes to the claim of %s, or its volume is being replaced; the snapshot is taken when that has ended", s.sourceName())
	case verification.Suspended:
		return v1alpha1.ReasonSuspended, "spec.suspend is set"
	case verification.Admit, verification.Capture, verification.AwaitCut, verification.Check, verification.AwaitJob, verification.Book,
		verification.CleanUp, verification.AwaitRetry, verification.Done, verification.SnapshotLost, verification.Expired:
	}
	return v1alpha1.ReasonCapturing, "The CSI driver is taking the snapshot"
}

func (s *scope) setVerified(set conditions.Set) {
	const verified = v1alpha1.VerifiedCondition
	v := s.snapshot.Status.Verification
	switch {
	case s.snapshot.Spec.Verification.Mode == v1alpha1.VerificationSkip:
		set.Unknown(verified, v1alpha1.ReasonSkipped, "verification.mode is Skip: never offered, restored or counted")
	case v.Verdict == v1alpha1.VerdictIntact:
		set.True(verified, v1alpha1.ReasonIntact, "%s", intact(v))
	case v.Verdict == v1alpha1.VerdictCorrupt:
		set.False(verified, v1alpha1.ReasonCorrupt, "%s", corrupt(v))
	case s.decision.Stage == verification.Expired:
		set.Unknown(verified, v1alpha1.ReasonDeadlineExceeded, "%s", s.expired())
	case v.Verdict == v1alpha1.VerdictInconclusive:
		set.Unknown(verified, v1alpha1.ReasonInconclusive, "Attempt %d of %d could not tell: %s", v.Attempts, verification.MaxAttempts, v.Message)
	case s.decision.Stage == verification.AwaitJob, s.decision.Stage == verification.Check:
		set.Unknown(verified, v1alpha1.ReasonVerifying, "The snapshot is being verified on a clone of itself%s", s.but())
	default:
		set.Unknown(verified, v1alpha1.ReasonProgressing, "Not captured yet")
	}
}

func (s *scope) setReady(set conditions.Set) {
	v := s.snapshot.Status.Verification
	skip := s.snapshot.Spec.Verification.Mode == v1alpha1.VerificationSkip
	switch stage := s.decision.Stage; {
	case stage == verification.SnapshotLost:
		set.Stall(v1alpha1.ReasonSnapshotLost, "VolumeSnapshot %s was deleted: delete this CacheSnapshot, nothing can be made from it", s.snapshot.Status.VolumeSnapshotName)
	case v.Verdict == v1alpha1.VerdictCorrupt:
		set.Stall(v1alpha1.ReasonCorrupt, "%s", corrupt(v))
	case v.Verdict == v1alpha1.VerdictIntact:
		set.Ready(v1alpha1.ReasonIntact, "%s", intact(v))
	case stage == verification.Done && skip:
		set.Ready(v1alpha1.ReasonSkipped, "Captured, and not verified by wish: for an inquiry only")
	case stage == verification.Done:
		set.Stall(v1alpha1.ReasonInconclusive, "%d attempts could not tell whether the snapshot is intact; the last: %s. It is never offered: mend the cause and take another", v.Attempts, v.Message)
	case stage == verification.Expired:
		set.Stall(v1alpha1.ReasonDeadlineExceeded, "%s", s.expired())
	case stage == verification.Suspended:
		set.Rest(v1alpha1.ReasonSuspended, "spec.suspend is set")
	case s.snapshot.Status.CreationTime == nil:
		reason, message := s.waiting()
		if failure := volume.CaptureError(s.facts.csi); failure != "" {
			reason, message = v1alpha1.ReasonCaptureFailed, "The CSI driver could not take the snapshot yet: "+failure
		}
		set.Progress(reason, "%s", message)
	default:
		set.Progress(v1alpha1.ReasonVerifying, "The snapshot is being verified on a clone of itself%s", s.but())
	}
}

// but says what keeps the integrity Job from running.
func (s *scope) but() string {
	if s.facts.hindered == "" {
		return ""
	}
	return ", but cannot be yet: " + bounded.Text(s.facts.hindered, maxMessage)
}

func (s *scope) expired() string {
	message := fmt.Sprintf("No verdict within %s", s.snapshot.Spec.Verification.Deadline.Duration)
	if failure := volume.CaptureError(s.facts.csi); failure != "" {
		message += "; the CSI driver says: " + failure
	} else if last := s.snapshot.Status.Verification.Message; last != "" {
		message += "; the last attempt: " + last
	}
	return message + ". It is never offered: mend the cause and take another"
}

func intact(v v1alpha1.VerificationStatus) string {
	message := fmt.Sprintf("%d module versions and %d build entries are intact", v.Counts.Modules, v.Counts.BuildEntries)
	if v.Duration != nil {
		message += fmt.Sprintf(", checked in %s", v.Duration.Duration)
	}
	return message
}

func corrupt(v v1alpha1.VerificationStatus) string {
	message := "The snapshot holds wrong bytes and is never offered"
	if v.Message != "" {
		message += ": " + v.Message
	}
	if len(v.Examples) > 0 {
		message += fmt.Sprintf(" (first: %s, %s)", v.Examples[0].Path, v.Examples[0].Detail)
	}
	return message
}
