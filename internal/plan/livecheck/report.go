package livecheck

import (
	"fmt"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
)

// Answer is what the last check of a PVC answers to a report of a failed build that
// it was not made for; nil: nothing. A check that began after the report was created
// has read what that build used, or what is there in its place: another one would find
// the same. So many reports together cost two checks at most, the one that runs and
// one more for those that were created since it began.
//
// Volume is what the PVC has now. A check of a former volume answers only if it found
// it Corrupt.
func Answer(r *v1alpha1.CacheRequest, last *v1alpha1.IntegrityStatus, volume string) *request.Answer {
	switch {
	case r.Spec.Action != v1alpha1.RequestReportFailure, last == nil, last.StartTime == nil, last.CompletionTime == nil:
		return nil
	case !r.CreationTimestamp.Time.Truncate(time.Second).Before(last.StartTime.Time.Truncate(time.Second)): // as they are stored
		return nil
	case last.Cause == request.Of(r).Cause(): // its own check; the object answers
		return nil
	case last.InconclusiveAttempts > 0 && last.InconclusiveAttempts < MaxAttempts:
		return nil // another attempt follows
	}
	by := fmt.Sprintf("by the check that began at %s for %s", last.StartTime.UTC().Format(time.RFC3339), last.Cause)
	replaced := last.VolumeName != volume
	switch {
	case last.Verdict == v1alpha1.VerdictCorrupt && replaced:
		return &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: fmt.Sprintf("Corrupt, %s; the volume was replaced since: %s", by, last.Message)}
	case replaced:
		return nil
	case last.Verdict == v1alpha1.VerdictCorrupt:
		return &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: fmt.Sprintf("Corrupt, %s: %s", by, last.Message)}
	case last.Verdict == v1alpha1.VerdictIntact:
		return &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: fmt.Sprintf("Intact, %s: %d module versions and %d build entries hold what they should", by, last.Counts.Modules, last.Counts.BuildEntries)}
	}
	return &request.Answer{Outcome: v1alpha1.RequestFailed, Message: fmt.Sprintf("inconclusive after %d attempts, the last %s: %s", last.InconclusiveAttempts, by, last.Message)}
}
