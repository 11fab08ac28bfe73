package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GoCache is one pair of Go caches, GOMODCACHE and GOCACHE, on one claim:
// warmed, checked, cleaned and snapshotted by policy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=goc,categories=gocaching
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Go",type=string,JSONPath=`.spec.toolchain.version`
// +kubebuilder:printcolumn:name="Used",type=string,JSONPath=`.status.storage.used`
// +kubebuilder:printcolumn:name="Capacity",type=string,JSONPath=`.status.storage.capacity`
// +kubebuilder:printcolumn:name="Warmed",type=date,JSONPath=`.status.warmUp.lastSuccessTime`
// +kubebuilder:printcolumn:name="Verified Snapshot",type=string,JSONPath=`.status.latestVerifiedSnapshot`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS-1035 label of at most 40 characters: lower case letters, digits and '-', beginning with a letter"
type GoCache struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	// +required
	Spec GoCacheSpec `json:"spec"`
	// status is what was observed.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status GoCacheStatus `json:"status,omitzero"`
}

// GoCacheList is a list of GoCache.
// +kubebuilder:object:root=true
type GoCacheList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []GoCache `json:"items"`
}

// CacheLayer is one of the two caches of the go command.
// +kubebuilder:validation:Enum=Modules;Build
type CacheLayer string

// The layers.
const (
	// LayerModules is GOMODCACHE.
	LayerModules CacheLayer = "Modules"
	// LayerBuild is GOCACHE.
	LayerBuild CacheLayer = "Build"
)

// GoCacheSpec is what is wanted of a GoCache.
//
// +kubebuilder:validation:XValidation:rule="self.platform == oldSelf.platform",message="platform is immutable: a build cache is of one platform; make another GoCache"
// +kubebuilder:validation:XValidation:rule="self.layers == oldSelf.layers",message="layers is immutable: make another GoCache"
// +kubebuilder:validation:XValidation:rule="self.storage.accessModes == oldSelf.storage.accessModes",message="storage.accessModes is immutable: make another GoCache"
// +kubebuilder:validation:XValidation:rule="'Modules' in self.layers || !has(self.warmUp) || !has(self.warmUp.sources) || self.warmUp.sources.size() == 0",message="warmUp.sources needs layer Modules"
type GoCacheSpec struct {
	// suspend stops everything that the operator would begin for this object.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// toolchain whose build cache this is.
	// +required
	Toolchain Toolchain `json:"toolchain"`
	// platform as GOOS/GOARCH; Jobs run on nodes of it.
	// +kubebuilder:validation:Pattern=`^linux/[a-z0-9]{2,16}$`
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:default="linux/amd64"
	// +optional
	Platform string `json:"platform,omitempty"`
	// storage of the claim.
	// +required
	Storage CacheStorage `json:"storage"`
	// layers held, each in its own folder of the claim: mod and build.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:default={Modules,Build}
	// +listType=set
	// +optional
	Layers []CacheLayer `json:"layers,omitempty"`
	// environment that builds must see; published as ConfigMaps NAME-env and
	// NAME-env-offline.
	// +kubebuilder:default={}
	// +optional
	Environment Environment `json:"environment,omitzero"`
	// warmUp fills the caches. Unset: only the standard library is built, once.
	// +optional
	WarmUp *WarmUp `json:"warmUp,omitempty"`
	// integrity checks the live claim.
	// +optional
	Integrity *CacheIntegrity `json:"integrity,omitempty"`
	// cleanup bounds the caches in size and age.
	// +optional
	Cleanup *Cleanup `json:"cleanup,omitempty"`
	// snapshots are taken by this policy. Unset: only on request.
	// +optional
	Snapshots *SnapshotPolicy `json:"snapshots,omitempty"`
	// restore seeds the claim from a snapshot, or rolls it back to one. It is
	// acted on once per distinct value.
	// +optional
	Restore *Restore `json:"restore,omitempty"`
	// podTemplate is common to all Jobs of this cache.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
}

// Toolchain is a Go release.
type Toolchain struct {
	// version of the Go release, such as 1.26.8.
	// +kubebuilder:validation:Pattern=`^1\.[0-9]{1,3}(\.[0-9]{1,3}|rc[0-9]{1,2}|beta[0-9]{1,2})?$`
	// +kubebuilder:validation:MaxLength=16
	// +required
	Version string `json:"version"`
	// image that holds that Go release with the go command on its PATH, best
	// named with a digest. It needs no shell. Unset: the operator's toolchain
	// image of that version.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
}

// CacheStorage is the claim of a cache.
//
// +kubebuilder:validation:XValidation:rule="quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be greater than 0"
// +kubebuilder:validation:XValidation:rule="!has(self.growth) || quantity(string(self.growth.limit)).compareTo(quantity(string(self.size))) >= 0",message="growth.limit must not be less than size"
type CacheStorage struct {
	// storageClassName of the claim. Unset: the cluster's default class. A
	// change moves the content to a new volume.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// size is a floor: the claim asks for this, or for what it has grown to.
	// +required
	Size resource.Quantity `json:"size"`
	// accessModes of the claim.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Enum=ReadWriteOnce;ReadWriteOncePod;ReadWriteMany
	// +kubebuilder:default={ReadWriteOnce}
	// +listType=set
	// +optional
	AccessModes []corev1.PersistentVolumeAccessMode `json:"accessModes,omitempty"`
	// growth expands the claim before it is full.
	// +optional
	Growth *StorageGrowth `json:"growth,omitempty"`
	// ownership of the files. Null for platforms that assign ids.
	// +kubebuilder:default={runAsUser:65532,runAsGroup:65532,fsGroup:65532}
	// +nullable
	// +optional
	Ownership *Ownership `json:"ownership,omitempty"`
	// replacement says how the volume is replaced under the claim's name.
	// +kubebuilder:default={}
	// +optional
	Replacement Replacement `json:"replacement,omitzero"`
	// whenDeleted says what becomes of the claim when the GoCache is deleted.
	// A retained claim is taken up again by a GoCache of the same name.
	// +kubebuilder:default=Retain
	// +optional
	WhenDeleted DeletionPolicy `json:"whenDeleted,omitempty"`
}

// StorageGrowth says when and how far a claim grows.
//
// +kubebuilder:validation:XValidation:rule="quantity(string(self.step)).isGreaterThan(quantity('0'))",message="step must be greater than 0"
type StorageGrowth struct {
	// usedPercent at which the claim is expanded.
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=99
	// +kubebuilder:default=85
	// +optional
	UsedPercent int32 `json:"usedPercent,omitempty"`
	// step added at each expansion.
	// +required
	Step resource.Quantity `json:"step"`
	// limit that the claim never exceeds.
	// +required
	Limit resource.Quantity `json:"limit"`
}

// Isolation says how far builds are kept from settings of their surroundings.
// +kubebuilder:validation:Enum=Standard;Strict
type Isolation string

// The isolations.
const (
	IsolationStandard Isolation = "Standard"
	// IsolationStrict adds GOENV=off, GOWORK=off and GOFLAGS=-mod=readonly.
	IsolationStrict Isolation = "Strict"
)

// Environment is what builds on this cache must see.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.proxyRef) && has(self.proxy))",message="set proxyRef or proxy, not both"
type Environment struct {
	// proxyRef names a ModProxy; its address becomes GOPROXY.
	// +optional
	ProxyRef *LocalReference `json:"proxyRef,omitempty"`
	// proxy is a value of GOPROXY. Neither this nor proxyRef: the toolchain's
	// own default.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Proxy string `json:"proxy,omitempty"`
	// privatePatterns are module path patterns in the syntax of GOPRIVATE. With
	// proxyRef they are fetched from the proxy without the checksum database;
	// else they become GOPRIVATE.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^,\s]+$`
	// +listType=set
	// +optional
	PrivatePatterns []string `json:"privatePatterns,omitempty"`
	// checksumDatabase in the syntax of GOSUMDB. Unset: the toolchain's own
	// default.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ChecksumDatabase string `json:"checksumDatabase,omitempty"`
	// mountPath where builds mount the volume. A build cache is hit only when
	// the module cache is at the path where it was when the entry was written.
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9._-]+)+$`
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:default="/gocache"
	// +optional
	MountPath string `json:"mountPath,omitempty"`
	// isolation from settings of the build's surroundings.
	// +kubebuilder:default=Standard
	// +optional
	Isolation Isolation `json:"isolation,omitempty"`
}

// WarmUp says when and from what the caches are filled.
type WarmUp struct {
	Schedule `json:",inline"`
	// sources to fill the caches from. None: the standard library alone.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Sources []WarmUpSource `json:"sources,omitempty"`
	// deadline of one run.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h"
	// +kubebuilder:default="1h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
	// resources of the warm-up Job, in place of the pod template's.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
}

// WarmUpSource is one thing to fill the caches from.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.git)",message="set exactly one of configMapRef and git"
type WarmUpSource struct {
	// configMapRef holds go.mod and go.sum. All modules are downloaded.
	// +optional
	ConfigMapRef *LocalReference `json:"configMapRef,omitempty"`
	// git names a repository, whose packages and tests are built.
	// +optional
	Git *GitSource `json:"git,omitempty"`
	// packages to build, as arguments of go build. Unset: std for a
	// configMapRef, ./... for git.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9._~/][^\s,]*$`
	// +listType=atomic
	// +optional
	Packages []string `json:"packages,omitempty"`
}

// GitSource is a repository at a ref. Submodules are not followed.
//
// +kubebuilder:validation:XValidation:rule="!self.url.matches('^https?://[^/]*@') && !self.url.matches('^ssh://[^/]*:[^/]*@')",message="url must hold no credentials: name a Secret in secretRef"
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('ssh://') || has(self.secretRef)",message="an ssh url needs a secretRef with identity and known_hosts"
type GitSource struct {
	// url of the repository, such as https://example.com/group/program.git or
	// ssh://git@example.com/group/program.git. Its go.mod is at the top.
	// +kubebuilder:validation:Pattern=`^(https?|ssh)://.+$`
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// ref is a branch, a tag, or a commit in all of its 40 digits. Unset: the
	// default branch. It is looked at every minute; another commit warms anew.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._/@+#=][-A-Za-z0-9._/@+#=]*$`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Ref string `json:"ref,omitempty"`
	// secretRef names a Secret with the keys username and password for http and
	// https, or identity (a private key without a passphrase) and known_hosts for
	// ssh. Only the container that fetches sees it.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// CorruptPolicy says what a Corrupt verdict on a live volume leads to.
// +kubebuilder:validation:Enum=Report;Rollback
type CorruptPolicy string

// The corrupt policies of a cache.
const (
	CorruptReport   CorruptPolicy = "Report"
	CorruptRollback CorruptPolicy = "Rollback"
)

// CacheIntegrity says when the live claim is checked.
type CacheIntegrity struct {
	Schedule `json:",inline"`
	// checks to run. Unset: all layers.
	// +kubebuilder:validation:MaxItems=2
	// +listType=set
	// +optional
	Checks []CacheLayer `json:"checks,omitempty"`
	// onCorrupt says what a Corrupt verdict leads to.
	// +kubebuilder:default=Report
	// +optional
	OnCorrupt CorruptPolicy `json:"onCorrupt,omitempty"`
	// deadline of one run.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h"
	// +kubebuilder:default="1h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
}

// Approval says whether a person must agree to a plan.
// +kubebuilder:validation:Enum=Automatic;Required
type Approval string

// The approvals.
const (
	ApprovalAutomatic Approval = "Automatic"
	ApprovalRequired  Approval = "Required"
)

// Cleanup bounds the caches.
//
// +kubebuilder:validation:XValidation:rule="has(self.maxSize) || has(self.maxAge)",message="set maxSize, maxAge or both"
type Cleanup struct {
	Schedule `json:",inline"`
	// maxSize of both layers together. What was used least recently goes first;
	// what the last warm-up used never does.
	// +optional
	MaxSize *resource.Quantity `json:"maxSize,omitempty"`
	// maxAge since an entry was last used by a warm-up.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// approval of each plan before it is applied. Required: a plan waits until
	// somebody asks for approve-cleanup=<digest>#<token>.
	// +kubebuilder:default=Automatic
	// +optional
	Approval Approval `json:"approval,omitempty"`
	// webhook is told of each plan that waits for approval: a POST of JSON, at
	// least once, with the plan's digest as its Idempotency-Key.
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`
}

// Webhook is an address that is told something.
type Webhook struct {
	// url to POST to.
	// +kubebuilder:validation:Pattern=`^https?://.+$`
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// timeout of the call.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('5m')",message="must be from 1s to 5m"
	// +kubebuilder:default="10s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Restore names the snapshot that the claim shall hold.
type Restore struct {
	// snapshotRef names a verified CacheSnapshot.
	// +required
	SnapshotRef LocalReference `json:"snapshotRef"`
	// requestID makes the value distinct, to restore the same snapshot again.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	RequestID string `json:"requestID,omitempty"`
}

// GoCacheStatus is what was observed of a GoCache.
type GoCacheStatus struct {
	// observedGeneration of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions of the cache.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// storage is the claim as it is.
	// +optional
	Storage CacheStorageStatus `json:"storage,omitzero"`
	// warmUp is what is known of warm-ups.
	// +optional
	WarmUp WarmUpStatus `json:"warmUp,omitzero"`
	// integrity is what is known of checks of the live claim.
	// +optional
	Integrity *IntegrityStatus `json:"integrity,omitempty"`
	// cleanup is what is known of cleanings.
	// +optional
	Cleanup *CleanupStatus `json:"cleanup,omitempty"`
	// counts of what the caches held after the last run.
	// +optional
	Counts CacheCounts `json:"counts,omitzero"`
	// toolchain that wrote the cache last.
	// +optional
	Toolchain *ToolchainRecord `json:"toolchain,omitempty"`
	// manifestDigest of what the last run left on the claim.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ManifestDigest string `json:"manifestDigest,omitempty"`
	// snapshottedRun is the warm-up that a snapshot was last taken after.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	SnapshottedRun string `json:"snapshottedRun,omitempty"`
	// lastScheduledSnapshot is when a snapshot was last taken by the schedule.
	// +optional
	LastScheduledSnapshot *metav1.Time `json:"lastScheduledSnapshot,omitempty"`
	// latestSnapshot is the newest CacheSnapshot of this cache.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LatestSnapshot string `json:"latestSnapshot,omitempty"`
	// latestVerifiedSnapshot is the newest that was proven Intact: what
	// consumers get.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LatestVerifiedSnapshot string `json:"latestVerifiedSnapshot,omitempty"`
	// content says what the claim holds when it was restored.
	// +optional
	Content *ContentStatus `json:"content,omitempty"`
	// lastHandledRequest echoes the request annotation.
	// +optional
	LastHandledRequest *RequestStatus `json:"lastHandledRequest,omitempty"`
	// lastHandledRestore is the spec.restore that was acted on last.
	// +optional
	LastHandledRestore *Restore `json:"lastHandledRestore,omitempty"`
	// swap in progress.
	// +optional
	Swap *SwapStatus `json:"swap,omitempty"`
	// lastSwap is how the last one ended.
	// +optional
	LastSwap *SwapResult `json:"lastSwap,omitempty"`
}

// CacheStorageStatus is the claim as it is.
type CacheStorageStatus struct {
	// claimName of the live claim.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ClaimName string `json:"claimName,omitempty"`
	// volumeName of the volume that is bound to it.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// capacity of the volume.
	// +optional
	Capacity *resource.Quantity `json:"capacity,omitempty"`
	// used by the caches after the last run.
	// +optional
	Used *resource.Quantity `json:"used,omitempty"`
	// usedPercent of what can be used of the file system, as the last run found.
	// +optional
	UsedPercent *int32 `json:"usedPercent,omitempty"`
	// measuredCapacity is the capacity that the volume had when usedPercent was
	// found.
	// +optional
	MeasuredCapacity *resource.Quantity `json:"measuredCapacity,omitempty"`
	// growth is the expansion by spec.storage.growth that was last asked for of
	// this volume.
	// +optional
	Growth *GrowthStatus `json:"growth,omitempty"`
	// appliedSize is the spec's size when the volume was made or grown.
	// +optional
	AppliedSize *resource.Quantity `json:"appliedSize,omitempty"`
	// appliedClass is the storage class that the volume was made with.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	AppliedClass string `json:"appliedClass,omitempty"`
}

// GrowthStatus is an expansion that was asked for.
type GrowthStatus struct {
	// size that the claim was asked to grow to.
	// +required
	Size resource.Quantity `json:"size"`
	// time when it was asked, or refused.
	// +optional
	Time metav1.Time `json:"time,omitzero"`
	// refused is what the API server said; empty: it was not refused.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Refused string `json:"refused,omitempty"`
}

// CacheCounts of entries.
type CacheCounts struct {
	// modules is the number of module versions.
	// +optional
	Modules int64 `json:"modules,omitempty"`
	// buildEntries is the number of entries of the build cache.
	// +optional
	BuildEntries int64 `json:"buildEntries,omitempty"`
}

// RunOutcome is how a run ended.
// +kubebuilder:validation:Enum=Succeeded;Failed;Inconclusive
type RunOutcome string

// The outcomes of a run. An Inconclusive run could not tell: it was evicted,
// ran out of memory, or left no readable report.
const (
	RunSucceeded    RunOutcome = "Succeeded"
	RunFailed       RunOutcome = "Failed"
	RunInconclusive RunOutcome = "Inconclusive"
)

// WarmUpStatus is what is known of warm-ups.
type WarmUpStatus struct {
	// run identifies the run that was booked last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// outcome of that run.
	// +optional
	Outcome RunOutcome `json:"outcome,omitempty"`
	// message for a person: why that run did not succeed, or what it found that
	// is worth a look.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// startTime of that run.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime of that run.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// failures in a row.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// lastSuccessTime is when a warm-up last succeeded.
	// +optional
	LastSuccessTime *metav1.Time `json:"lastSuccessTime,omitempty"`
	// lastSuccessRun identifies the run that last succeeded.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	LastSuccessRun string `json:"lastSuccessRun,omitempty"`
	// inputs is the digest of what the run that was booked last was made from,
	// whether it succeeded or not.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Inputs string `json:"inputs,omitempty"`
	// revisions are the commits that the git sources named when they were last
	// looked at, in the order of the sources.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Revisions []GitRevision `json:"revisions,omitempty"`
	// claimUID is the uid of the claim that that run wrote to: another claim has
	// to be warmed anew.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ClaimUID string `json:"claimUID,omitempty"`
}

// GitRevision is the commit that a ref names.
type GitRevision struct {
	// url of the repository.
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// ref that was looked at; empty: the default branch.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Ref string `json:"ref,omitempty"`
	// commit that it named when the repository was last read.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Commit string `json:"commit,omitempty"`
	// warmedCommit is the one that the last warm-up which succeeded has built.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	WarmedCommit string `json:"warmedCommit,omitempty"`
	// message says why the repository could not be read at the last look.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// IntegrityStatus is what is known of checks of a live claim.
type IntegrityStatus struct {
	VerificationStatus `json:",inline"`
	// volumeName of the volume that was checked: a verdict says nothing of the
	// volume that took its place.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// cause of the check that was booked last.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Cause string `json:"cause,omitempty"`
	// startTime of that check.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// unsettled is how many checks for that cause could not tell, the last one
	// among them. A verdict Corrupt stands until a check of the volume tells
	// otherwise.
	// +optional
	Unsettled int32 `json:"unsettled,omitempty"`
	// lastIntactTime is when a check last found the live claim Intact.
	// +optional
	LastIntactTime *metav1.Time `json:"lastIntactTime,omitempty"`
}

// ContentStatus says what a volume holds since it was replaced.
type ContentStatus struct {
	// snapshot that the volume was made from.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// reason for it.
	// +optional
	Reason SwapReason `json:"reason,omitempty"`
	// volumeName of that volume: what is said here says nothing of another.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
}

// SwapReason says why a volume is replaced.
// +kubebuilder:validation:Enum=Restore;Request;Corrupt;Migration
type SwapReason string

// The reasons of a swap.
const (
	// SwapRestore: spec.restore asks for it.
	SwapRestore SwapReason = "Restore"
	// SwapRequest: a rollback request asks for it.
	SwapRequest SwapReason = "Request"
	// SwapCorrupt: the volume was convicted.
	SwapCorrupt SwapReason = "Corrupt"
	// SwapMigration: the spec asks for another class or for less.
	SwapMigration SwapReason = "Migration"
)

// SwapStatus is the intent of a swap of volumes under a claim's stable name.
type SwapStatus struct {
	// reason for the swap.
	// +required
	Reason SwapReason `json:"reason"`
	// snapshot that the new volume is made from.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// restore is the spec.restore that is acted on.
	// +optional
	Restore *Restore `json:"restore,omitempty"`
	// storageClassName of the new volume. Unset: the cluster's default.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName string `json:"storageClassName,omitempty"`
	// size of the new volume.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// copied: the driver cannot restore the snapshot into that class or size, so
	// its content is copied file by file.
	// +optional
	Copied bool `json:"copied,omitempty"`
	// check of the new volume.
	// +optional
	Check VerificationStatus `json:"check,omitzero"`
	// previousVolume is replaced. Empty: the claim has none yet.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PreviousVolume string `json:"previousVolume,omitempty"`
	// nextVolume takes its place. It is named once its content was found right.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	NextVolume string `json:"nextVolume,omitempty"`
	// step that is taken or waited for.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Step string `json:"step,omitempty"`
	// message for a person: what is waited for.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// failure says why what was begun is taken back.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Failure string `json:"failure,omitempty"`
	// consumers that are waited for.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +optional
	Consumers []string `json:"consumers,omitempty"`
	// startTime of the swap.
	// +optional
	StartTime metav1.Time `json:"startTime,omitzero"`
}

// SwapResult is how the last swap ended.
type SwapResult struct {
	// reason for the swap.
	// +required
	Reason SwapReason `json:"reason"`
	// snapshot that the new volume was made from.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// storageClassName and size that were asked for.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName string `json:"storageClassName,omitempty"`
	// size that was asked for.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// failure says why the volume was not replaced; empty: it was.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Failure string `json:"failure,omitempty"`
	// previousVolume that was, or was to be, replaced.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PreviousVolume string `json:"previousVolume,omitempty"`
	// startTime of the swap.
	// +optional
	StartTime metav1.Time `json:"startTime,omitzero"`
	// completionTime of the swap.
	// +optional
	CompletionTime metav1.Time `json:"completionTime,omitzero"`
}
