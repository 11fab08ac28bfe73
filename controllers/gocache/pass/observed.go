package pass

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/pushes"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/snapshot"
)

// Keys of a ConfigMap that is a source.
const (
	GoModKey    = "go.mod"
	GoSumKey    = "go.sum"
	PackagesKey = "packages"
)

// Interval is when what no watch reports is read again: sources, for example,
// are ConfigMaps of users, which are not watched.
const Interval = time.Minute

// SecretInterval is when a Secret that may not be used is read again. Secrets
// are not watched: the operator has no permission to list them.
const SecretInterval = 15 * time.Second

// TokenKey is the key of a Secret that proves pushes.
const TokenKey = "token"

// CAKey is the key of a ConfigMap that is a trusted authority.
const CAKey = "ca.crt"

// Observed is all that was read in one pass. It is not changed afterwards. A
// nil object does not exist, or belongs to another owner.
type Observed struct {
	// Now is the time of the pass.
	Now time.Time
	// Stored is the GoCache as it was read. An intent, an approval or a request
	// is acted on only if it is there already: a crash between the act and the
	// status write would otherwise repeat the act or lose its cause.
	Stored *v1alpha1.GoCache
	// PVC is the cache PVC.
	PVC *corev1.PersistentVolumeClaim
	// Previous holds the volume that was replaced last.
	Previous *corev1.PersistentVolumeClaim
	// Writer is the Job that works on the cache PVC.
	Writer *batchv1.Job
	// ForeignWriter: a Job of the writer's name belongs to another owner.
	// PredecessorWriter: it belongs to a GoCache of the same name that is gone,
	// and is about to be collected.
	ForeignWriter, PredecessorWriter bool
	// Run is how the writer's run goes, or how it ended.
	Run jobrun.Outcome
	// Hindrance is why the writer's container does not run, if it should by now.
	Hindrance string
	// Snapshots of the cache.
	Snapshots []v1alpha1.CacheSnapshot
	// SnapshotAPIMissing is why no snapshot can be created in this cluster; empty: one
	// can.
	SnapshotAPIMissing string
	// Proxy is the value of GOPROXY; empty: the default.
	Proxy string
	// ProxyURL is the address of the proxy that is referred to, and ProxySecret the
	// Secret with the credentials that it requires; empty: it requires none.
	ProxyURL, ProxySecret string
	// ProxyPrivate are the patterns of the modules that are private to the proxy
	// that is referred to.
	ProxyPrivate []string
	// ProxyEnforces is set if the proxy refuses modules by a policy.
	ProxyEnforces bool
	// ProxyMissing is why the proxy that is referred to has no address, and
	// ProxyUnready why it does not serve.
	ProxyMissing, ProxyUnready string
	// Sources that the cache is warmed from.
	Sources []Source
	// SourceMissing is which source a warm-up waits for, and why: one that is being
	// read, or one of all if none can be read. Otherwise a source that cannot be
	// read is reported by the warm-up of the others.
	SourceMissing string
	// SourcePending: a repository has not answered since this process started, so that what a
	// warm-up is of is not known.
	SourcePending bool
	// SecretRefused is which Secret of a source may not be used, and why: only a
	// user can change that.
	SecretRefused string
	// WaitsForSecret: the Secret of a push webhook cannot be used yet. The repository
	// is polled meanwhile.
	WaitsForSecret bool
	// Hooks accept the pushes of repositories.
	Hooks []pushes.Hook
	// Revisions of the sources that are git repositories.
	Revisions []v1alpha1.GitRevision
	// Schedules of the spec.
	Schedules Schedules
}

// Source is a ConfigMap as the warm-up Job will see it, or a repository.
type Source struct {
	// Label names the source in the status; it is unique.
	Label string
	// Spec of the source.
	Spec v1alpha1.WarmUpSource
	// Missing is why there is nothing to warm the source from; empty: there is.
	Missing string
	// Name of the ConfigMap, the keys of it that are used, and their values.
	Name string
	Keys []string
	Data map[string]string
	// Git is the repository; nil for a ConfigMap.
	Git *GitSource
}

// GitSource is a repository as the warm-up Job will see it.
type GitSource struct {
	// URL of the repository, the ref to build, the commit that it names, and the
	// Secret with the credentials.
	URL, Ref, Commit, Secret string
	// CA is the ConfigMap with the trusted authority; empty: none.
	CA string
	// Sparse are the directories that are checked out; empty: all. Submodules: those
	// are checked out as well.
	Sparse     []string
	Submodules bool
}

// Replacing reports whether the volume of the cache PVC is being replaced, by
// what was read or by what is about to be written.
func (o Observed) Replacing(cache *v1alpha1.GoCache) bool {
	return cache.Status.VolumeReplacement != nil || o.Stored.Status.VolumeReplacement != nil
}

// Restored reports whether the cache PVC holds what it was restored to, and
// nothing was written to it since.
func (o Observed) Restored(cache *v1alpha1.GoCache) bool {
	content := cache.Status.Content
	return content != nil && content.Reason != v1alpha1.ReplacementMigration && o.PVC != nil &&
		content.VolumeName != "" && content.VolumeName == o.PVC.Spec.VolumeName &&
		cache.Status.WarmUp.PersistentVolumeClaimUID != string(o.PVC.UID)
}

const (
	// keepPrevious is the default of spec.storage.volumeReplacement.keepPrevious.
	keepPrevious = 168 * time.Hour
	// keepOffered is how much longer a volume that was replaced is kept at most,
	// while the snapshot that new PVCs are populated from was created of it.
	keepOffered = 168 * time.Hour
)

// KeepPrevious is how long a volume that was replaced is kept.
func KeepPrevious(r v1alpha1.VolumeReplacement) time.Duration {
	if r.KeepPrevious == nil {
		return keepPrevious
	}
	return r.KeepPrevious.Duration
}

// OfferedOfPrevious reports whether the snapshot that new PVCs are populated from was
// created of the volume that was replaced last. Some storage deletes it with that
// volume.
func (o Observed) OfferedOfPrevious(cache *v1alpha1.GoCache) bool {
	offered := cache.Status.LatestVerifiedSnapshot
	if o.Previous == nil || o.Previous.Spec.VolumeName == "" || offered == "" {
		return false
	}
	for i := range o.Snapshots {
		if s := &o.Snapshots[i]; s.Name == offered {
			return s.Status.Source != nil && s.Status.Source.VolumeName == o.Previous.Spec.VolumeName
		}
	}
	return false
}

// PreviousEnd is when the volume that was replaced last is deleted, which has to
// exist.
func (o Observed) PreviousEnd(cache *v1alpha1.GoCache) time.Time {
	end := o.Previous.CreationTimestamp.Add(KeepPrevious(cache.Spec.Storage.VolumeReplacement))
	if o.OfferedOfPrevious(cache) {
		end = end.Add(keepOffered)
	}
	return end
}

// NewVolume reports whether the cache PVC is another one than was warmed.
func (o Observed) NewVolume(cache *v1alpha1.GoCache) bool {
	warmed := cache.Status.WarmUp.PersistentVolumeClaimUID
	return warmed != "" && o.PVC != nil && warmed != string(o.PVC.UID) && !o.Restored(cache)
}

// NeverWarmed reports whether no run has ended yet that wrote to the cache PVC.
func (o Observed) NeverWarmed(cache *v1alpha1.GoCache) bool {
	return cache.Status.WarmUp.Run == "" && !o.Restored(cache) || o.NewVolume(cache)
}

// RanOnPVC reports whether the writer's run was on the cache PVC that there is
// now.
func (o Observed) RanOnPVC() bool {
	return o.PVC != nil && o.Run.Annotations[v1alpha1.PVCUIDAnnotation] == string(o.PVC.UID)
}

// Standing is the accepted request for an action once it is stored. Acted on
// before, a crash in between would make two runs of it.
func (o Observed) Standing(cache *v1alpha1.GoCache, action v1alpha1.RequestAction) (request.Request, bool) {
	req, ok := request.Standing(o.Stored.Status.Request, cache.Status.Request)
	return req, ok && req.Action == action
}

// Kept are the snapshots of the cache as retention sees them. A snapshot that
// is being restored counts as used, and so do those for which cloned is true.
func (o Observed) Kept(cache *v1alpha1.GoCache, cloned map[string]bool) []snapshot.Kept {
	return snapshot.All(o.Snapshots, SnapshotPolicy(cache).Verification.Trust, func(name string) bool {
		return cloned[name] || restoring(cache, name)
	})
}

// Environment is what the environment of builds is made from.
func (o Observed) Environment(cache *v1alpha1.GoCache) goenv.Settings {
	e := cache.Spec.Environment
	var private []string
	if e.PrivateModules != nil {
		private = slices.Clone(e.PrivateModules.Patterns)
	}
	for _, pattern := range o.ProxyPrivate { // the checksum database learns of none of them
		if !slices.Contains(private, pattern) {
			private = append(private, pattern)
		}
	}
	return goenv.Settings{
		MountPath:        e.MountPath,
		Modules:          Has(cache, v1alpha1.LayerModules),
		Build:            Has(cache, v1alpha1.LayerBuild),
		Proxy:            o.Proxy,
		ManagedProxy:     e.ProxyRef != nil,
		Fallback:         o.fallback(cache),
		PrivatePatterns:  private,
		ChecksumDatabase: e.ChecksumDatabase,
		Strict:           e.Isolation == v1alpha1.IsolationStrict,
	}
}

// WalksAround reports whether the fallback would serve what the policy of the
// proxy refuses.
func (o Observed) WalksAround(cache *v1alpha1.GoCache) bool {
	f := cache.Spec.Environment.Fallback
	return o.ProxyEnforces && f != "" && f != v1alpha1.FallbackNone
}

// fallback is the last entry of GOPROXY; empty: there is none.
func (o Observed) fallback(cache *v1alpha1.GoCache) string {
	switch f := cache.Spec.Environment.Fallback; {
	case f == v1alpha1.FallbackNone || o.WalksAround(cache):
		return ""
	case f == v1alpha1.FallbackDirect:
		return "direct"
	default:
		return f
	}
}
