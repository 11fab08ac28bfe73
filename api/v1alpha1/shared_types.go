package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LocalReference names an object in the same namespace.
type LocalReference struct {
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}

// Schedule is when something is started automatically.
type Schedule struct {
	// schedule is a cron expression of five fields, or one of @hourly, @daily,
	// @weekly, @monthly, @every DURATION. Unset: only on request or on change.
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('(?i)^((@(hourly|daily|midnight|weekly|monthly|yearly|annually)|@every ([0-9]+([.][0-9]+)?(ms|s|m|h))+)|([*?]|([0-5]?[0-9])(-([0-5]?[0-9]))?)(/[1-9][0-9]?)?(,([*?]|([0-5]?[0-9])(-([0-5]?[0-9]))?)(/[1-9][0-9]?)?)* +([*?]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?(,([*?]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?)* +([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?(,([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?)* +([*?]|(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(-(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))?)(/[1-9][0-9]?)?(,([*?]|(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(-(0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))?)(/[1-9][0-9]?)?)* +([*?]|([0-6]|sun|mon|tue|wed|thu|fri|sat)(-([0-6]|sun|mon|tue|wed|thu|fri|sat))?)(/[1-9][0-9]?)?(,([*?]|([0-6]|sun|mon|tue|wed|thu|fri|sat)(-([0-6]|sun|mon|tue|wed|thu|fri|sat))?)(/[1-9][0-9]?)?)*)$')",message="must be a cron expression of five fields such as '30 2 * * 1-5', or one of @hourly, @daily, @weekly, @monthly, @every 90m"
	// +optional
	Schedule string `json:"schedule,omitempty"`
	// timeZone is an IANA name such as Europe/Berlin. Unset: UTC.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
	// jitter spreads starts over this long after each scheduled time; the offset
	// is fixed per object.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="must be a duration such as 90s or 1h30m, from 0s to 24h"
	// +optional
	Jitter *metav1.Duration `json:"jitter,omitempty"`
	// startingDeadline is how late a start may be; one that is missed by more is
	// skipped. Unset: a missed start is caught up once.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="must be a duration such as 90s or 1h30m, from 1s to 8760h"
	// +optional
	StartingDeadline *metav1.Duration `json:"startingDeadline,omitempty"`
}

// PrivateModules are the modules that are absent from public proxies and from
// public checksum databases.
type PrivateModules struct {
	// patterns of module paths, in the syntax of GOPRIVATE.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^,\s]+$`
	// +listType=set
	// +optional
	Patterns []string `json:"patterns,omitempty"`
}

// Ownership is the identity under which Jobs and builds use a volume. A null
// field leaves the choice to the platform.
type Ownership struct {
	// runAsUser is the user id of every process that touches the volume.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	// +kubebuilder:default=65532
	// +nullable
	// +optional
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// runAsGroup is the primary group id of those processes.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	// +kubebuilder:default=65532
	// +nullable
	// +optional
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
	// fsGroup is the group that owns the files. A pod with another fsGroup
	// makes the kubelet rewrite the mode of every file.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	// +kubebuilder:default=65532
	// +nullable
	// +optional
	FSGroup *int64 `json:"fsGroup,omitempty"`
}

// DeletionPolicy is what happens to data when the object that it belongs to is
// deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

// The deletion policies.
const (
	DeletionRetain DeletionPolicy = "Retain"
	DeletionDelete DeletionPolicy = "Delete"
)

// ConsumersPolicy is how pods are handled that still use a PVC whose volume is
// to be replaced.
// +kubebuilder:validation:Enum=Wait;Evict
type ConsumersPolicy string

// The consumers policies.
const (
	ConsumersWait  ConsumersPolicy = "Wait"
	ConsumersEvict ConsumersPolicy = "Evict"
)

// VolumeReplacement is how the volume of a PVC is replaced under the stable name
// of the PVC, for a restore, a rollback or a migration.
type VolumeReplacement struct {
	// consumers of the PVC are waited for, or evicted.
	// +kubebuilder:default=Wait
	// +optional
	Consumers ConsumersPolicy `json:"consumers,omitempty"`
	// keepPrevious is how long the replaced volume is kept, to undo the replacement
	// or to inspect it. The volume of a cache is kept for up to a week longer while
	// the snapshot that is offered was created from it; with 0s it is not kept.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('87600h')",message="must be a duration such as 90s or 1h30m, from 0s to 87600h"
	// +kubebuilder:default="168h"
	// +optional
	KeepPrevious *metav1.Duration `json:"keepPrevious,omitempty"`
}

// Retention is which snapshots are kept. Only verified ones count; the newest
// verified one, pinned ones and ones in use are never deleted.
type Retention struct {
	// keepLast is how many of the newest verified snapshots are kept.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=3
	// +optional
	KeepLast int32 `json:"keepLast,omitempty"`
	// maxAge deletes snapshots older than this, however many there are.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be a duration such as 90s or 1h30m, from 1m to 87600h"
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// keepHourly keeps the newest of each of the last N hours that has one.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	KeepHourly int32 `json:"keepHourly,omitempty"`
	// keepDaily keeps the newest of each of the last N days that has one.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	KeepDaily int32 `json:"keepDaily,omitempty"`
	// keepWeekly keeps the newest of each of the last N weeks that has one.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	KeepWeekly int32 `json:"keepWeekly,omitempty"`
	// keepMonthly keeps the newest of each of the last N months that has one.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	KeepMonthly int32 `json:"keepMonthly,omitempty"`
}

// SnapshotPolicy is when snapshots are created and how long they are kept.
//
// +kubebuilder:validation:XValidation:rule="!has(self.verification) || !has(self.verification.mode) || self.verification.mode != 'Skip'",message="verification.mode Skip is for a single CacheSnapshot: unverified snapshots are never offered to consumers and not counted by retention, so a policy would accumulate them"
type SnapshotPolicy struct {
	Schedule `json:",inline"`
	// afterWarmUp creates a snapshot after each successful warm-up. Unset: true,
	// unless a schedule is set. It has no meaning for a proxy.
	// +optional
	AfterWarmUp *bool `json:"afterWarmUp,omitempty"`
	// volumeSnapshotClassName is the class of the CSI snapshots. Unset: the
	// default class of the volume's driver.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeSnapshotClassName *string `json:"volumeSnapshotClassName,omitempty"`
	// retention of the snapshots.
	// +kubebuilder:default={}
	// +optional
	Retention Retention `json:"retention,omitzero"`
	// verification of each snapshot.
	// +kubebuilder:default={}
	// +optional
	Verification Verification `json:"verification,omitzero"`
	// deletionPolicy of the snapshots, when the object with this policy is deleted.
	// +kubebuilder:default=Retain
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// VerificationMode is whether a snapshot is verified.
// +kubebuilder:validation:Enum=Required;Skip
type VerificationMode string

// The verification modes.
const (
	// VerificationRequired: the snapshot is offered only after an Intact verdict.
	VerificationRequired VerificationMode = "Required"
	// VerificationSkip: for forensics; never offered, restored or counted.
	VerificationSkip VerificationMode = "Skip"
)

// SnapshotCorruptPolicy is what a Corrupt verdict on a snapshot leads to.
// +kubebuilder:validation:Enum=Fail;Repair
type SnapshotCorruptPolicy string

// The corrupt policies of a snapshot.
const (
	// SnapshotFail leaves the snapshot Corrupt: it is never offered.
	SnapshotFail SnapshotCorruptPolicy = "Fail"
	// SnapshotRepair removes the corrupt entries on a clone, and offers a snapshot
	// of that.
	SnapshotRepair SnapshotCorruptPolicy = "Repair"
)

// Verification is how a snapshot is verified.
type Verification struct {
	// mode Required offers the snapshot only after an Intact verdict.
	// +kubebuilder:default=Required
	// +optional
	Mode VerificationMode `json:"mode,omitempty"`
	// onCorrupt is what a Corrupt verdict leads to.
	// +kubebuilder:default=Fail
	// +optional
	OnCorrupt SnapshotCorruptPolicy `json:"onCorrupt,omitempty"`
	// trust is what checksums are compared with, in addition to the cache's own
	// record.
	// +optional
	Trust *Trust `json:"trust,omitempty"`
	// offlineBuild is a test that a program builds from the snapshot alone.
	// +optional
	OfflineBuild *OfflineBuild `json:"offlineBuild,omitempty"`
	// repeat is when a verified snapshot is verified again. Of a snapshot that the
	// policy of its source has created, the present setting of that policy applies.
	// +kubebuilder:default={}
	// +optional
	Repeat *RepeatPolicy `json:"repeat,omitempty"`
	// deadline of creation and verification together, and of each repetition. The time
	// that a snapshot waits for its turn to be verified does not count, unless the
	// policy of its source has created a newer one meanwhile.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be a duration such as 90s or 1h30m, from 1s to 168h"
	// +kubebuilder:default="1h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
	// resources of the verification Job, in place of the pod template's.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
}

// RepeatedSnapshots is which verified snapshots are verified again.
// +kubebuilder:validation:Enum=Newest;All;None
type RepeatedSnapshots string

// The snapshots that are verified again.
const (
	// RepeatNewest: the newest verified one of the source, which new
	// PersistentVolumeClaims are populated from.
	RepeatNewest RepeatedSnapshots = "Newest"
	// RepeatAll: each one that is kept.
	RepeatAll RepeatedSnapshots = "All"
	// RepeatNone: no snapshot.
	RepeatNone RepeatedSnapshots = "None"
)

// RepeatPolicy is when verified snapshots are verified again: storage may lose or
// change what it has stored, and the newest snapshot may be offered for months. The
// check runs on a new clone, as the first one did. An inconclusive repetition changes
// nothing; a Corrupt one withdraws the snapshot. By default, the one snapshot that is
// offered is read once a week, which is little beside what its clones are read by
// builds.
type RepeatPolicy struct {
	// snapshots that are verified again.
	// +kubebuilder:default=Newest
	// +optional
	Snapshots RepeatedSnapshots `json:"snapshots,omitempty"`
	// interval from the last time that the snapshot was found Intact. Up to a tenth
	// is added, so that snapshots are not verified all at once.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be a duration such as 24h or 168h, from 1h to 8760h"
	// +kubebuilder:default="168h"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
}

// Trust is data from outside the cache that its checksums must agree with.
type Trust struct {
	// goSumRefs name ConfigMaps whose key go.sum holds lines of a go.sum file;
	// their union is trusted.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	GoSumRefs []LocalReference `json:"goSumRefs,omitempty"`
	// checksumDatabase, in the syntax of GOSUMDB, with its key.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="checksumDatabase must not contain credentials: name a database that needs none, such as one that a ModProxy serves"
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ChecksumDatabase string `json:"checksumDatabase,omitempty"`
	// firstSeen trusts what the first verified snapshot of the source held.
	// +optional
	FirstSeen bool `json:"firstSeen,omitempty"`
	// coverage is what a module version of a cache means that neither goSumRefs nor
	// checksumDatabase name, if one of them is set. Unset: Full. Stores of proxies are
	// checked as with Partial.
	// +optional
	Coverage Coverage `json:"coverage,omitempty"`
}

// Coverage is how much of a module cache trust data must name.
// +kubebuilder:validation:Enum=Full;Partial
type Coverage string

// The coverages.
const (
	// CoverageFull makes a verdict Inconclusive if a module version is not named.
	CoverageFull Coverage = "Full"
	// CoveragePartial accepts module versions that are not named.
	CoveragePartial Coverage = "Partial"
)

// OfflineBuild is an offline build test: a build from the snapshot alone, with
// GOPROXY=off.
type OfflineBuild struct {
	// configMapRef holds go.mod, go.sum and the files of the program, package
	// main, as keys without folders.
	// +required
	ConfigMapRef LocalReference `json:"configMapRef"`
	// vendor also runs go mod vendor.
	// +optional
	Vendor bool `json:"vendor,omitempty"`
}

// Resources of a container.
type Resources struct {
	// requests by resource name.
	// +kubebuilder:validation:MaxProperties=8
	// +optional
	Requests map[string]resource.Quantity `json:"requests,omitempty"`
	// limits by resource name.
	// +kubebuilder:validation:MaxProperties=8
	// +optional
	Limits map[string]resource.Quantity `json:"limits,omitempty"`
}

// RequestOutcome is how far a request is, and how it ended.
// +kubebuilder:validation:Enum=Waiting;Accepted;Succeeded;Failed;Refused
type RequestOutcome string

// The outcomes of a request.
const (
	// RequestWaiting: the target works on another request, or has not accepted this one yet.
	RequestWaiting RequestOutcome = "Waiting"
	// RequestAccepted: the target works on it.
	RequestAccepted  RequestOutcome = "Accepted"
	RequestSucceeded RequestOutcome = "Succeeded"
	RequestFailed    RequestOutcome = "Failed"
	RequestRefused   RequestOutcome = "Refused"
)

// RequestStatus is the CacheRequest that an object works on.
type RequestStatus struct {
	// name of the CacheRequest.
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// uid of the CacheRequest.
	// +kubebuilder:validation:MaxLength=64
	// +required
	UID string `json:"uid"`
	// action that is requested.
	// +required
	Action RequestAction `json:"action"`
	// argument of the action.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Argument string `json:"argument,omitempty"`
	// outcome so far.
	// +required
	Outcome RequestOutcome `json:"outcome"`
	// message explains the outcome.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// time of the outcome.
	// +optional
	Time metav1.Time `json:"time,omitzero"`
}

// ToolchainRecord is what the run that wrote a cache recorded of its toolchain.
type ToolchainRecord struct {
	// version as printed by go version, such as go1.26.8.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Version string `json:"version,omitempty"`
	// platform as GOOS/GOARCH.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Platform string `json:"platform,omitempty"`
	// goSHA256 is the hex digest of the go command.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	GoSHA256 string `json:"goSHA256,omitempty"`
	// compilerSHA256 is the hex digest of the compiler.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	CompilerSHA256 string `json:"compilerSHA256,omitempty"`
	// goFlags is GOFLAGS at the time.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	GoFlags string `json:"goFlags,omitempty"`
	// cgoEnabled is CGO_ENABLED at the time, 0 or 1.
	// +kubebuilder:validation:MaxLength=1
	// +optional
	CGOEnabled string `json:"cgoEnabled,omitempty"`
	// mountPath of the cache when it was written. A build cache written
	// without -trimpath is hit only under the same path.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	MountPath string `json:"mountPath,omitempty"`
}

// TrustedCA is a certificate authority that is trusted beside the public ones.
type TrustedCA struct {
	// configMapRef names a ConfigMap with the key ca.crt: certificates in PEM
	// format.
	// +required
	ConfigMapRef LocalReference `json:"configMapRef"`
}
