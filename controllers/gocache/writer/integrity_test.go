package writer

import (
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

// TestAnswerAfterRollback holds that a request whose check found the cache corrupt
// is answered after the volume was replaced, with the name of the snapshot.
func TestAnswerAfterRollback(t *testing.T) {
	t.Parallel()
	cache := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Integrity: &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}}}
	cache.Status = v1alpha1.GoCacheStatus{
		LatestVerifiedSnapshot: "good", Storage: v1alpha1.CacheStorageStatus{VolumeName: "p0"},
		Integrity: &v1alpha1.IntegrityStatus{
			VerificationStatus: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt, Message: "1 corrupt"}, VolumeName: "p0", Cause: "ReportFailure r/u",
		},
		Request: &v1alpha1.RequestStatus{Name: "r", UID: "u", Action: v1alpha1.RequestReportFailure, Outcome: v1alpha1.RequestAccepted},
	}
	w := &turn{cache: cache, Observed: pass.Observed{Stored: cache}}
	for _, stage := range []struct {
		change  func(*v1alpha1.GoCacheStatus)
		outcome v1alpha1.RequestOutcome
		message string
	}{
		{func(*v1alpha1.GoCacheStatus) {}, v1alpha1.RequestAccepted, "Corrupt: 1 corrupt; is rolled back"},
		{func(c *v1alpha1.GoCacheStatus) { c.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{} }, v1alpha1.RequestAccepted, "Corrupt: 1 corrupt; is rolled back"},
		{func(c *v1alpha1.GoCacheStatus) { c.Storage.VolumeName = "" }, v1alpha1.RequestAccepted, "Corrupt: 1 corrupt; is rolled back"},
		{func(c *v1alpha1.GoCacheStatus) {
			c.Storage.VolumeName, c.VolumeReplacement, c.Content = "p1", nil, &v1alpha1.ContentStatus{Snapshot: "good"}
		}, v1alpha1.RequestSucceeded, "Corrupt: 1 corrupt; rolled back to good"},
	} {
		stage.change(&cache.Status)
		w.answerCorrupt()
		if last := cache.Status.Request; last.Outcome != stage.outcome || last.Message != stage.message {
			t.Errorf("answer %+v, want %s %q", last, stage.outcome, stage.message)
		}
	}
}
