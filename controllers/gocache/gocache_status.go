package gocache

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/writer"
)

// setConditions writes all conditions from the facts of the pass and its error.
func (s *scope) setConditions(failed error) {
	status := &s.cache.Status
	status.ObservedGeneration = s.cache.Generation
	set := conditions.Set{Conditions: &status.Conditions, Generation: s.cache.Generation, Now: s.Now}
	if failed == nil {
		failed = s.invalid()
	}
	if set.Fail(failed) {
		return
	}
	s.setClaimBound(set)
	s.setWarm(set)
	s.setIntact(set)
	s.setStorage(set)
	s.setClean(set)
	switch fact := replacement.Status(s.cache, s.Observed, s.done.replacement.Unfulfilled); {
	case fact == nil:
		s.setReady(set)
	case fact.Stalled:
		set.Stall(fact.Reason, "%s", fact.Message)
	default:
		set.Progress(fact.Reason, "%s", fact.Message)
	}
}

// invalid says what no retry can mend.
func (s *scope) invalid() error {
	if s.Schedules.Invalid == nil {
		return nil
	}
	return &conditions.StalledError{Reason: v1alpha1.ReasonInvalidSpec, Message: s.Schedules.Invalid.Error()}
}

func (s *scope) setClaimBound(set conditions.Set) {
	const bound = v1alpha1.PVCBoundCondition
	switch claim := s.PVC; {
	case claim == nil:
		set.False(bound, v1alpha1.ReasonProgressing, "Claim %s is being made", s.cache.Name)
	case claim.Status.Phase == corev1.ClaimLost:
		set.False(bound, v1alpha1.ReasonPVCLost, "The volume of claim %s is gone; delete the claim to begin anew", claim.Name)
	case !volume.Bound(claim):
		set.False(bound, v1alpha1.ReasonPVCPending, "Claim %s waits for its volume", claim.Name)
	default:
		set.True(bound, v1alpha1.ReasonPVCBound, "Claim %s is bound to volume %s", claim.Name, claim.Spec.VolumeName)
	}
}

func (s *scope) setWarm(set conditions.Set) {
	const warm = v1alpha1.WarmCondition
	w := s.cache.Status.WarmUp
	switch {
	case s.NeverWarmed(s.cache) && s.working(writer.WarmUp):
		set.False(warm, v1alpha1.ReasonWarming, "The first warm-up runs%s", s.but())
	case s.NeverWarmed(s.cache):
		set.False(warm, v1alpha1.ReasonWaiting, "Not warmed yet%s", s.because())
	case s.Restored(s.cache):
		set.True(warm, v1alpha1.ReasonWarmedUp, "Restored from CacheSnapshot %s: %d module versions and %d build entries", s.cache.Status.Content.Snapshot, s.cache.Status.Counts.Modules, s.cache.Status.Counts.BuildEntries)
	case w.Outcome == v1alpha1.RunSucceeded:
		set.True(warm, v1alpha1.ReasonWarmedUp, "%d module versions and %d build entries%s", s.cache.Status.Counts.Modules, s.cache.Status.Counts.BuildEntries, s.found())
	case w.Outcome == v1alpha1.RunInconclusive:
		set.Unknown(warm, v1alpha1.ReasonInconclusive, "The last warm-up was disrupted: %s", w.Message)
	default:
		set.False(warm, v1alpha1.ReasonWarmUpFailed, "The last warm-up failed (%d in a row): %s", w.Failures, w.Message)
	}
}

func (s *scope) setIntact(set conditions.Set) {
	const intact = v1alpha1.IntactCondition
	switch i := s.cache.Status.Integrity; {
	case i == nil && s.cache.Spec.Integrity == nil:
		set.Clear(intact)
	case i == nil && s.working(writer.Integrity):
		set.Unknown(intact, v1alpha1.ReasonProgressing, "The first check of the live claim runs")
	case i == nil:
		set.Unknown(intact, v1alpha1.ReasonWaiting, "The live claim was not checked yet")
	case i.VolumeName != s.cache.Status.Storage.VolumeName:
		set.Unknown(intact, v1alpha1.ReasonWaiting, "The volume that was checked last was replaced, and the present one was not checked yet")
	case i.Verdict == v1alpha1.VerdictCorrupt:
		set.False(intact, v1alpha1.ReasonCorrupt, "%s", s.convictedMessage())
	case i.Verdict == v1alpha1.VerdictIntact:
		set.True(intact, v1alpha1.ReasonIntact, "Checked in %s: %s", i.CompletionTime.Sub(i.StartTime.Time), s.intactMessage())
	default:
		set.Unknown(intact, v1alpha1.ReasonInconclusive, "Attempt %d of %d could not tell: %s", i.InconclusiveAttempts, livecheck.MaxAttempts, i.Message)
	}
}

func (s *scope) setClean(set conditions.Set) {
	const clean = v1alpha1.CleanCondition
	c := s.cache.Status.Cleanup
	if s.cache.Spec.Cleanup == nil {
		set.Clear(clean)
		return
	}
	if c == nil || c.CompletionTime == nil {
		set.Unknown(clean, v1alpha1.ReasonWaiting, "No plan was made yet; it is made by spec.cleanup.schedule and on request")
		return
	}
	plan := c.LastPlan
	switch {
	case c.Paused != "":
		set.False(clean, v1alpha1.ReasonCleanupPaused, "%s; it is made again by schedule, on request, and after a warm-up", sentence(s.pausedMessage()))
	case c.Failures > 0:
		set.False(clean, v1alpha1.ReasonCleanupFailed, "The last run could not be done (%d in a row): %s", c.Failures, c.Message)
	case s.planWaits():
		set.False(clean, v1alpha1.ReasonApprovalRequired, "%s%s", sentence(s.planMessage()), s.untold())
	case plan != nil && plan.Open:
		set.False(clean, v1alpha1.ReasonProgressing, "The plan %s is to be applied: %d entries, %s", plan.Digest, plan.Entries, mebibytes(plan.Bytes))
	case plan != nil && plan.OverBytes > 0:
		set.False(clean, v1alpha1.ReasonBoundUnreachable, "What the last warm-up used exceeds spec.cleanup.maxSize by %s, and is never removed: raise maxSize or warm less", mebibytes(plan.OverBytes))
	case s.unproven():
		set.True(clean, v1alpha1.ReasonWithinBounds, "Cleaned: %s; %s", s.freed(), s.unprovenMessage())
	default:
		set.True(clean, v1alpha1.ReasonWithinBounds, "Within the bounds: %s", s.freed())
	}
}

// untold says that the webhook could not be told of the plan that waits.
func (s *scope) untold() string {
	w, plan := s.cache.Status.Cleanup.Webhook, s.cache.Status.Cleanup.LastPlan
	if s.cache.Spec.Cleanup.Webhook == nil || w == nil || w.PlanDigest != plan.Digest || w.DeliveredTime != nil || w.Failures == 0 {
		return ""
	}
	return fmt.Sprintf("; the webhook was not told (%d calls): %s", w.Failures, w.Message)
}

// freed says what the last cleaning removed.
func (s *scope) freed() string {
	c := s.cache.Status.Cleanup
	if c.Freed == nil {
		return "nothing was to be removed"
	}
	return fmt.Sprintf("the last plan that was applied removed %s", mebibytes(c.Freed.Value()))
}

// sentence begins a text with a capital.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// convictedMessage says what a check found, where first, and what is to be done.
func (s *scope) convictedMessage() string {
	message := "The live claim is corrupt: " + finding(s.cache.Status.Integrity)
	if pass.RollsBack(s.cache) {
		return message + "; it is rolled back"
	}
	return message + "; " + s.remedy()
}

// setStorage says whether the claim has room, and what keeps it from growing if
// not.
func (s *scope) setStorage(set conditions.Set) {
	const sufficient = v1alpha1.StorageSufficientCondition
	rule, status := s.cache.Spec.Storage.Growth, s.cache.Status.Storage
	full := func() string {
		return fmt.Sprintf("%d%% of %s is used", ptr.Deref(status.UsedPercent, 0), status.Capacity)
	}
	d := provision.Growth(s.cache, s.Observed)
	if rule == nil {
		set.Clear(sufficient)
		return
	}
	switch d.State {
	case "":
		set.Unknown(sufficient, v1alpha1.ReasonWaiting, "The claim has no volume yet")
	case growth.Unmeasured:
		set.Unknown(sufficient, v1alpha1.ReasonWaiting, "No run has measured yet how full the volume of %s is", status.Capacity)
	case growth.Enough:
		set.True(sufficient, v1alpha1.ReasonSpaceLeft, "%s; the claim grows at %d%%", full(), rule.UsedPercent)
	case growth.Grow:
		set.False(sufficient, v1alpha1.ReasonGrowing, "%s; the claim is asked to grow to %s", full(), &d.Size)
	case growth.Growing:
		s.setGrowing(set)
	case growth.Refused:
		set.False(sufficient, v1alpha1.ReasonGrowthRefused, "%s, and the claim may not grow to %s: %s; use a StorageClass that allows expansion, or raise the quota; it is tried again every %s",
			full(), &status.Growth.Size, status.Growth.Refused, growth.Pause)
	case growth.AtLimit:
		set.False(sufficient, v1alpha1.ReasonAtLimit, "%s, and spec.storage.growth.limit is %s: raise it, or clean the cache", full(), &rule.Limit)
	}
}

func (s *scope) setGrowing(set conditions.Set) {
	const sufficient = v1alpha1.StorageSufficientCondition
	asked := s.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	switch report, infeasible := provision.Expansion(s.PVC); {
	case infeasible:
		set.False(sufficient, v1alpha1.ReasonGrowthRefused, "The storage driver cannot expand the volume of %s to %s; %s; its events say more", s.cache.Status.Storage.Capacity, &asked, report)
	case report != "":
		set.False(sufficient, v1alpha1.ReasonGrowing, "The claim grows from %s to %s; %s", s.cache.Status.Storage.Capacity, &asked, report)
	default:
		set.False(sufficient, v1alpha1.ReasonGrowing, "The claim grows from %s to %s", s.cache.Status.Storage.Capacity, &asked)
	}
}

func (s *scope) setReady(set conditions.Set) {
	w := s.cache.Status.WarmUp
	claim := s.PVC
	switch {
	case s.cache.Spec.Suspend:
		set.Rest(v1alpha1.ReasonSuspended, "spec.suspend is set")
	case claim != nil && claim.Status.Phase == corev1.ClaimLost:
		set.Stall(v1alpha1.ReasonPVCLost, "The volume of claim %s is gone; delete the claim to begin anew", claim.Name)
	case s.NeverWarmed(s.cache) && s.SourceMissing != "":
		set.Progress(v1alpha1.ReasonSourceNotFound, "Not warmed yet: %s", s.SourceMissing)
	case s.NeverWarmed(s.cache) && s.ProxyMissing != "":
		set.Progress(v1alpha1.ReasonProxyNotReady, "Not warmed yet: %s", s.ProxyMissing)
	case s.NeverWarmed(s.cache) && s.ProxyUnready != "" && !s.working(writer.WarmUp):
		set.Progress(v1alpha1.ReasonProxyNotReady, "Not warmed yet: %s", s.ProxyUnready)
	case s.NeverWarmed(s.cache) && s.working(writer.WarmUp):
		set.Progress(v1alpha1.ReasonWarming, "The first warm-up runs%s", s.but())
	case !volume.Bound(claim):
		set.Progress(v1alpha1.ReasonPVCPending, "Claim %s waits for its volume", s.cache.Name)
	case s.NeverWarmed(s.cache):
		set.Progress(v1alpha1.ReasonWaiting, "Not warmed yet%s", s.because())
	case pass.Corrupt(s.cache) && pass.RollsBack(s.cache):
		set.Progress(v1alpha1.ReasonCorrupt, "%s", s.convictedMessage())
	case pass.Corrupt(s.cache):
		set.Stall(v1alpha1.ReasonCorrupt, "%s", s.convictedMessage())
	case s.Restored(s.cache):
		set.Ready(v1alpha1.ReasonCacheReady, "%s", s.summary())
	case w.Outcome != v1alpha1.RunSucceeded && s.working(writer.WarmUp):
		set.Progress(v1alpha1.ReasonWarming, "A warm-up runs again%s; the last ended so: %s", s.but(), w.Message)
	case w.Outcome != v1alpha1.RunSucceeded:
		set.Progress(v1alpha1.ReasonWarmUpFailed, "The last warm-up failed (%d in a row): %s", w.Failures, w.Message)
	default:
		set.Ready(v1alpha1.ReasonCacheReady, "%s", s.summary())
	}
}

// found is what a warm-up that succeeded found worth a look.
func (s *scope) found() string {
	if s.cache.Status.WarmUp.Message == "" {
		return ""
	}
	return "; " + s.cache.Status.WarmUp.Message
}

func (s *scope) summary() string {
	message := fmt.Sprintf("Warm: %d module versions and %d build entries%s", s.cache.Status.Counts.Modules, s.cache.Status.Counts.BuildEntries, s.found())
	if latest := s.cache.Status.LatestVerifiedSnapshot; latest != "" {
		message += "; consumers get " + latest
	}
	for _, r := range s.cache.Status.WarmUp.Revisions {
		if r.Message != "" && s.done.waits[writer.WarmUp] == "" { // else it is what is waited for
			message += "; " + unread(r)
		}
	}
	if action, known := actionOf(s.Writer); known && s.Hindrance != "" {
		message += "; " + action.title + " runs" + s.but()
	}
	for _, action := range writerActions() {
		if why := s.done.waits[action.name]; why != "" {
			message += fmt.Sprintf("; %s is due and waits: %s", action.title, why)
		}
	}
	return message
}

// but says what keeps the writer's pod from running.
func (s *scope) but() string {
	if s.Hindrance == "" {
		return ""
	}
	return ", but cannot yet: " + bounded.Text(s.Hindrance, 4096)
}

func (s *scope) because() string {
	if s.done.waits[writer.WarmUp] == "" {
		return ""
	}
	return ": " + s.done.waits[writer.WarmUp]
}
