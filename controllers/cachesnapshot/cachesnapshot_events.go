package cachesnapshot

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// emit records what became different in the status.
func (r *Reconciler) emit(s *scope) {
	event.Record(r.Events, s.snapshot, became(s.before, s.snapshot))
}

// became compares two states of one snapshot.
func became(before, after *v1alpha1.CacheSnapshot) []event.Event {
	var events []event.Event
	if before.Status.CreationTime == nil && after.Status.CreationTime != nil {
		events = append(events, event.Normal("Captured", "Capture",
			"Captured claim %s as VolumeSnapshot %s", after.Status.Source.ClaimName, after.Status.VolumeSnapshotName))
	}
	events = append(events, captureFailed(before, after)...)
	if after.Status.Verification.Run != before.Status.Verification.Run {
		events = append(events, verdictEvent(after.Status.Verification))
	}
	events = append(events, event.Refused(before.Status.LastHandledRequest, after.Status.LastHandledRequest)...)
	if after.Status.Verification.Verdict == v1alpha1.VerdictCorrupt {
		return events // Stalled says nothing that the conviction does not
	}
	return append(events, event.Stalled(before.Status.Conditions, after.Status.Conditions)...)
}

func verdictEvent(v v1alpha1.VerificationStatus) event.Event {
	switch v.Verdict {
	case v1alpha1.VerdictIntact:
		return event.Normal("Verified", "Verify", "Verified: %s", intact(v))
	case v1alpha1.VerdictCorrupt:
		return event.Warning("Convicted", "Verify", "Convicted: %s", corrupt(v))
	case v1alpha1.VerdictInconclusive:
		return event.Warning("Inconclusive", "Verify", "Attempt %d could not tell whether the snapshot is intact: %s", v.Attempts, v.Message)
	default:
		return event.Warning("Inconclusive", "Verify", "Attempt %d left no verdict", v.Attempts)
	}
}

// captureFailed is the event that the CSI driver began to refuse.
func captureFailed(before, after *v1alpha1.CacheSnapshot) []event.Event {
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.CapturedCondition)
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.CapturedCondition)
	if is == nil || is.Reason != v1alpha1.ReasonCaptureFailed || was != nil && was.Reason == is.Reason {
		return nil
	}
	return []event.Event{event.Warning(is.Reason, "Capture", "%s", is.Message)}
}
