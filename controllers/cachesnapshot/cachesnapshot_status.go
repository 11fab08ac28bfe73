package cachesnapshot

import (
	"fmt"
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/verification"
)

// setConditions sets all conditions from the facts of the pass and its error.
func (s *scope) setConditions(failed error) {
	status := &s.snapshot.Status
	status.ObservedGeneration = s.snapshot.Generation
	set := conditions.Set{Conditions: &status.Conditions, Generation: s.snapshot.Generation, Now: s.now}
	if set.Fail(failed) {
		return
	}
	s.setSnapshotReady(set)
	s.setVerified(set)
	s.setReady(set)
}

func (s *scope) setSnapshotReady(set conditions.Set) {
	const snapshotReady = v1alpha1.SnapshotReadyCondition
	switch failure := volume.SnapshotError(s.facts.csi); {
	case s.decision.Stage == verification.SnapshotLost:
		set.False(snapshotReady, v1alpha1.ReasonSnapshotLost, "VolumeSnapshot %s, which was verified, no longer exists", s.snapshot.Status.VolumeSnapshotName)
	case s.unready() != "":
		set.False(snapshotReady, v1alpha1.ReasonSnapshotFailed, "%s", s.unready())
	case s.snapshot.Status.CreationTime != nil:
		set.True(snapshotReady, v1alpha1.ReasonSnapshotCreated, "VolumeSnapshot %s can be restored%s", s.snapshot.Status.VolumeSnapshotName, s.mounted())
	case failure != "":
		set.False(snapshotReady, v1alpha1.ReasonSnapshotFailed, "The CSI driver could not create the snapshot yet: %s", failure)
	default:
		reason, message := s.waiting()
		set.False(snapshotReady, reason, "%s", message)
	}
}

// unready describes a VolumeSnapshot that was ready to use and is not any more, as
// when the driver has lost it, or that could not be read when its verification was
// repeated; empty: it is ready to use, or never was.
func (s *scope) unready() string {
	csi := s.facts.csi
	if s.repaired() {
		csi = s.facts.repairedCSI
	}
	if s.snapshot.Status.CreationTime == nil || csi == nil || !csi.DeletionTimestamp.IsZero() {
		return ""
	}
	if volume.ReadyToUse(csi) {
		if r := s.snapshot.Status.Repeat; r != nil && r.Unreadable {
			return fmt.Sprintf("VolumeSnapshot %s was verified and could not be read when this was repeated: %s. It is not offered until a repetition finds it Intact", csi.Name, r.Message)
		}
		return ""
	}
	message := fmt.Sprintf("VolumeSnapshot %s was ready to use and is not any more: no volume is created from it until it is ready again", csi.Name)
	if failure := volume.SnapshotError(csi); failure != "" {
		message += "; error of the CSI driver: " + failure
	}
	return message
}

// mounted names the pods that had the PVC mounted when the snapshot was created.
func (s *scope) mounted() string {
	if s.snapshot.Status.Source == nil || len(s.snapshot.Status.Source.MountedBy) == 0 {
		return ""
	}
	return "; created while these pods had the PVC mounted: " + strings.Join(s.snapshot.Status.Source.MountedBy, ", ")
}

// waiting is the reason and message of a snapshot that is not created yet.
func (s *scope) waiting() (reason, message string) {
	if o := s.facts.obstacle; o.reason != "" {
		return o.reason, o.message
	}
	switch s.decision.Stage { //nolint:exhaustive // in all other stages the CSI driver creates the snapshot
	case verification.WaitForSource:
		if s.facts.source == nil {
			return v1alpha1.ReasonSourceNotReady, fmt.Sprintf("There is no %s", s.sourceName())
		}
		if volume.Bound(s.facts.pvc) {
			return v1alpha1.ReasonSourceNotReady, fmt.Sprintf("The PVC of %s is new and not warmed yet", s.sourceName())
		}
		return v1alpha1.ReasonSourceNotReady, fmt.Sprintf("The PVC of %s is not bound yet", s.sourceName())
	case verification.WaitForWriter:
		return v1alpha1.ReasonWaiting, fmt.Sprintf("A Job writes to the PVC of %s, or its volume is being replaced; the snapshot is created when that has ended", s.sourceName())
	case verification.Suspended:
		return v1alpha1.ReasonSuspended, "spec.suspend is set"
	default:
	}
	return v1alpha1.ReasonCreatingSnapshot, "The CSI driver is creating the snapshot"
}

func (s *scope) setVerified(set conditions.Set) {
	const verified = v1alpha1.VerifiedCondition
	v := s.snapshot.Status.Verification
	settled := s.settled()
	switch {
	case s.snapshot.Spec.Verification.Mode == v1alpha1.VerificationSkip:
		set.Unknown(verified, v1alpha1.ReasonSkipped, "spec.verification.mode is Skip: never offered, restored or counted")
	case v.Verdict == v1alpha1.VerdictIntact && settled:
		set.True(verified, v1alpha1.ReasonIntact, "%s", s.intact())
	case v.Verdict == v1alpha1.VerdictCorrupt && settled:
		set.False(verified, v1alpha1.ReasonCorrupt, "%s", s.corrupt())
	case s.decision.Stage == verification.Expired:
		set.Unknown(verified, v1alpha1.ReasonDeadlineExceeded, "%s", s.expired())
	case v.Verdict == v1alpha1.VerdictInconclusive:
		set.Unknown(verified, v1alpha1.ReasonInconclusive, "Attempt %d of %d was inconclusive: %s", v.Attempts, verification.MaxAttempts, v.Message)
	case s.snapshot.Status.CreationTime == nil:
		set.Unknown(verified, v1alpha1.ReasonProgressing, "The snapshot is not created yet")
	default:
		reason, message := s.working()
		set.Unknown(verified, reason, "%s", message)
	}
}

// settled reports whether the verdict is final.
func (s *scope) settled() bool { return s.facts.plan(s).Settled() }

// working is the reason and message of a snapshot that is created and not settled.
func (s *scope) working() (reason, message string) {
	if o := s.facts.obstacle; o.reason != "" {
		return o.reason, o.message
	}
	switch v := s.snapshot.Status.Verification.Verdict; {
	case v == v1alpha1.VerdictIntact:
		return v1alpha1.ReasonOfflineBuildRunning, "Intact; the offline build test is running" + s.but()
	case v == v1alpha1.VerdictCorrupt:
		return v1alpha1.ReasonRepairing, "Corrupt entries are being removed on a clone, of which a snapshot is then created: " + s.snapshot.Status.Repair.Found.Message + s.but()
	case s.repaired():
		return v1alpha1.ReasonVerifying, "The snapshot of the repaired clone is being verified on a clone of itself" + s.but()
	}
	return v1alpha1.ReasonVerifying, "The snapshot is being verified on a clone of itself" + s.but()
}

func (s *scope) setReady(set conditions.Set) {
	v := s.snapshot.Status.Verification
	skip := s.snapshot.Spec.Verification.Mode == v1alpha1.VerificationSkip
	settled := s.settled()
	switch stage := s.decision.Stage; {
	case stage == verification.SnapshotLost:
		set.Stall(v1alpha1.ReasonSnapshotLost, "VolumeSnapshot %s was deleted, or replaced by another object of its name: delete this CacheSnapshot, nothing can be created from it", s.snapshot.Status.VolumeSnapshotName)
	case settled && v.Verdict == v1alpha1.VerdictCorrupt:
		s.setCorrupt(set)
	case settled && s.unready() != "":
		set.Progress(v1alpha1.ReasonSnapshotFailed, "%s", s.unready())
	case settled && v.Verdict == v1alpha1.VerdictIntact:
		s.setIntact(set)
	case stage == verification.Done && skip:
		s.setUsable(set, v1alpha1.ReasonSkipped, "The snapshot is ready; verification is skipped (spec.verification.mode: Skip), so it is never offered to consumers")
	case stage == verification.Done:
		set.Stall(v1alpha1.ReasonInconclusive, "Verification was inconclusive after %d attempts (last: %s). The snapshot is never offered: fix the cause and create a new CacheSnapshot", v.Attempts, v.Message)
	case stage == verification.Expired:
		set.Stall(v1alpha1.ReasonDeadlineExceeded, "%s", s.expired())
	case stage == verification.Suspended:
		set.Suspend(false, "spec.suspend is set")
	case s.snapshot.Status.CreationTime == nil:
		reason, message := s.waiting()
		if failure := volume.SnapshotError(s.facts.csi); failure != "" {
			reason, message = v1alpha1.ReasonSnapshotFailed, "The CSI driver could not create the snapshot yet: "+failure
		}
		set.Progress(reason, "%s", message)
	default:
		reason, message := s.working()
		set.Progress(reason, "%s", message)
	}
}

// setCorrupt sets Ready of a snapshot that is Corrupt and is not repaired any more.
func (s *scope) setCorrupt(set conditions.Set) {
	if r := s.snapshot.Status.Repair; r != nil && r.Message != "" {
		set.Stall(v1alpha1.ReasonRepairFailed, "%s. It could not be repaired: %s", s.corrupt(), r.Message)
		return
	}
	set.Stall(v1alpha1.ReasonCorrupt, "%s", s.corrupt())
}

// setIntact sets Ready of an Intact snapshot by the outcome of the offline build
// test, if one is declared.
func (s *scope) setIntact(set conditions.Set) {
	d := s.snapshot.Status.OfflineBuild
	switch {
	case s.snapshot.Spec.Verification.OfflineBuild == nil || d.Outcome == v1alpha1.WorkSucceeded:
		s.setUsable(set, v1alpha1.ReasonIntact, s.intact())
	case d.Outcome == v1alpha1.WorkFailed:
		set.Stall(v1alpha1.ReasonOfflineBuildFailed, "Intact, but the offline build test failed: %s. The snapshot is never offered: correct ConfigMap %s or warm what is missing, and create a new CacheSnapshot",
			d.Message, s.snapshot.Spec.Verification.OfflineBuild.ConfigMapRef.Name)
	default:
		set.Stall(v1alpha1.ReasonInconclusive, "Intact, but the offline build test was inconclusive after %d attempts (last: %s). The snapshot is never offered: fix the cause and create a new CacheSnapshot",
			d.Attempts, d.Message)
	}
}

// setUsable sets Ready of a snapshot that needs nothing more, suspended or not.
func (s *scope) setUsable(set conditions.Set, reason, message string) {
	if s.snapshot.Spec.Suspend {
		set.Suspend(true, "spec.suspend is set: nothing is started. %s", message)
		return
	}
	set.Ready(reason, "%s", message)
}

// but is the part of a message with the cause that keeps a Job from running.
func (s *scope) but() string {
	if s.facts.hindered == "" {
		return ""
	}
	return ", but is blocked: " + bounded.Text(s.facts.hindered, maxMessage)
}

func (s *scope) expired() string {
	message := fmt.Sprintf("No verdict within %s", s.snapshot.Spec.Verification.Deadline.Duration)
	if s.facts.superseded {
		return message + ": other snapshots were verified first, and there is a newer one of this source. The snapshot is never offered: raise --max-concurrent-verifications of the operator, or create fewer snapshots"
	}
	if failure := volume.SnapshotError(s.facts.csi); failure != "" {
		message += "; error of the CSI driver: " + failure
	} else if last := s.snapshot.Status.Verification.Message; last != "" {
		message += "; last attempt: " + last
	}
	return message + ". The snapshot is never offered: fix the cause and create a new CacheSnapshot"
}

func (s *scope) intact() string { return intact(s.snapshot.Status) }

func intact(status v1alpha1.CacheSnapshotStatus) string {
	v := status.Verification
	message := fmt.Sprintf("%d module versions and %d build entries are intact", v.Counts.Modules, v.Counts.BuildEntries)
	if v.Duration != nil {
		message += fmt.Sprintf(", checked in %s", v.Duration.Duration)
	}
	if r := status.Repair; r != nil {
		message += fmt.Sprintf("; %d paths of the original snapshot were removed", r.Removed)
	}
	if d := status.OfflineBuild; d != nil && d.Outcome == v1alpha1.WorkSucceeded {
		message += fmt.Sprintf("; passed the offline build test in %s", d.Duration.Duration)
	}
	message += repeated(status.Repeat)
	if lacks := status.WeakerThanPolicy; lacks != "" {
		message += "; used only by its own name, since its verification lacks what the snapshot policy of its source asks for (" + lacks + ")"
	}
	return message
}

// repeated is the part of a message with the result of the last repetition.
func repeated(r *v1alpha1.RepeatStatus) string {
	if r == nil {
		return ""
	}
	message := ""
	if r.IntactTime != nil {
		message = "; verified again at " + r.IntactTime.UTC().Format(time.RFC3339)
	}
	if r.EndTime != nil && r.Verdict == v1alpha1.VerdictInconclusive {
		message += fmt.Sprintf("; the last repetition was inconclusive at %s: %s", r.EndTime.UTC().Format(time.RFC3339), r.Message)
	}
	return message
}

func (s *scope) corrupt() string { return corrupt(s.snapshot) }

func corrupt(of *v1alpha1.CacheSnapshot) string {
	v := of.Status.Verification
	message := "The snapshot contains corrupt content and is never offered"
	if verification.Withdrawn(of) {
		message = "The snapshot was withdrawn: it was intact when it was created, contains corrupt content now, and is not offered any more"
	}
	if v.Message != "" {
		message += ": " + v.Message
	}
	if len(v.Examples) > 0 {
		message += fmt.Sprintf(" (first: %s, %s)", v.Examples[0].Path, v.Examples[0].Detail)
	}
	return message
}
