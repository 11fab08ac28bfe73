package status

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// TestSnapshotState holds that the state of a snapshot on which work goes on is the step
// of this work, as in the column VERDICT of kubectl get, and not a verdict that may change.
func TestSnapshotState(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "because"}
	}
	progress := func(reason string) []metav1.Condition {
		return []metav1.Condition{
			condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, reason), condition(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, reason),
			condition(v1alpha1.VerifiedCondition, metav1.ConditionUnknown, reason),
		}
	}
	stalled := func(reason string) []metav1.Condition {
		return []metav1.Condition{
			condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, reason), condition(v1alpha1.StalledCondition, metav1.ConditionTrue, reason),
			condition(v1alpha1.VerifiedCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt),
		}
	}
	failing := []metav1.Condition{
		condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonError), condition(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonError),
		condition(v1alpha1.VerifiedCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt),
	}
	for name, tt := range map[string]struct {
		verdict    v1alpha1.Verdict
		conditions []metav1.Condition
		deleted    bool
		state      string
		level      Level
	}{
		"corrupt":                       {v1alpha1.VerdictCorrupt, stalled(v1alpha1.ReasonCorrupt), false, "Corrupt", LevelFailure},
		"corrupt, a repair failed":      {v1alpha1.VerdictCorrupt, stalled(v1alpha1.ReasonRepairFailed), false, "Corrupt", LevelFailure},
		"corrupt, and repaired":         {v1alpha1.VerdictCorrupt, progress(v1alpha1.ReasonRepairing), false, "Repairing", LevelProgress},
		"corrupt, a pass failed":        {v1alpha1.VerdictCorrupt, failing, false, "Corrupt", LevelFailure},
		"corrupt, and deleted":          {v1alpha1.VerdictCorrupt, stalled(v1alpha1.ReasonCorrupt), true, "Terminating", LevelProgress},
		"the offline build runs":        {v1alpha1.VerdictIntact, progress(v1alpha1.ReasonOfflineBuildRunning), false, "OfflineBuildRunning", LevelProgress},
		"inconclusive, and tried again": {v1alpha1.VerdictInconclusive, progress(v1alpha1.ReasonVerifying), false, "Verifying", LevelProgress},
		"no verdict":                    {"", progress(v1alpha1.ReasonVerifying), false, "Verifying", LevelProgress},
	} {
		s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "ci-1"}}
		s.Status.Verification.Verdict, s.Status.Conditions = tt.verdict, tt.conditions
		if tt.deleted {
			s.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1_800_000_000, 0)))
		}
		if n := (&objects{}).snapshot(s, false); n.State != tt.state || n.Level != tt.level {
			t.Errorf("%s: shown as %s (%s), want %s (%s)", name, n.State, n.Level, tt.state, tt.level)
		}
	}
}
