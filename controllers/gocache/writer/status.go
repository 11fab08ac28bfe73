package writer

import (
	"fmt"
	"strings"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/plan/cleanup"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/warmup"
	plan "gocache.dev/operator/internal/plan/writer"
)

// Status is what there is to report of the writer: facts for conditions.
type Status struct {
	// Warm, Intact and Clean are the conditions of these names; nil: absent.
	Warm, Intact, Clean *pass.Fact
	// Warming: a warm-up was started and has not ended. WarmingReason is the reason
	// of a condition, and WarmingMessage a sentence about a warm-up whose pod runs
	// or does not run yet.
	Warming                       bool
	WarmingReason, WarmingMessage string
	// Because is what a warm-up that is due waits for, Found is what the last
	// warm-up that succeeded found worth a look, and Next when one that failed is
	// repeated. Each continues a sentence, and may be empty.
	Because, Found, Next string
	// Corrupt describes what is corrupt, and what is done about it; empty unless
	// the cache PVC is Corrupt.
	Corrupt string
	// Pending describes the run that cannot begin and each action that waits.
	Pending string
}

// Status of the writer, after a pass with this result.
func (r Result) Status(cache *v1alpha1.GoCache, o pass.Observed) Status {
	t := &turn{Observed: o, cache: cache, out: r}
	s := Status{
		Warm: t.warm(), Intact: t.intact(), Clean: t.clean(),
		Warming: t.working(plan.WarmUp), Because: t.because(), Found: t.found(), Next: t.nextWarmUp(), Pending: t.pending(),
	}
	s.WarmingReason, s.WarmingMessage = t.warming()
	if pass.Corrupt(cache) {
		s.Corrupt = t.corruptMessage()
	}
	return s
}

func (t *turn) pending() string {
	var text string
	if action, known := actionOf(t.Writer); known && t.Hindrance != "" {
		text += "; " + action.title() + " does not run: " + t.hindrance()
	}
	for _, action := range actions() {
		if why := t.out.Waits[action.name()]; why != "" {
			text += fmt.Sprintf("; %s is due and waits: %s", action.title(), why)
		}
	}
	return text
}

func (t *turn) warm() *pass.Fact {
	w := t.cache.Status.WarmUp
	switch {
	case t.NeverWarmed(t.cache) && t.working(plan.WarmUp):
		reason, message := t.warming()
		return pass.False(reason, "%s", message)
	case t.NeverWarmed(t.cache):
		return pass.False(v1alpha1.ReasonWaiting, "Not warmed yet%s", t.because())
	case t.Restored(t.cache):
		return pass.True(v1alpha1.ReasonWarmedUp, "Restored from CacheSnapshot %s: %d module versions and %d build entries", t.cache.Status.Content.Snapshot, t.cache.Status.Counts.Modules, t.cache.Status.Counts.BuildEntries)
	case w.Outcome == v1alpha1.RunSucceeded:
		return pass.True(v1alpha1.ReasonWarmedUp, "%d module versions and %d build entries%s", t.cache.Status.Counts.Modules, t.cache.Status.Counts.BuildEntries, t.found())
	case tooOld(w):
		return pass.False(v1alpha1.ReasonToolchainTooOld, "%s", TooOld(t.cache))
	case w.Outcome == v1alpha1.RunInconclusive:
		return pass.Unknown(v1alpha1.ReasonInconclusive, "The last warm-up was disrupted: %s%s", w.Message, t.nextWarmUp())
	default:
		return pass.False(v1alpha1.ReasonWarmUpFailed, "The last warm-up failed (%d in a row): %s%s", w.Failures, w.Message, t.nextWarmUp())
	}
}

// warming is the reason and the sentence about a warm-up that was started: its
// pod runs, does not run yet, or cannot.
func (t *turn) warming() (reason, message string) {
	what := "The warm-up"
	if t.NeverWarmed(t.cache) {
		what = "The first warm-up"
	}
	switch {
	case t.Run.Ready && t.out.Started == "":
		return v1alpha1.ReasonWarming, what + " runs"
	case t.Hindrance != "":
		return v1alpha1.ReasonWarmUpPending, what + " does not run: " + t.hindrance()
	default:
		return v1alpha1.ReasonWarmUpPending, what + " has not started: its pod does not run yet"
	}
}

// nextWarmUp is when a warm-up that failed is repeated.
func (t *turn) nextWarmUp() string {
	w := t.cache.Status.WarmUp
	if w.Failures == 0 || tooOld(w) || w.CompletionTime == nil || t.out.Waits[plan.WarmUp] != "" || t.working(plan.WarmUp) {
		return ""
	}
	return pass.At("next attempt", w.CompletionTime.Add(warmup.Pause(w.Failures)))
}

func (t *turn) intact() *pass.Fact {
	switch i := t.cache.Status.Integrity; {
	case i == nil && t.cache.Spec.Integrity == nil:
		return nil
	case i == nil && t.working(plan.Integrity):
		return pass.Unknown(v1alpha1.ReasonProgressing, "The first check of the cache PVC is running")
	case i == nil:
		return pass.Unknown(v1alpha1.ReasonWaiting, "The cache PVC was not checked yet")
	case i.VolumeName != t.cache.Status.Storage.VolumeName:
		return pass.Unknown(v1alpha1.ReasonWaiting, "The volume that was checked last was replaced, and the present one was not checked yet")
	case i.Verdict == v1alpha1.VerdictCorrupt:
		return pass.False(v1alpha1.ReasonCorrupt, "%s", t.corruptMessage())
	case i.Verdict == v1alpha1.VerdictIntact:
		return pass.True(v1alpha1.ReasonIntact, "Checked in %s: %s", i.CompletionTime.Sub(i.StartTime.Time), t.intactMessage())
	default:
		return pass.Unknown(v1alpha1.ReasonInconclusive, "Attempt %d of %d was inconclusive: %s%s", i.InconclusiveAttempts, livecheck.MaxAttempts, i.Message, t.nextCheck())
	}
}

// nextCheck is when an inconclusive check is repeated.
func (t *turn) nextCheck() string {
	i := t.cache.Status.Integrity
	if i.CompletionTime == nil || i.InconclusiveAttempts == 0 || i.InconclusiveAttempts >= livecheck.MaxAttempts {
		return ""
	}
	return pass.At("next attempt", i.CompletionTime.Add(livecheck.Pause(i.InconclusiveAttempts)))
}

// nextCleanup is when a cleanup that failed is repeated.
func (t *turn) nextCleanup() string {
	c := t.cache.Status.Cleanup
	if c.CompletionTime == nil {
		return ""
	}
	return pass.At("next attempt", c.CompletionTime.Add(cleanup.Pause(c.Failures)))
}

func (t *turn) clean() *pass.Fact {
	c := t.cache.Status.Cleanup
	if t.cache.Spec.Cleanup == nil {
		return nil
	}
	if c == nil || c.CompletionTime == nil {
		return pass.Unknown(v1alpha1.ReasonWaiting, "No plan was made yet; it is made by spec.cleanup.schedule and on request")
	}
	plan := c.LastPlan
	switch {
	case c.Paused != "":
		return pass.False(v1alpha1.ReasonCleanupPaused, "%s; it is made again by schedule, on request, and after a warm-up", sentence(t.pausedMessage()))
	case c.Failures > 0:
		return pass.False(v1alpha1.ReasonCleanupFailed, "The last cleanup failed (%d in a row): %s%s", c.Failures, c.Message, t.nextCleanup())
	case t.planWaits():
		return pass.False(v1alpha1.ReasonApprovalRequired, "%s%s", sentence(t.planMessage()), t.notNotified())
	case plan != nil && plan.Open:
		return pass.False(v1alpha1.ReasonProgressing, "The plan %s is to be applied: %d entries, %s", plan.Digest, plan.Entries, mebibytes(plan.Bytes))
	case plan != nil && plan.OverBytes > 0:
		return pass.False(v1alpha1.ReasonBoundUnreachable, "What the last warm-up used exceeds spec.cleanup.maxSize by %s, and is never removed: raise maxSize or warm less", mebibytes(plan.OverBytes))
	case t.unproven():
		return pass.True(v1alpha1.ReasonWithinBounds, "Cleaned: %s; %s", t.freed(), t.unprovenMessage())
	default:
		return pass.True(v1alpha1.ReasonWithinBounds, "Within the bounds: %s", t.freed())
	}
}

// notNotified reports that the webhook could not be notified of the plan that
// waits.
func (t *turn) notNotified() string {
	w, plan := t.cache.Status.Cleanup.Webhook, t.cache.Status.Cleanup.LastPlan
	if t.cache.Spec.Cleanup.Webhook == nil || w == nil || w.PlanDigest != plan.Digest || w.DeliveredTime != nil || w.Failures == 0 {
		return ""
	}
	return fmt.Sprintf("; the webhook was not notified (%d calls): %s", w.Failures, w.Message)
}

// freed is what the last cleanup removed.
func (t *turn) freed() string {
	c := t.cache.Status.Cleanup
	if c.Freed == nil {
		return "nothing was to be removed"
	}
	return fmt.Sprintf("the last plan that was applied removed %s", mebibytes(c.Freed.Value()))
}

// found is what a warm-up that succeeded found worth a look.
func (t *turn) found() string {
	if t.cache.Status.WarmUp.Message == "" {
		return ""
	}
	return "; " + t.cache.Status.WarmUp.Message + t.nextWarmUp()
}

// hindrance is what keeps the writer's pod from running.
func (t *turn) hindrance() string { return bounded.Text(t.Hindrance, 4096) }

// because is what a warm-up that is due waits for.
func (t *turn) because() string {
	if t.out.Waits[plan.WarmUp] == "" {
		return ""
	}
	return ": " + t.out.Waits[plan.WarmUp]
}

// sentence begins a text with a capital.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
