package replacement

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/replacement"
)

// complainAfter is the age of a PVC from which an error of its provisioner counts.
const complainAfter = 10 * time.Second

// copyInstead records that the content has to be copied if the driver refuses a clone
// that is larger than its snapshot. Only the attempt shows that: no property of a
// driver does. It counts as an attempt, so that the PVC and the Job are created again.
func (a *attempt) copyInstead(ctx context.Context, out replacementrun.Outcome, c *v1alpha1.CacheSnapshot) error {
	intent, next := a.cache.Status.VolumeReplacement, out.Next
	if out.Decision.Step != replacement.WaitForCheck || intent.Copied || c == nil || next == nil || next.Spec.VolumeName != "" {
		return nil
	}
	if own := volume.CloneSize(c); own.IsZero() || intent.Size.Cmp(own) <= 0 {
		return nil
	}
	a.out.WakeIn(complainAfter) // no watch reports the errors of a provisioner
	if a.Now.Sub(next.CreationTimestamp.Time) < complainAfter {
		return nil
	}
	complaint, err := volume.Complaint(ctx, a.Live, next)
	if err != nil || !volume.RefusesSize(complaint) {
		return err
	}
	intent.Copied = true
	intent.Message = bounded.Text("the driver makes no clone that is larger than the snapshot, so that its content is copied: "+complaint, maxText)
	refused := v1alpha1.VerificationStatus{
		Verdict: v1alpha1.VerdictInconclusive, Run: out.Check.Run, Message: intent.Message, CompletionTime: ptr.To(metav1.NewTime(a.Now)),
	}
	replacement.Record(intent, refused, "", "", "")
	return nil
}
