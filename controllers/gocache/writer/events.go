package writer

import (
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/kube/event"
	plan "gocache.dev/operator/internal/plan/writer"
)

// Events are those of runs that were recorded.
func Events(before, after *v1alpha1.GoCache) []event.Event {
	var events []event.Event
	if after.Status.WarmUp.Run != before.Status.WarmUp.Run {
		events = append(events, warmUpEvent(after))
		if n := after.Status.WarmUp.CorruptRemoved; n > 0 {
			events = append(events, event.Warning("CorruptEntriesRemoved", "WarmUp", "Removed %d corrupt files and directories from the cache PVC before the go command could use them: %s", n, after.Status.WarmUp.Message))
		}
	}
	if i := after.Status.Integrity; i != nil && (before.Status.Integrity == nil || i.Run != before.Status.Integrity.Run) {
		events = append(events, checkEvent(i))
	}
	events = append(events, cleanupEvents(before.Status.Cleanup, after.Status.Cleanup)...)
	if finding := toolchainFinding(before.Status.Toolchain, after.Status.Toolchain); finding != "" {
		events = append(events, event.Warning("ToolchainChanged", "WarmUp", "T%s", finding[1:]))
	}
	return events
}

// started is the event of a run that was started.
func started(action plan.Action, cause string) event.Event {
	switch action {
	case plan.Integrity:
		return event.Normal("CheckStarted", "Check", "Started a check of the cache PVC: %s", cause)
	case plan.Cleanup:
		return event.Normal("CleanupStarted", "Cleanup", "Started a cleanup: %s", cause)
	case plan.WarmUp:
	}
	return event.Normal("WarmUpStarted", "WarmUp", "Started a warm-up: %s", cause)
}

func checkEvent(i *v1alpha1.IntegrityStatus) event.Event {
	switch {
	case i.InconclusiveAttempts > 0 && i.Verdict != v1alpha1.VerdictCorrupt:
		return event.Warning("CheckInconclusive", "Check", "Check attempt %d of the cache PVC was inconclusive: %s", i.InconclusiveAttempts, i.Message)
	case i.Verdict == v1alpha1.VerdictCorrupt:
		return event.Warning(v1alpha1.ReasonCorrupt, "Check", "Found the cache PVC corrupt: %s; the condition Intact has the remedy", i.Message)
	default:
		return event.Normal("Checked", "Check", "Found the cache PVC intact: %d module versions and %d build entries", i.Counts.Modules, i.Counts.BuildEntries)
	}
}

// cleanupEvents report how a run of a cleanup ended, and whether the webhook was
// notified.
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
		events = append(events, event.Warning("WebhookFailed", "Cleanup", "The webhook was not notified of the plan %s (%d calls): %s", w.PlanDigest, w.Failures, w.Message))
	}
	return events
}

func cleanupEvent(before, c *v1alpha1.CleanupStatus) event.Event {
	removed := c.Freed != nil && c.Proof != nil && c.LastPlan != nil && c.LastPlan.Entries > 0 && !c.LastCleanTime.Equal(before.LastCleanTime)
	switch {
	case c.Paused != "":
		return event.Warning(v1alpha1.ReasonCleanupPaused, "Cleanup", "Paused cleanup because of the check %s", c.Message)
	case c.Outcome != v1alpha1.RunSucceeded:
		return event.Warning(v1alpha1.ReasonCleanupFailed, "Cleanup", "The cleanup failed: %s", c.Message)
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
		if failed := failedSources(w.Sources); len(failed) > 0 {
			return event.Warning("WarmedInPart", "WarmUp", "Warmed %d of %d sources in %s: %s", len(w.Sources)-len(failed), len(w.Sources), took, w.Message)
		}
		return event.Normal("Warmed", "WarmUp", "Warmed in %s: %d module versions, %d build entries", took, c.Status.Counts.Modules, c.Status.Counts.BuildEntries)
	case v1alpha1.RunInconclusive:
		return event.Warning("WarmUpDisrupted", "WarmUp", "The warm-up was disrupted: %s", w.Message)
	case v1alpha1.RunFailed:
	}
	return event.Warning(v1alpha1.ReasonWarmUpFailed, "WarmUp", "The warm-up failed: %s", w.Message)
}
