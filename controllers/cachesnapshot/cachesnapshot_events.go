package cachesnapshot

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
)

// event is one thing that happened, for the person who must act or may rest.
type event struct {
	kind, reason, action, message string
}

// emit records what became different in the status.
func (r *Reconciler) emit(s *scope) {
	for _, e := range happened(s.before, s.snapshot) {
		r.Events.Eventf(s.snapshot, nil, e.kind, e.reason, e.action, "%s", e.message)
	}
}

// happened compares two states of one snapshot.
func happened(before, after *v1alpha1.CacheSnapshot) []event {
	var events []event
	if before.Status.CreationTime == nil && after.Status.CreationTime != nil {
		events = append(events, event{corev1.EventTypeNormal, "Captured", "Capture",
			fmt.Sprintf("Captured claim %s as VolumeSnapshot %s", after.Status.Source.ClaimName, after.Status.VolumeSnapshotName)})
	}
	if v := after.Status.Verification; v.Run != before.Status.Verification.Run {
		switch v.Verdict {
		case v1alpha1.VerdictIntact:
			events = append(events, event{corev1.EventTypeNormal, "Verified", "Verify", "Verified: " + intact(v)})
		case v1alpha1.VerdictCorrupt:
			events = append(events, event{corev1.EventTypeWarning, "Convicted", "Verify", corrupt(v)})
		case v1alpha1.VerdictInconclusive:
			events = append(events, event{corev1.EventTypeWarning, "Inconclusive", "Verify",
				fmt.Sprintf("Attempt %d could not tell whether the snapshot is intact: %s", v.Attempts, v.Message)})
		}
	}
	stalled := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.StalledCondition)
	if stalled != nil && stalled.Reason != v1alpha1.ReasonCorrupt && stalledReason(before) != stalled.Reason {
		events = append(events, event{corev1.EventTypeWarning, stalled.Reason, "Stall", stalled.Message})
	}
	if failed := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.CapturedCondition); failed != nil && failed.Reason == v1alpha1.ReasonCaptureFailed {
		if was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.CapturedCondition); was == nil || was.Reason != failed.Reason {
			events = append(events, event{corev1.EventTypeWarning, failed.Reason, "Capture", failed.Message})
		}
	}
	return events
}

func stalledReason(s *v1alpha1.CacheSnapshot) string {
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.StalledCondition); c != nil {
		return c.Reason
	}
	return ""
}
