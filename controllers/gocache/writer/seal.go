package writer

import "gocache.dev/operator/internal/domain/agentcommand"

// seal gives the agent the digest of what the last run left on the cache
// PVC and reported. It stays while a run changes the content, and if that run is
// killed: what the killed run left is then compared with it, since another
// process may have changed that. Without a digest nothing vouches for any of it.
func (t *turn) seal() agentcommand.Seal {
	if t.cache.Status.ManifestDigest == "" || t.NeverWarmed(t.cache) {
		return agentcommand.Seal{NeverSealed: true}
	}
	return agentcommand.Seal{SealedDigest: t.cache.Status.ManifestDigest}
}

// recordSeal records what a run left on the cache PVC, if it reported that.
func (t *turn) recordSeal(digest string) {
	if digest != "" && t.RanOnPVC() {
		t.cache.Status.ManifestDigest = digest
	}
}
