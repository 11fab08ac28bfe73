package replacement

import (
	"fmt"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// IntentOf returns the intent in a status. No status is no intent: there is
// nothing to decide on.
func IntentOf(s *v1alpha1.VolumeReplacementStatus) Intent {
	i := Intent{Started: s.StartTime.Time, Old: s.PreviousVolume, New: s.NextVolume, GivenUp: s.Failure != "", Attempts: s.Check.Attempts, Recorded: s.Check.Run}
	if s.Check.CompletionTime != nil {
		i.RecordedAt = s.Check.CompletionTime.Time
	}
	return i
}

// Record writes the outcome of a check into the intent. An Intact verdict names
// both volumes, so that they are exchanged; any other final one gives up. The
// digest is that of the snapshot that was restored; a new volume with another
// one does not hold what was verified, whatever it holds. An empty one compares
// nothing. Old and next are the volumes that the PVCs are bound to; a verdict
// on a PVC without one is no verdict.
func Record(s *v1alpha1.VolumeReplacementStatus, check v1alpha1.VerificationStatus, old, next, digest string) {
	if check.Verdict == v1alpha1.VerdictIntact && next == "" {
		check.Verdict, check.Message = v1alpha1.VerdictInconclusive, "the check ended, but the PersistentVolumeClaim that it checked is not bound to a volume"
	}
	check.Attempts = s.Check.Attempts + 1
	s.Check = check
	switch {
	case check.Verdict == v1alpha1.VerdictIntact && digest != "" && check.Digest != digest:
		s.Failure = fmt.Sprintf("the new volume holds something else than %s: its digest is %s, and not %s", s.Snapshot, check.Digest, digest)
	case check.Verdict == v1alpha1.VerdictIntact:
		s.PreviousVolume, s.NextVolume = old, next
	case check.Verdict == v1alpha1.VerdictCorrupt:
		s.Failure = "the new volume is Corrupt: " + check.Message
	case check.Attempts >= MaxAttempts:
		s.Failure = fmt.Sprintf("the new volume could not be verified in %d attempts: %s", check.Attempts, check.Message)
	}
	s.Failure = truncate(s.Failure)
}

// maxFailure is the bound of the schema.
const maxFailure = 1024

func truncate(text string) string {
	if len(text) <= maxFailure {
		return text
	}
	n := maxFailure - len("...")
	for n > 0 && !utf8.RuneStart(text[n]) { // half a character is no valid text
		n--
	}
	return text[:n] + "..."
}

// Result is the record of a replacement that has ended.
func Result(s *v1alpha1.VolumeReplacementStatus, now time.Time) *v1alpha1.VolumeReplacementResult {
	return &v1alpha1.VolumeReplacementResult{
		Reason: s.Reason, Snapshot: s.Snapshot, StorageClassName: s.StorageClassName, Size: s.Size,
		Failure: s.Failure, PreviousVolume: s.PreviousVolume, StartTime: s.StartTime, CompletionTime: metav1.NewTime(now),
	}
}
