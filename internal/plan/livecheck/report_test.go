package livecheck_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/livecheck"
)

// TestAnswer holds which check answers a report that it was not made for.
func TestAnswer(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 11, 29, 8, 0, 0, 900_000_000, time.UTC)
	check := func(change func(*v1alpha1.IntegrityStatus)) *v1alpha1.IntegrityStatus {
		began, ended := metav1.NewTime(created.Add(time.Second)), metav1.NewTime(created.Add(time.Minute))
		s := &v1alpha1.IntegrityStatus{VolumeName: "p0", Cause: "ReportFailure other/v", StartTime: &began}
		s.Verdict, s.Message, s.CompletionTime = v1alpha1.VerdictIntact, "", &ended
		s.Counts.Modules, s.Counts.BuildEntries = 3, 7
		change(s)
		return s
	}
	const succeeded, failed = v1alpha1.RequestSucceeded, v1alpha1.RequestFailed
	for name, tt := range map[string]struct {
		last    *v1alpha1.IntegrityStatus
		action  v1alpha1.RequestAction
		want    v1alpha1.RequestOutcome
		message string
	}{
		"none yet":             {},
		"one after it":         {last: check(func(*v1alpha1.IntegrityStatus) {}), want: succeeded, message: "Intact, by the check that began at 2026-11-29T08:00:01Z for ReportFailure other/v: 3 module versions and 7 build entries"},
		"one by schedule":      {last: check(func(s *v1alpha1.IntegrityStatus) { s.Cause = "scheduled for x" }), want: succeeded, message: "for scheduled for x: 3 module"},
		"one that runs":        {last: check(func(s *v1alpha1.IntegrityStatus) { s.CompletionTime = nil })},
		"one in its second":    {last: check(func(s *v1alpha1.IntegrityStatus) { s.StartTime = &metav1.Time{Time: created.Truncate(time.Second)} })},
		"one before it":        {last: check(func(s *v1alpha1.IntegrityStatus) { s.StartTime = &metav1.Time{Time: created.Add(-time.Minute)} })},
		"its own":              {last: check(func(s *v1alpha1.IntegrityStatus) { s.Cause = "ReportFailure r/u" })},
		"of another action":    {last: check(func(*v1alpha1.IntegrityStatus) {}), action: v1alpha1.RequestCheckIntegrity},
		"of the volume before": {last: check(func(s *v1alpha1.IntegrityStatus) { s.VolumeName = "p-" })},
		"corrupt":              {last: check(func(s *v1alpha1.IntegrityStatus) { s.Verdict, s.Message = v1alpha1.VerdictCorrupt, "1 corrupt" }), want: succeeded, message: "Corrupt, by the check that began at 2026-11-29T08:00:01Z for ReportFailure other/v: 1 corrupt"},
		"corrupt, and rolled back": {last: check(func(s *v1alpha1.IntegrityStatus) {
			s.Verdict, s.VolumeName, s.Message = v1alpha1.VerdictCorrupt, "p-", "1 corrupt"
		}),
			want: succeeded, message: "; the volume was replaced since: 1 corrupt"},
		"another attempt follows":   {last: check(func(s *v1alpha1.IntegrityStatus) { s.Verdict, s.InconclusiveAttempts = v1alpha1.VerdictInconclusive, 1 })},
		"doubt about a corrupt one": {last: check(func(s *v1alpha1.IntegrityStatus) { s.Verdict, s.InconclusiveAttempts = v1alpha1.VerdictCorrupt, 1 })},
		"no attempt follows": {last: check(func(s *v1alpha1.IntegrityStatus) {
			s.Verdict, s.InconclusiveAttempts, s.Message = v1alpha1.VerdictInconclusive, livecheck.MaxAttempts, "evicted"
		}), want: failed, message: "inconclusive after 3 attempts, the last by the check that began at 2026-11-29T08:00:01Z for ReportFailure other/v: evicted"},
	} {
		r := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "u", CreationTimestamp: metav1.NewTime(created)}}
		r.Spec.Action = v1alpha1.RequestReportFailure
		if tt.action != "" {
			r.Spec.Action = tt.action
		}
		got := livecheck.Answer(r, tt.last, "p0")
		switch {
		case got == nil && tt.want != "":
			t.Errorf("%s: no answer, want %s", name, tt.want)
		case got != nil && (got.Outcome != tt.want || !strings.Contains(got.Message, tt.message)):
			t.Errorf("%s: %+v, want %q, %q", name, got, tt.want, tt.message)
		}
	}
}
