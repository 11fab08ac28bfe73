package replacement

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
)

// Fact is what the condition Ready reports of a replacement.
type Fact struct {
	Reason, Message string
	// Stalled: only a person can bring it forward.
	Stalled bool
}

// Status is where a replacement that is asked for has come to; nil when none is.
func Status(cache *v1alpha1.GoCache, o pass.Observed, u *Unfulfilled) *Fact {
	switch in := cache.Status.VolumeReplacement; {
	case cache.Spec.Suspend && !Held(cache):
		return nil // what was begun rests
	case in != nil:
		reason := v1alpha1.ReasonReplacingVolume
		if len(in.Consumers) > 0 {
			reason = v1alpha1.ReasonWaitingForConsumers
		}
		return &Fact{Reason: reason, Message: replacing(cache)}
	case u != nil && u.Refused != "":
		return &Fact{Reason: v1alpha1.ReasonNotRestorable, Stalled: true, Message: fmt.Sprintf("The volume of PVC %s is not replaced (%s): %s", cache.Name, u.Reason, u.Refused)}
	case u != nil && u.Conflict != "":
		return &Fact{Reason: v1alpha1.ReasonConflict, Stalled: true, Message: fmt.Sprintf("The volume of PVC %s is not replaced (%s): %s", cache.Name, u.Reason, u.Conflict)}
	case u != nil && u.Reason != v1alpha1.ReplacementMigration:
		return &Fact{Reason: v1alpha1.ReasonWaiting, Message: fmt.Sprintf("The replacement of the volume of PVC %s (%s) waits for %s", cache.Name, u.Reason, u.WaitsFor)}
	}
	if why := failure(cache, o); why != "" {
		return &Fact{Reason: v1alpha1.ReasonVolumeReplacementFailed, Stalled: true, Message: why}
	}
	return nil
}

// replacing describes where a replacement has come to.
func replacing(cache *v1alpha1.GoCache) string {
	in := cache.Status.VolumeReplacement
	message := fmt.Sprintf("The volume of PVC %s is being replaced (%s, from CacheSnapshot %s)", cache.Name, in.Reason, in.Snapshot)
	if in.Message != "" {
		message += ": " + in.Message
	}
	if in.Failure != "" {
		message += "; the replacement is undone: " + in.Failure
	}
	return message
}

// failure is why what still is asked for was not done, and what to do.
func failure(cache *v1alpha1.GoCache, o pass.Observed) string {
	if last := failed(cache, v1alpha1.ReplacementRestore); last != nil && cache.Spec.Restore != nil {
		return fmt.Sprintf("spec.restore: CacheSnapshot %s was not restored: %s; set another requestID to try again", last.Snapshot, last.Failure)
	}
	if last := failed(cache, v1alpha1.ReplacementMigration); last != nil {
		if _, _, asked := migration(cache, o.PVC); asked {
			return fmt.Sprintf("spec.storage: the volume was not moved: %s; it is tried again %s later, or when spec.storage changes", last.Failure, retryAfter)
		}
	}
	if last := failed(cache, v1alpha1.ReplacementRollback); last != nil && pass.Corrupt(cache) {
		return fmt.Sprintf("The volume is Corrupt and could not be rolled back to CacheSnapshot %s: %s; it is tried again %s later", last.Snapshot, last.Failure, retryAfter)
	}
	return ""
}

// message is what a replacement waits for.
func message(out replacementrun.Outcome) string {
	d := out.Decision
	switch step := d.Step; {
	case step == replacement.WaitForSource || step == replacement.WaitForAdmission || step == replacement.WaitForIdle:
		return "waits for " + d.Detail
	case step == replacement.WaitForCheck:
		return "the new volume is being created and verified"
	case step == replacement.WaitForConsumers:
		return fmt.Sprintf("waits for %s to be gone", pods(out.Consumers))
	case step == replacement.Evict:
		if out.Objection != "" {
			return "an eviction was refused: " + out.Objection
		}
		return fmt.Sprintf("evicted %s and waits for them to be gone", pods(out.Consumers))
	case step == replacement.WaitForRetry:
		return "the check of the new volume was inconclusive and is repeated"
	default:
		return ""
	}
}

// pods lists pods, and counts those that are too many to name.
func pods(all []corev1.Pod) string {
	const most = 5
	var names []string
	for i := range all[:min(len(all), most)] {
		names = append(names, all[i].Name)
	}
	text := fmt.Sprintf("%d pods (%s", len(all), strings.Join(names, ", "))
	if len(all) == 1 {
		text = "pod (" + names[0]
	}
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text + ")"
}
