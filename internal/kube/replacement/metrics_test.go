package replacement_test

import (
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
)

// series is what was recorded of the replacements of a kind with a result.
func series(t *testing.T, kind, reason, result string) *dto.Histogram {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "gocache_volume_replacement_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["kind"] == kind && labels["reason"] == reason && labels["result"] == result {
				return m.GetHistogram()
			}
		}
	}
	return nil
}

// TestCount holds that a replacement is recorded once, when it has ended, with how long
// it took; and that the series are there before.
func TestCount(t *testing.T) {
	start := metav1.NewTime(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	ended := func(after time.Duration, failure string) *v1alpha1.VolumeReplacementResult {
		return &v1alpha1.VolumeReplacementResult{
			Reason: v1alpha1.ReplacementRestore, StartTime: start, CompletionTime: metav1.NewTime(start.Add(after)), Failure: failure,
		}
	}
	for name, tt := range map[string]struct {
		before, after *v1alpha1.VolumeReplacementResult
		result        string
		seconds       float64
	}{
		"none":           {nil, nil, "Succeeded", 0},
		"the first":      {nil, ended(time.Minute, ""), "Succeeded", 60},
		"another":        {ended(time.Minute, ""), ended(90*time.Second, ""), "Succeeded", 90},
		"the same":       {ended(time.Minute, ""), ended(time.Minute, ""), "Succeeded", 0},
		"one that fails": {nil, ended(30*time.Second, "no space"), "Failed", 30},
	} {
		was := series(t, "GoCache", "Restore", tt.result)
		if was == nil {
			t.Fatalf("%s: no series", name)
		}
		replacementrun.Count("GoCache", tt.before, tt.after)
		is := series(t, "GoCache", "Restore", tt.result)
		n := uint64(0)
		if tt.seconds > 0 {
			n = 1
		}
		if is.GetSampleCount()-was.GetSampleCount() != n || is.GetSampleSum()-was.GetSampleSum() != tt.seconds {
			t.Errorf("%s: %d more, %f s more", name, is.GetSampleCount()-was.GetSampleCount(), is.GetSampleSum()-was.GetSampleSum())
		}
	}
	for _, reason := range []string{"Restore", "RequestedRollback", "Rollback", "Migration"} {
		for _, result := range []string{"Succeeded", "Failed"} {
			if series(t, "ModProxy", reason, result) == nil {
				t.Errorf("no series of %s, %s", reason, result)
			}
		}
	}
}
