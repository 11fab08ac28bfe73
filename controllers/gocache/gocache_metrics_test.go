package gocache

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/scrape"
)

// TestCount holds that each run is counted once, when it is recorded.
func TestCount(t *testing.T) {
	t.Parallel()
	const label = "TestCount" // no run of another test has it
	start, end := metav1.NewTime(time.Unix(1_700_000_000, 0)), metav1.NewTime(time.Unix(1_700_000_060, 0))
	before, after := &v1alpha1.GoCache{}, &v1alpha1.GoCache{}
	after.Status = v1alpha1.GoCacheStatus{
		WarmUp:    v1alpha1.WarmUpStatus{Run: "1", Outcome: label, StartTime: &start, CompletionTime: &end},
		Integrity: &v1alpha1.IntegrityStatus{VerificationStatus: v1alpha1.VerificationStatus{Run: "1", Verdict: label, CompletionTime: &end}, StartTime: &start},
		Cleanup: &v1alpha1.CleanupStatus{
			Run: "1", Outcome: label, LastCleanTime: &end, LastPlan: &v1alpha1.CleanupPlan{Entries: 1}, Freed: ptr.To(resource.MustParse("1Pi")),
		},
		LastVolumeReplacement: &v1alpha1.VolumeReplacementResult{Reason: label, Failure: "no room", StartTime: start, CompletionTime: end},
	}
	count(before, after)
	count(after, after)
	for name, labels := range map[string][]string{
		"gocache_warm_up_duration_seconds":            {"outcome", label},
		"gocache_check_duration_seconds":              {"verdict", label},
		"gocache_cleanup_runs_total":                  {"outcome", label},
		"gocache_volume_replacement_duration_seconds": {"kind", v1alpha1.GoCacheKind, "reason", label, "result", "Failed"},
	} {
		if got := scrape.Value(t, metrics.Registry, name, labels...); got != 1 {
			t.Errorf("%s%v is %v, want 1", name, labels, got)
		}
	}
	if got := scrape.Value(t, metrics.Registry, "gocache_cleanup_freed_bytes_total"); got < 1<<50 || got >= 1<<51 {
		t.Errorf("%v bytes were freed, want 1Pi once", got)
	}
}
