package cachesnapshot

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/scrape"
)

// TestCount holds that each attempt and each stage is counted once, when it is
// recorded.
func TestCount(t *testing.T) {
	t.Parallel()
	const label = "TestCount" // no snapshot of another test has it
	before := &v1alpha1.CacheSnapshot{Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: label}}}
	before.Status.Stages = []v1alpha1.StageStatus{{Name: label}}
	after := before.DeepCopy()
	minute := &metav1.Duration{Duration: time.Minute}
	work := v1alpha1.WorkStatus{Run: "1", Outcome: label}
	after.Status = v1alpha1.CacheSnapshotStatus{
		Verification: v1alpha1.VerificationStatus{Run: "1", Verdict: label, Bytes: 1, Duration: minute},
		Stages:       []v1alpha1.StageStatus{{Name: label, Duration: minute}},
		Repair:       &v1alpha1.RepairStatus{WorkStatus: work},
		OfflineBuild: &v1alpha1.OfflineBuildStatus{WorkStatus: work},
	}
	count(before, after)
	count(after, after)
	for name, labels := range map[string][]string{
		"gocache_verifications_total":             {"source_kind", label, "verdict", label},
		"gocache_verification_duration_seconds":   {"source_kind", label},
		"gocache_verification_read_bytes_total":   {"source_kind", label},
		"gocache_snapshot_stage_duration_seconds": {"stage", label},
		"gocache_repairs_total":                   {"outcome", label},
		"gocache_offline_builds_total":            {"outcome", label},
	} {
		if got := scrape.Value(t, metrics.Registry, name, labels...); got != 1 {
			t.Errorf("%s%v is %v, want 1", name, labels, got)
		}
	}
}
