package cachesnapshot

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestVerdicts checks the verdict, the conditions and the events for each way in
// which the agent can end.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	contradiction := strings.Replace(intactReport, "Intact", "Corrupt", 1)
	tests := []struct {
		name     string
		ending   cluster.Ending
		verdict  v1alpha1.Verdict
		verified metav1.ConditionStatus
		attempts int32
		message  string
	}{
		{"intact", cluster.Ending{Message: intactReport}, v1alpha1.VerdictIntact, metav1.ConditionTrue, 1, "3 module versions and 7 build entries are intact"},
		{"corrupt", cluster.Ending{Exit: 3, Message: corruptReport}, v1alpha1.VerdictCorrupt, metav1.ConditionFalse, 1, "never offered: 1 corrupt"},
		{"evicted", cluster.Ending{Evicted: true}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "the pod was disrupted"},
		{"evicted, with a report of corruption", cluster.Ending{Evicted: true, Message: corruptReport}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "the pod was disrupted"},
		{"pod gone", cluster.Ending{Exit: 3, Lost: true}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "the pod is gone"},
		{"killed", cluster.Ending{Exit: 137}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "killed by signal 9"},
		{"no report", cluster.Ending{Exit: 0, Message: "hello"}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "left no report"},
		{"half a report", cluster.Ending{Exit: 0, Message: intactReport[:100]}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "left no report"},
		{"exit code and report disagree", cluster.Ending{Exit: 3, Message: intactReport}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "ended with exit code 3 and reported Intact"},
		{"a report that contradicts itself", cluster.Ending{Exit: 3, Message: contradiction}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "left no report"},
		{"usage", cluster.Ending{Exit: 2, Message: "unknown flag"}, v1alpha1.VerdictInconclusive, metav1.ConditionUnknown, verification.MaxAttempts, "left no report"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ending = &tt.ending
			w.cache()
			w.snapshot()
			w.settle()

			s := w.get()
			if v := s.Status.Verification; v.Verdict != tt.verdict || v.Attempts != tt.attempts {
				t.Errorf("verdict %s after %d attempts, want %s after %d", v.Verdict, v.Attempts, tt.verdict, tt.attempts)
			}
			verified := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.VerifiedCondition)
			if verified == nil || verified.Status != tt.verified {
				t.Errorf("condition Verified is %+v, want %s", verified, tt.verified)
			}
			if ready := meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ReadyCondition); ready != (tt.verdict == v1alpha1.VerdictIntact) {
				t.Errorf("Ready is %v with verdict %s", ready, tt.verdict)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if reported := w.reported(); !strings.Contains(reported, tt.message) {
				t.Errorf("events do not say %q:\n%s", tt.message, reported)
			}
		})
	}
}

// TestWaitsForItsSource checks that a snapshot may be created before its source,
// and reports that it waits for it.
func TestWaitsForItsSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot()
	w.passesWithoutSource()
	if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.ReadyCondition); c == nil || c.Reason != v1alpha1.ReasonSourceNotReady || !strings.Contains(c.Message, "There is no GoCache ci") {
		t.Errorf("Ready is %+v", c)
	}
	w.cache()
	w.settle()
	if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
		t.Errorf("verdict %q once the source is there", v)
	}
}

// passesWithoutSource reconciles some times while the source does not exist.
func (w *world) passesWithoutSource() {
	w.t.Helper()
	for range 4 {
		_, err := w.pass(w.t.Context())
		w.must(err)
	}
}

// TestSnapshotFails checks that the error of the CSI driver is reported, and that
// the snapshot stalls at the deadline.
func TestSnapshotFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.SnapshotError = "the array is on fire"
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
		s.Verification.Deadline = &metav1.Duration{Duration: time.Minute}
	})
	w.settle()
	s := w.get()
	stalled := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonDeadlineExceeded || !strings.Contains(stalled.Message, "on fire") {
		t.Errorf("Stalled is %+v", stalled)
	}
	if s.Status.Verification.Verdict != "" {
		t.Errorf("a snapshot that was never cut has verdict %s", s.Status.Verification.Verdict)
	}
	if reported := w.reported(); strings.Count(reported, "on fire") < 1 {
		t.Errorf("events: %s", reported)
	}
}

// TestSkip checks that a snapshot with verification mode Skip is created and never
// verified.
func TestSkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) { s.Verification.Mode = v1alpha1.VerificationSkip })
	w.settle()
	s := w.get()
	if !meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.SnapshotReadyCondition) || meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.VerifiedCondition) {
		t.Errorf("conditions %+v", s.Status.Conditions)
	}
	if left := w.left(); len(left) > 0 {
		t.Errorf("made for a snapshot that nobody verifies: %v", left)
	}
}
