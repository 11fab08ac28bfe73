package gocache

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/plan/writer"
)

// emit records what became different in the status, and what this pass did
// because of it.
func (r *Reconciler) emit(s *scope) {
	event.Record(r.Events, s.cache, append(became(s.Stored, s.cache), s.did()...))
}

// did are the events of the pass's own acts.
func (s *scope) did() []event.Event {
	events := s.result.Events
	switch s.done.began {
	case writer.WarmUp:
		events = append(events, event.Normal("WarmUpStarted", "WarmUp", "Started a warm-up: %s", s.done.beganFor))
	case writer.Integrity:
		events = append(events, event.Normal("CheckStarted", "Check", "Started a check of the live claim: %s", s.done.beganFor))
	case writer.Cleanup:
		events = append(events, event.Normal("CleanupStarted", "Cleanup", "Started a cleaning: %s", s.done.beganFor))
	}
	return events
}

// became compares two states of one cache.
func became(before, after *v1alpha1.GoCache) []event.Event {
	var events []event.Event
	if after.Status.WarmUp.Run != before.Status.WarmUp.Run {
		events = append(events, warmUpEvent(after))
	}
	events = append(events, storageEvents(before, after)...)
	if i := after.Status.Integrity; i != nil && (before.Status.Integrity == nil || i.Run != before.Status.Integrity.Run) {
		events = append(events, checkEvent(i))
	}
	events = append(events, cleanupEvents(before.Status.Cleanup, after.Status.Cleanup)...)
	if latest := after.Status.LatestVerifiedSnapshot; latest != "" && latest != before.Status.LatestVerifiedSnapshot {
		events = append(events, event.Normal("SnapshotOffered", "Publish", "Offered CacheSnapshot %s: consumers get clones of it from now on", latest))
	}
	if finding := toolchainFinding(before.Status.Toolchain, after.Status.Toolchain); finding != "" {
		events = append(events, event.Warning("ToolchainChanged", "WarmUp", "T%s", finding[1:]))
	}
	events = append(events, repositoryEvents(before, after)...)
	events = append(events, replacement.Events(before, after)...)
	events = append(events, event.Refused(before.Status.LastHandledRequest, after.Status.LastHandledRequest)...)
	return append(events, event.Stalled(before.Status.Conditions, after.Status.Conditions)...)
}

// repositoryEvents tell which repositories answer no more, or again.
func repositoryEvents(before, after *v1alpha1.GoCache) []event.Event {
	told := map[string]string{}
	for _, r := range before.Status.WarmUp.Revisions {
		told[r.URL+" "+r.Ref] = r.Message
	}
	var events []event.Event
	for _, r := range after.Status.WarmUp.Revisions {
		switch was := told[r.URL+" "+r.Ref]; {
		case r.Message != "" && was == "":
			events = append(events, event.Warning("SourceUnreadable", "WarmUp", "The %s", unread(r)))
		case r.Message == "" && was != "":
			events = append(events, event.Normal("SourceReadable", "WarmUp", "The repository %s is read again, at commit %s", r.URL, short(r.Commit)))
		}
	}
	return events
}

// storageEvents tell that the claim has grown, or cannot.
func storageEvents(before, after *v1alpha1.GoCache) []event.Event {
	had, has := before.Status.Storage, after.Status.Storage
	if had.VolumeName == has.VolumeName && had.Capacity != nil && has.Capacity != nil && has.Capacity.Cmp(*had.Capacity) > 0 {
		return []event.Event{event.Normal("StorageGrown", "Grow", "Claim %s has grown from %s to %s", has.PersistentVolumeClaimName, had.Capacity, has.Capacity)}
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.StorageSufficientCondition)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.StorageSufficientCondition)
	if is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	switch is.Reason {
	case v1alpha1.ReasonGrowthRefused, v1alpha1.ReasonAtLimit:
		return []event.Event{event.Warning(is.Reason, "Grow", "%s", is.Message)}
	default:
		return nil
	}
}

func checkEvent(i *v1alpha1.IntegrityStatus) event.Event {
	switch {
	case i.InconclusiveAttempts > 0 && i.Verdict != v1alpha1.VerdictCorrupt:
		return event.Warning("CheckInconclusive", "Check", "Attempt %d could not tell whether the live claim is intact: %s", i.InconclusiveAttempts, i.Message)
	case i.Verdict == v1alpha1.VerdictCorrupt:
		return event.Warning(v1alpha1.ReasonCorrupt, "Check", "Found the live claim corrupt: %s; the condition Intact says what to do", i.Message)
	default:
		return event.Normal("Checked", "Check", "Found the live claim intact: %d module versions and %d build entries", i.Counts.Modules, i.Counts.BuildEntries)
	}
}

// cleanupEvents tell how a run of a cleaning ended, and whether the webhook was
// told.
func cleanupEvents(before, c *v1alpha1.CleanupStatus) []event.Event {
	if c == nil {
		return nil
	}
	if before == nil {
		before = &v1alpha1.CleanupStatus{}
	}
	var events []event.Event
	if c.Run != before.Run {
		events = append(events, cleanupEvent(before, c))
	}
	if w := c.Webhook; w != nil && w.Failures > 0 && (before.Webhook == nil || w.PlanDigest != before.Webhook.PlanDigest || w.Failures != before.Webhook.Failures) {
		events = append(events, event.Warning("WebhookFailed", "Cleanup", "Could not tell the webhook of the plan %s (%d calls): %s", w.PlanDigest, w.Failures, w.Message))
	}
	return events
}

func cleanupEvent(before, c *v1alpha1.CleanupStatus) event.Event {
	removed := c.Freed != nil && c.Proof != nil && c.LastPlan != nil && c.LastPlan.Entries > 0 && !c.LastCleanTime.Equal(before.LastCleanTime)
	switch {
	case c.Paused != "":
		return event.Warning(v1alpha1.ReasonCleanupPaused, "Cleanup", "Paused cleaning by the check %s", c.Message)
	case c.Outcome != v1alpha1.RunSucceeded:
		return event.Warning(v1alpha1.ReasonCleanupFailed, "Cleanup", "A cleaning could not be done: %s", c.Message)
	case c.LastPlan != nil && c.LastPlan.Open:
		return event.Normal("CleanupPlanned", "Cleanup", "Planned to remove %d entries, %s: %s", c.LastPlan.Entries, mebibytes(c.LastPlan.Bytes), c.LastPlan.Digest)
	case removed && c.Proof.Result != string(cleanup.Pass):
		return event.Warning("NotProvenWarm", "Cleanup", "Removed %d entries and did not prove the cache warm, so a warm-up is due: %s", c.Removed, c.Proof.Message)
	case removed:
		return event.Normal("Cleaned", "Cleanup", "Removed %d entries, %s; the last warm-up's builds need none of them", c.Removed, mebibytes(c.Freed.Value()))
	default:
		return event.Normal("CleanupNotNeeded", "Cleanup", "Found nothing to remove")
	}
}

func warmUpEvent(c *v1alpha1.GoCache) event.Event {
	w := c.Status.WarmUp
	switch w.Outcome {
	case v1alpha1.RunSucceeded:
		var took time.Duration
		if w.StartTime != nil && w.CompletionTime != nil {
			took = w.CompletionTime.Sub(w.StartTime.Time)
		}
		return event.Normal("Warmed", "WarmUp", "Warmed in %s: %d module versions, %d build entries", took, c.Status.Counts.Modules, c.Status.Counts.BuildEntries)
	case v1alpha1.RunInconclusive:
		return event.Warning("WarmUpDisrupted", "WarmUp", "The warm-up was disrupted: %s", w.Message)
	case v1alpha1.RunFailed:
	}
	return event.Warning(v1alpha1.ReasonWarmUpFailed, "WarmUp", "The warm-up failed: %s", w.Message)
}
