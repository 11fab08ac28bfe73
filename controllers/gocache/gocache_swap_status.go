package gocache

import (
	"fmt"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/conditions"
)

// setReplacement speaks of a volume that is being replaced, or ought to be, and
// says whether there is anything to say.
func (s *scope) setReplacement(set conditions.Set) bool {
	u := s.done.unfulfilled
	switch in := s.cache.Status.VolumeReplacement; {
	case s.cache.Spec.Suspend && !s.held():
		return false // what was begun rests
	case in != nil:
		reason := v1alpha1.ReasonReplacingVolume
		if len(in.Consumers) > 0 {
			reason = v1alpha1.ReasonWaitingForConsumers
		}
		set.Progress(reason, "%s", s.replacing(in))
	case u != nil && u.refused != "":
		set.Stall(v1alpha1.ReasonNotRestorable, "The volume of claim %s is not replaced (%s): %s", s.cache.Name, u.reason, u.refused)
	case u != nil && u.reason != v1alpha1.ReplacementMigration:
		set.Progress(v1alpha1.ReasonWaiting, "To replace the volume of claim %s (%s) waits for %s", s.cache.Name, u.reason, u.waits)
	case s.swapFailed() != "":
		set.Stall(v1alpha1.ReasonVolumeReplacementFailed, "%s", s.swapFailed())
	default:
		return false
	}
	return true
}

// replacing says where a swap has come to.
func (s *scope) replacing(in *v1alpha1.VolumeReplacementStatus) string {
	message := fmt.Sprintf("The volume of claim %s is being replaced (%s, from CacheSnapshot %s)", s.cache.Name, in.Reason, in.Snapshot)
	if in.Message != "" {
		message += ": " + in.Message
	}
	if in.Failure != "" {
		message += "; it is taken back: " + in.Failure
	}
	return message
}

// swapFailed says why what still is asked for was not done, and what to do.
func (s *scope) swapFailed() string {
	if last := s.failedSwap(v1alpha1.ReplacementRestore); last != nil && s.cache.Spec.Restore != nil {
		return fmt.Sprintf("spec.restore: CacheSnapshot %s was not restored: %s; set another requestID to try again", last.Snapshot, last.Failure)
	}
	if last := s.failedSwap(v1alpha1.ReplacementMigration); last != nil {
		if _, _, asked := s.migration(); asked {
			return fmt.Sprintf("spec.storage: the volume was not moved: %s; it is tried again %s later, or when spec.storage changes", last.Failure, retrySwap)
		}
	}
	if last := s.failedSwap(v1alpha1.ReplacementRollback); last != nil && pass.Corrupt(s.cache) {
		return fmt.Sprintf("The volume is Corrupt and could not be rolled back to CacheSnapshot %s: %s; it is tried again %s later", last.Snapshot, last.Failure, retrySwap)
	}
	return ""
}
