package writer

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/plan/cleanup"
	plan "gocache.dev/operator/internal/plan/writer"
)

// sealedFlag gives the agent the digest of what the last run left on the cache
// PVC, if it is known.
func (t *turn) sealedFlag() []string {
	if t.cache.Status.ManifestDigest == "" || t.NeverWarmed(t.cache) {
		return nil
	}
	return []string{"--sealed-digest", t.cache.Status.ManifestDigest}
}

// recordSeal records what a run that failed left on the cache PVC. Without a
// digest nothing vouches for the content until the next warm-up.
func (t *turn) recordSeal(digest string) {
	if t.RanOnPVC() {
		t.cache.Status.ManifestDigest = digest
	}
}

// breakSeal clears the digest of what the last run left while a run changes it:
// if its Job is lost before the outcome is recorded, the content is not
// taken for that of the run before.
func (t *turn) breakSeal() {
	if t.changes() {
		t.cache.Status.ManifestDigest = ""
	}
}

// changes reports whether a run changes the content now.
func (t *turn) changes() bool {
	switch t.out.Started {
	case plan.WarmUp:
		return true
	case plan.Cleanup:
		return cleanup.Decide(t.cleanupFacts()).Step == cleanup.Apply
	case plan.Integrity:
		return false
	}
	action, known := actionOf(t.Writer)
	if !known || t.Run.Phase != jobrun.Running && t.Run.Phase != jobrun.Deleting || t.Run.Run == action.recorded(t.Stored) {
		return false
	}
	return action.name() == plan.WarmUp || action.name() == plan.Cleanup && t.Run.Annotations[v1alpha1.PlanAnnotation] != ""
}
