package gocache

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/pool"
	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/controllers/gocache/snapshots"
	"gocache.dev/operator/controllers/gocache/writer"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/volume"
)

// setConditions writes all conditions from the facts of the pass and its error.
func (p *progress) setConditions(failed error) {
	status := &p.cache.Status
	status.ObservedGeneration = p.cache.Generation
	set := conditions.Set{Conditions: &status.Conditions, Generation: p.cache.Generation, Now: p.Now}
	if failed == nil {
		failed = p.invalid()
	}
	// What was observed is reported beside an error of some part: that may last.
	if p.shared != nil {
		if p.observed {
			setFact(set, v1alpha1.SnapshotAvailableCondition, p.sharedAvailable())
		}
		if !set.Fail(failed) {
			p.setShared(set)
		}
		return
	}
	w, available := p.writer.Status(p.cache, p.Observed), snapshots.Available(p.cache, p.Observed)
	if p.observed {
		p.setFacts(set, w, available)
	}
	if set.Fail(failed) {
		return
	}
	switch fact := replacement.Status(p.cache, p.Observed, p.replacement.Unfulfilled); {
	case fact == nil, fact.Stalled && p.cache.Spec.Suspend:
		p.setReady(set, w, available)
	case fact.Stalled:
		set.Stall(fact.Reason, "%s", fact.Message)
	default:
		set.Progress(fact.Reason, "%s", fact.Message)
	}
}

// setFacts sets the conditions that depend on no error of the pass.
func (p *progress) setFacts(set conditions.Set, w writer.Status, available *pass.Fact) {
	for _, c := range []struct {
		kind string
		fact *pass.Fact
	}{
		{v1alpha1.PVCBoundCondition, provision.Bound(p.cache, p.Observed)},
		{v1alpha1.WarmCondition, w.Warm},
		{v1alpha1.IntactCondition, w.Intact},
		{v1alpha1.StorageSufficientCondition, provision.Sufficient(p.cache, p.Observed)},
		{v1alpha1.CleanCondition, w.Clean},
		{v1alpha1.PoolFilledCondition, pool.Filled(p.cache, p.pool)},
		{v1alpha1.SnapshotAvailableCondition, available},
	} {
		setFact(set, c.kind, c.fact)
	}
}

// setFact sets a condition to a fact, or removes it without one.
func setFact(set conditions.Set, kind string, fact *pass.Fact) {
	switch {
	case fact == nil:
		set.Clear(kind)
	case fact.Status == metav1.ConditionTrue:
		set.True(kind, fact.Reason, "%s", fact.Message)
	case fact.Status == metav1.ConditionFalse:
		set.False(kind, fact.Reason, "%s", fact.Message)
	default:
		set.Unknown(kind, fact.Reason, "%s", fact.Message)
	}
}

// invalid is what no retry can repair. A suspended object acts on no schedule.
func (p *progress) invalid() error {
	if p.Schedules.Invalid == nil || p.cache.Spec.Suspend {
		return nil
	}
	return &conditions.StalledError{Reason: v1alpha1.ReasonInvalidSpec, Message: p.Schedules.Invalid.Error()}
}

// setReady sets Ready: whether a PVC that names the cache is populated now.
func (p *progress) setReady(set conditions.Set, w writer.Status, available *pass.Fact) {
	last := p.cache.Status.WarmUp
	pvc := p.PVC
	usable := available.Status == metav1.ConditionTrue
	failed := last.Outcome != v1alpha1.RunSucceeded && !p.Restored(p.cache)
	switch {
	case p.cache.Spec.Suspend:
		set.Suspend(usable, "spec.suspend is set: nothing is started. %s", available.Message)
	case pvc != nil && pvc.Status.Phase == corev1.ClaimLost:
		set.Stall(v1alpha1.ReasonPVCLost, "The volume of PersistentVolumeClaim %s is gone; delete the PersistentVolumeClaim to begin again", pvc.Name)
	case available.Reason == v1alpha1.ReasonSnapshotAPIMissing:
		set.Stall(available.Reason, "%s", available.Message)
	case p.NeverWarmed(p.cache) && p.SecretRefused != "":
		set.Stall(v1alpha1.ReasonSecretRefused, "Not warmed yet: %s", p.secretRefused())
	case p.NeverWarmed(p.cache) && p.SourceMissing != "":
		set.Progress(v1alpha1.ReasonSourceNotFound, "Not warmed yet: %s", p.SourceMissing)
	case p.NeverWarmed(p.cache) && p.ProxyMissing != "":
		set.Progress(v1alpha1.ReasonProxyNotReady, "Not warmed yet: %s", p.ProxyMissing)
	case p.NeverWarmed(p.cache) && p.ProxyUnready != "" && !w.Warming:
		set.Progress(v1alpha1.ReasonProxyNotReady, "Not warmed yet: %s", p.ProxyUnready)
	case p.NeverWarmed(p.cache) && w.Warming:
		set.Progress(w.WarmingReason, "%s", w.WarmingMessage)
	case !volume.Bound(pvc):
		set.Progress(v1alpha1.ReasonPVCPending, "PVC %s waits for its volume", p.cache.Name)
	case p.NeverWarmed(p.cache):
		set.Progress(v1alpha1.ReasonWaiting, "Not warmed yet%s", w.Because)
	case pass.Corrupt(p.cache) && pass.RollsBack(p.cache):
		set.Progress(v1alpha1.ReasonCorrupt, "%s", w.Corrupt)
	case pass.Corrupt(p.cache):
		set.Stall(v1alpha1.ReasonCorrupt, "%s", w.Corrupt)
	case writer.TooOld(p.cache) != "" && !w.Warming:
		p.stall(set, usable, v1alpha1.ReasonToolchainTooOld, writer.TooOld(p.cache))
	case failed && w.Warming:
		p.progress(set, usable, v1alpha1.ReasonWarming, fmt.Sprintf("%s; the last one failed (%d in a row): %s", w.WarmingMessage, last.Failures, last.Message))
	case failed:
		p.progress(set, usable, v1alpha1.ReasonWarmUpFailed, fmt.Sprintf("The last warm-up failed (%d in a row): %s%s", last.Failures, last.Message, w.Next))
	case usable:
		set.Ready(v1alpha1.ReasonCacheReady, "%s", p.summary(w))
	case available.Reason == v1alpha1.ReasonSnapshotsDisabled:
		set.Ready(v1alpha1.ReasonSnapshotsDisabled, "%s. %s", p.summary(w), available.Message)
	default:
		set.Progress(available.Reason, "%s; %s", available.Message, p.summary(w))
	}
	// The cache is as usable as it was.
	was := p.Stored.Status.Conditions
	if why := p.provision.OtherAccessModes; why != "" {
		set.StallBeside(was, v1alpha1.ReasonInvalidSpec, "spec.storage.accessModes: %s", why)
	}
	if p.SecretRefused != "" && !p.cache.Spec.Suspend {
		set.StallBeside(was, v1alpha1.ReasonSecretRefused, "%s", p.secretRefused())
	}
	if why := p.provision.NotExpandable; why != "" {
		set.StallBeside(was, v1alpha1.ReasonExpansionNotAllowed,
			"spec.storage.size: %s, or set the size back. It is tried again every %s", why, pass.Interval)
	}
}

// secretRefused is which Secret may not be used, and when it is read again.
func (p *progress) secretRefused() string {
	return fmt.Sprintf("%s. The Secret is read again every %s", p.SecretRefused, pass.SecretInterval)
}

// progress sets Ready of a cache whose last warm-up failed: it is usable all
// the same while an older snapshot is.
func (p *progress) progress(set conditions.Set, usable bool, reason, message string) {
	if !usable {
		set.Progress(reason, "%s", message)
		return
	}
	set.Updating(reason, "%s", message)
	p.populatesOlder(set, message)
}

// stall sets Ready of a cache that no retry can warm: it is usable all the same
// while an older snapshot is.
func (p *progress) stall(set conditions.Set, usable bool, reason, message string) {
	if !usable {
		set.Stall(reason, "%s", message)
		return
	}
	set.Clear(v1alpha1.SuspendedCondition)
	set.Clear(v1alpha1.ReconcilingCondition)
	set.True(v1alpha1.StalledCondition, reason, "%s", message)
	p.populatesOlder(set, message)
}

// populatesOlder sets Ready of a cache whose last warm-up failed.
func (p *progress) populatesOlder(set conditions.Set, message string) {
	set.True(v1alpha1.ReadyCondition, v1alpha1.ReasonCacheReady, "New PVCs are populated from CacheSnapshot %s, which is older. %s", p.cache.Status.LatestVerifiedSnapshot, message)
}

// summary of a cache that is warm.
func (p *progress) summary(w writer.Status) string {
	message := fmt.Sprintf("Warm: %d module versions and %d build entries%s", p.cache.Status.Counts.Modules, p.cache.Status.Counts.BuildEntries, w.Found)
	if latest := p.cache.Status.LatestVerifiedSnapshot; latest != "" {
		message += "; consumers get " + latest
	}
	for _, r := range p.cache.Status.WarmUp.Revisions {
		if r.Message != "" && w.Because == "" { // otherwise it is what is waited for
			message += "; " + unread(r)
		}
		if r.Webhook != nil && r.Webhook.Message != "" {
			message += "; repository " + r.URL + " is polled, and its pushes are not received: " + r.Webhook.Message
		}
	}
	return message + w.Pending
}
