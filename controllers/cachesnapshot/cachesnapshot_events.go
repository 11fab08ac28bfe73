package cachesnapshot

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/verification"
)

// emit records an event for each change of the status.
func (r *Reconciler) emit(s *scope) {
	count(s.before, s.snapshot)
	event.Record(r.Events, s.snapshot, became(s.before, s.snapshot))
}

// became returns the events for the change from one status to the next.
func became(before, after *v1alpha1.CacheSnapshot) []event.Event {
	var events []event.Event
	if before.Status.CreationTime == nil && after.Status.CreationTime != nil {
		events = append(events, event.Normal("SnapshotCreated", "Snapshot",
			"Created VolumeSnapshot %s of PVC %s", after.Status.VolumeSnapshotName, after.Status.Source.PersistentVolumeClaimName))
	}
	events = append(events, snapshotFailed(before, after)...)
	events = append(events, blockedEvents(before, after)...)
	if run := after.Status.Verification.Run; run != "" && run != before.Status.Verification.Run {
		events = append(events, verdictEvent(after))
	} else {
		events = append(events, repeatEvents(before.Status.Repeat, after.Status.Repeat)...)
	}
	events = append(events, repairEvents(before.Status.Repair, after.Status.Repair)...)
	if d := after.Status.OfflineBuild; d != nil && (before.Status.OfflineBuild == nil || d.Run != before.Status.OfflineBuild.Run) {
		events = append(events, offlineBuildEvent(d))
	}
	if after.Status.Verification.Verdict == v1alpha1.VerdictCorrupt && after.Status.Repair == nil {
		return events // the event SnapshotCorrupt already reports it
	}
	return append(events, event.Stalled(before.Status.Conditions, after.Status.Conditions)...)
}

func verdictEvent(of *v1alpha1.CacheSnapshot) event.Event {
	switch v := of.Status.Verification; v.Verdict {
	case v1alpha1.VerdictIntact:
		return event.Normal("Verified", "Verify", "Verified: %s", intact(of.Status))
	case v1alpha1.VerdictCorrupt:
		if verification.Withdrawn(of) {
			return event.Warning("SnapshotWithdrawn", "Verify", "Corrupt: %s", corrupt(of))
		}
		return event.Warning("SnapshotCorrupt", "Verify", "Corrupt: %s", corrupt(of))
	case v1alpha1.VerdictInconclusive:
		return event.Warning("Inconclusive", "Verify", "Verification attempt %d was inconclusive: %s", v.Attempts, v.Message)
	default:
		return event.Warning("Inconclusive", "Verify", "Verification attempt %d ended without a verdict", v.Attempts)
	}
}

// repeatEvents report the end of a repetition that did not withdraw the snapshot.
func repeatEvents(before, after *v1alpha1.RepeatStatus) []event.Event {
	switch {
	case after == nil || after.EndTime == nil || before == nil || before.EndTime != nil:
		return nil
	case after.Verdict == v1alpha1.VerdictIntact:
		return []event.Event{event.Normal("VerifiedAgain", "Verify", "Verified again: the snapshot is still Intact")}
	default:
		return []event.Event{event.Warning("RepeatInconclusive", "Verify", "A repeated verification was inconclusive after %d attempts: %s", after.Attempts, after.Message)}
	}
}

// repairEvents report that a repair was requested, and its outcome.
func repairEvents(before, after *v1alpha1.RepairStatus) []event.Event {
	switch {
	case after == nil || before != nil && before.Run == after.Run:
		return nil
	case after.Run == "":
		return []event.Event{event.Normal("RepairStarted", "Repair", "Started to remove corrupt entries on a clone: %s", after.Found.Message)}
	case after.Outcome == v1alpha1.WorkSucceeded:
		return []event.Event{event.Normal("Repaired", "Repair", "Removed %d paths on a clone; a snapshot of the clone is created, verified and offered in place of the original snapshot", after.Removed)}
	default:
		return []event.Event{event.Warning("RepairFailed", "Repair", "Repair attempt %d failed: %s", after.Attempts, after.Message)}
	}
}

func offlineBuildEvent(d *v1alpha1.OfflineBuildStatus) event.Event {
	switch d.Outcome {
	case v1alpha1.WorkSucceeded:
		return event.Normal("OfflineBuildSucceeded", "OfflineBuild", "Built the program of %d modules from a clone alone in %s", d.Modules, d.Duration.Duration)
	case v1alpha1.WorkFailed:
		return event.Warning("OfflineBuildFailed", "OfflineBuild", "The offline build test failed: %s", d.Message)
	case v1alpha1.WorkInconclusive:
	}
	return event.Warning("Inconclusive", "OfflineBuild", "Offline build test attempt %d was inconclusive: %s", d.Attempts, d.Message)
}

// blockedEvents report that a quota or the CSI driver keeps the check from running: of
// the reasons of Ready that mean this, only those listed here make an event.
func blockedEvents(before, after *v1alpha1.CacheSnapshot) []event.Event {
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ReadyCondition)
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ReadyCondition)
	if is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	switch is.Reason {
	case v1alpha1.ReasonQuotaExceeded, v1alpha1.ReasonCloneFailed:
		return []event.Event{event.Warning(is.Reason, "Verify", "%s", is.Message)}
	}
	return nil
}

// snapshotFailed is the event that the CSI driver cannot create the snapshot.
func snapshotFailed(before, after *v1alpha1.CacheSnapshot) []event.Event {
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.SnapshotReadyCondition)
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.SnapshotReadyCondition)
	if is == nil || is.Reason != v1alpha1.ReasonSnapshotFailed || was != nil && was.Reason == is.Reason {
		return nil
	}
	return []event.Event{event.Warning(is.Reason, "Snapshot", "%s", is.Message)}
}
