package replacement

import (
	"time"

	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/replacement"
)

// record writes into the status where the replacement has come to.
func (a *attempt) record(out replacementrun.Outcome, snapshot *v1alpha1.CacheSnapshot) {
	intent, d := a.cache.Status.VolumeReplacement, out.Decision
	switch {
	case out.Objection != "":
		a.out.WakeIn(retryEviction)
	case d.After > 0:
		a.out.WakeIn(d.After)
	case !d.Waits() && !d.ChangesIntent(): // there is more to do
		a.out.WakeIn(time.Second)
	}
	intent.Step, intent.Consumers = string(d.Step), nil
	intent.Message = bounded.Text(message(out), maxText)
	switch step := d.Step; {
	case step == replacement.WaitForConsumers || step == replacement.Evict:
		intent.Consumers = out.ConsumerNames()
	case step == replacement.RecordCheck:
		digest := ""
		if snapshot != nil {
			digest = snapshot.Status.Verification.Digest
		}
		replacement.Record(intent, check.Status(check.Verdict(out.Check), out.Check.Run, a.Now), volume.BoundTo(out.Live), volume.BoundTo(out.Next), digest)
	case step == replacement.RecordOld:
		intent.PreviousVolume = d.Volume
	case step == replacement.GiveUp:
		intent.Failure = bounded.Text(d.Detail, maxText)
	case step == replacement.Finish:
		a.recordFinished(out, snapshot)
	case step == replacement.Abandon:
		if intent.Failure == "" {
			intent.Failure = "the GoCache was deleted"
		}
		a.end()
	}
}

// recordFinished records that the cache PVC has the new volume, and what it holds.
func (a *attempt) recordFinished(out replacementrun.Outcome, snapshot *v1alpha1.CacheSnapshot) {
	intent, status := a.cache.Status.VolumeReplacement, &a.cache.Status
	intent.Failure = "" // it is done, whatever was recorded on the way
	reason := intent.Reason
	if seeded := status.Content; reason == v1alpha1.ReplacementMigration && status.WarmUp.Run == "" && seeded != nil {
		reason = seeded.Reason // it still holds what it was seeded with
	}
	status.Content = &v1alpha1.ContentStatus{Snapshot: intent.Snapshot, Reason: reason, VolumeName: intent.NextVolume}
	if applied := status.Storage.AppliedSize; applied != nil && intent.Size.Cmp(*applied) < 0 {
		status.Storage.AppliedSize = ptr.To(intent.Size.DeepCopy())
	}
	a.out.Replaced, a.out.PVC = true, out.Live
	if intent.Reason == v1alpha1.ReplacementMigration { // what was written to the old volume is on the new one
		if out.Live != nil && status.WarmUp.PersistentVolumeClaimUID != "" {
			status.WarmUp.PersistentVolumeClaimUID = string(out.Live.UID)
		}
	} else {
		status.Counts = v1alpha1.CacheCounts{Modules: intent.Check.Counts.Modules, BuildEntries: intent.Check.Counts.BuildEntries}
		status.ManifestDigest = ""
		if snapshot != nil && snapshot.Status.Source != nil {
			status.Toolchain = snapshot.Status.Source.Toolchain.DeepCopy()
			status.ManifestDigest = snapshot.Status.Source.SealedDigest
		}
	}
	a.end()
}

// end clears the intent and answers what asked for it.
func (a *attempt) end() {
	intent, status := a.cache.Status.VolumeReplacement, &a.cache.Status
	status.LastVolumeReplacement, status.VolumeReplacement = replacement.Result(intent, a.Now), nil
	switch intent.Reason {
	case v1alpha1.ReplacementRestore:
		status.LastHandledRestore = intent.Restore
	case v1alpha1.ReplacementRequestedRollback:
		a.answer(intent)
	case v1alpha1.ReplacementRollback, v1alpha1.ReplacementMigration:
	}
}

// answer answers the request that a replacement was made for.
func (a *attempt) answer(intent *v1alpha1.VolumeReplacementStatus) {
	_, ok := pass.Requested(a.cache, v1alpha1.RequestRollback)
	switch {
	case !ok: // another request took its place
	case intent.Failure != "":
		pass.Answer(a.cache, a.Now, v1alpha1.RequestFailed, intent.Failure)
	default:
		pass.Answer(a.cache, a.Now, v1alpha1.RequestSucceeded, "the cache PVC was rolled back to CacheSnapshot "+intent.Snapshot)
	}
}
