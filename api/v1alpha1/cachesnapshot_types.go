package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CacheSnapshot is one verified, restorable snapshot of a cache or of the store
// of a proxy instance.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=csnap,categories=gocaching
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.sourceRef.name`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].reason`
// +kubebuilder:printcolumn:name="Modules",type=integer,JSONPath=`.status.verification.counts.modules`
// +kubebuilder:printcolumn:name="Proven",type=integer,priority=1,JSONPath=`.status.verification.provenModules`
// +kubebuilder:printcolumn:name="Total",type=integer,priority=1,JSONPath=`.status.verification.totalModules`
// +kubebuilder:printcolumn:name="ProvenBuild",type=integer,priority=1,JSONPath=`.status.verification.provenBuildEntries`
// +kubebuilder:printcolumn:name="TotalBuild",type=integer,priority=1,JSONPath=`.status.verification.counts.buildEntries`
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.restoreSize`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS-1035 label of at most 63 characters: lower case letters, digits and '-', beginning with a letter"
type CacheSnapshot struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is the desired state.
	// +required
	Spec CacheSnapshotSpec `json:"spec"`
	// status is the observed state.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status CacheSnapshotStatus `json:"status,omitzero"`
}

// CacheSnapshotList is a list of CacheSnapshot.
// +kubebuilder:object:root=true
type CacheSnapshotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []CacheSnapshot `json:"items"`
}

// CacheSnapshotSpec is the desired state of a CacheSnapshot.
//
// +kubebuilder:validation:XValidation:rule="self.sourceRef == oldSelf.sourceRef",message="sourceRef is immutable: create another CacheSnapshot"
// +kubebuilder:validation:XValidation:rule="has(self.verification.mode) == has(oldSelf.verification.mode) && (!has(self.verification.mode) || self.verification.mode == oldSelf.verification.mode) && has(self.verification.onCorrupt) == has(oldSelf.verification.onCorrupt) && (!has(self.verification.onCorrupt) || self.verification.onCorrupt == oldSelf.verification.onCorrupt) && has(self.verification.trust) == has(oldSelf.verification.trust) && (!has(self.verification.trust) || self.verification.trust == oldSelf.verification.trust) && has(self.verification.offlineBuild) == has(oldSelf.verification.offlineBuild) && (!has(self.verification.offlineBuild) || self.verification.offlineBuild == oldSelf.verification.offlineBuild)",message="verification.mode, onCorrupt, trust and offlineBuild are immutable: create another CacheSnapshot"
// +kubebuilder:validation:XValidation:rule="self.sourceRef.kind == 'GoCache' || !has(self.verification.offlineBuild)",message="verification.offlineBuild requires a sourceRef of kind GoCache: no build runs on a proxy's store"
// +kubebuilder:validation:XValidation:rule="has(self.volumeSnapshotClassName) == has(oldSelf.volumeSnapshotClassName) && (!has(self.volumeSnapshotClassName) || self.volumeSnapshotClassName == oldSelf.volumeSnapshotClassName)",message="volumeSnapshotClassName is immutable: create another CacheSnapshot"
type CacheSnapshotSpec struct {
	// suspend keeps the operator from starting anything for this object.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// sourceRef names the source of the snapshot.
	// +required
	SourceRef SnapshotSource `json:"sourceRef"`
	// volumeSnapshotClassName of the CSI snapshot. Unset: the default class of
	// the volume's driver.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeSnapshotClassName *string `json:"volumeSnapshotClassName,omitempty"`
	// deletionPolicy of the CSI snapshot, when this object is deleted.
	// +kubebuilder:default=Delete
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// pinned snapshots are never deleted by retention.
	// +optional
	Pinned bool `json:"pinned,omitempty"`
	// verification of the snapshot.
	// +kubebuilder:default={}
	// +optional
	Verification Verification `json:"verification,omitzero"`
	// podTemplate of the verification Job. Unset: the source's.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
}

// SnapshotSource names the source of a snapshot.
//
// +kubebuilder:validation:XValidation:rule="(self.kind == 'ModProxy') == has(self.instance)",message="instance is required with kind ModProxy, and must not be set with another kind"
type SnapshotSource struct {
	// kind of the source.
	// +kubebuilder:validation:Enum=GoCache;ModProxy
	// +required
	Kind string `json:"kind"`
	// name of the source.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +required
	Name string `json:"name"`
	// instance of a ModProxy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +optional
	Instance string `json:"instance,omitempty"`
}

// Verdict is the result of a check.
// +kubebuilder:validation:Enum=Intact;Corrupt;Inconclusive
type Verdict string

// The verdicts. Inconclusive never counts as good and never as bad.
const (
	VerdictIntact       Verdict = "Intact"
	VerdictCorrupt      Verdict = "Corrupt"
	VerdictInconclusive Verdict = "Inconclusive"
)

// CacheSnapshotStatus is the observed state of a CacheSnapshot.
type CacheSnapshotStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions of the snapshot.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// startTime is when work on this snapshot began. The deadline counts from the
	// start of stage Snapshot, when no Job writes to the source, without the time from
	// the end of that stage to the start of stage Verify.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// volumeSnapshotName of the CSI snapshot that consumers are cloned from.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeSnapshotName string `json:"volumeSnapshotName,omitempty"`
	// volumeSnapshotContentName that is bound to it.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeSnapshotContentName string `json:"volumeSnapshotContentName,omitempty"`
	// volumeSnapshotUID is the uid of the VolumeSnapshot that is verified. Another
	// object of the same name is never restored.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	VolumeSnapshotUID string `json:"volumeSnapshotUID,omitempty"`
	// verificationJobUID is the uid of the Job on a clone that the operator created
	// last: a check, a repair or an offline build test. The report of another Job
	// counts only if that Job runs the same.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	VerificationJobUID string `json:"verificationJobUID,omitempty"`
	// verificationCloneUID is the uid of the clone that the operator created last to
	// verify this snapshot on. The report of a Job counts only if the PVC that it has
	// read still has this uid. Unset: the next attempt creates a clone.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	VerificationCloneUID string `json:"verificationCloneUID,omitempty"`
	// referenceCloneUID is the same for the clone of the snapshot that checksums are
	// compared with, by trust.firstSeen.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ReferenceCloneUID string `json:"referenceCloneUID,omitempty"`
	// snapshotHandle is the CSI driver's name for the content that is verified.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	SnapshotHandle string `json:"snapshotHandle,omitempty"`
	// creationTime is when the CSI driver created the snapshot.
	// +optional
	CreationTime *metav1.Time `json:"creationTime,omitempty"`
	// restoreSize is the minimum size of a volume created from it.
	// +optional
	RestoreSize *resource.Quantity `json:"restoreSize,omitempty"`
	// source as it was when the snapshot was created.
	// +optional
	Source *SourceRecord `json:"source,omitempty"`
	// weakerThanPolicy lists what the snapshot policy of the source required of the
	// verification when this snapshot was created, and spec.verification does not
	// include. A snapshot with such a gap is restored and cloned by its own name
	// only: PersistentVolumeClaims that name the source do not get it, and
	// retention does not count it as verified.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	WeakerThanPolicy string `json:"weakerThanPolicy,omitempty"`
	// verification of the snapshot that volumeSnapshotName names.
	// +optional
	Verification VerificationStatus `json:"verification,omitzero"`
	// repair of the original snapshot, if its content was corrupt. The source is
	// corrupt too.
	// +optional
	Repair *RepairStatus `json:"repair,omitempty"`
	// offlineBuild is the result of the offline build test, if one is requested.
	// +optional
	OfflineBuild *OfflineBuildStatus `json:"offlineBuild,omitempty"`
	// repeat is the last repetition of the verification, by spec.verification.repeat.
	// +optional
	Repeat *RepeatStatus `json:"repeat,omitempty"`
	// stages and how long each took.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +optional
	Stages []StageStatus `json:"stages,omitempty"`
}

// SourceRecord is the source as it was when the snapshot was created. Clones and
// checks use this record, because the source may change or be deleted.
type SourceRecord struct {
	// uid of the source object.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	UID string `json:"uid,omitempty"`
	// persistentVolumeClaimName of the PVC of which the snapshot was created.
	// +kubebuilder:validation:MaxLength=253
	// +required
	PersistentVolumeClaimName string `json:"persistentVolumeClaimName"`
	// volumeName of the PersistentVolume that was bound to it. Clones have its
	// node affinity.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// storageClassName of that PVC.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName string `json:"storageClassName,omitempty"`
	// capacity of that PVC.
	// +optional
	Capacity *resource.Quantity `json:"capacity,omitempty"`
	// ownership of the files.
	// +optional
	Ownership *Ownership `json:"ownership,omitempty"`
	// platform of the cache.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Platform string `json:"platform,omitempty"`
	// layers of a cache that the volume holds.
	// +kubebuilder:validation:MaxItems=2
	// +listType=atomic
	// +optional
	Layers []CacheLayer `json:"layers,omitempty"`
	// toolchainImage that the cache is warmed with.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ToolchainImage string `json:"toolchainImage,omitempty"`
	// mountPath of the cache in builds.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	MountPath string `json:"mountPath,omitempty"`
	// mountedBy are the pods that had the PVC mounted when the snapshot was created:
	// data that they had not flushed is not in the snapshot.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +optional
	MountedBy []string `json:"mountedBy,omitempty"`
	// layout of the store of a proxy instance that the volume holds.
	// +kubebuilder:validation:Enum=goproxy;athens
	// +optional
	Layout string `json:"layout,omitempty"`
	// toolchain that wrote the cache.
	// +optional
	Toolchain *ToolchainRecord `json:"toolchain,omitempty"`
	// counts of entries after the last warm-up: a layer that had entries then and
	// has none in the snapshot was emptied by another process.
	// +optional
	Counts CacheCounts `json:"counts,omitzero"`
	// sealedDigest of the manifest that the last run of the cache's writer
	// reported: the content of the snapshot is compared with that manifest. Unset:
	// the last run left none, since it was killed, or its volume was replaced.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	SealedDigest string `json:"sealedDigest,omitempty"`
}

// VerificationStatus is the progress and the result of a verification.
type VerificationStatus struct {
	// run identifies the attempt that was recorded last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// attempts made; an inconclusive one is repeated a few times.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// verdict of the last attempt.
	// +optional
	Verdict Verdict `json:"verdict,omitempty"`
	// message explains a verdict that is not Intact, or why the Job of an attempt without a verdict did not run.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// completionTime of the last attempt.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// reference is the snapshot that checksums were compared with, by
	// trust.firstSeen. Unset: there was none yet, or trust.firstSeen is not set.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Reference string `json:"reference,omitempty"`
	// digest of the canonical manifest of the content.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Digest string `json:"digest,omitempty"`
	// bytes that were read.
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
	// duration of the check.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// counts of the entries that were checked.
	// +optional
	Counts VerifiedCounts `json:"counts,omitzero"`
	// totalModules is the number of module versions with content: an archive or an
	// extracted module.
	// +optional
	TotalModules int64 `json:"totalModules,omitempty"`
	// provenModules is how many of these have the content that trust data name. Of
	// the others, it is known only that their parts agree with each other.
	// +optional
	ProvenModules int64 `json:"provenModules,omitempty"`
	// provenBuildEntries is how many of counts.buildEntries are as the trusted writer
	// left them, by the manifest whose digest it reported. Of the others, it is known
	// only that outputs have the hash that is their name.
	// +optional
	ProvenBuildEntries int64 `json:"provenBuildEntries,omitempty"`
	// findings by class.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Findings map[string]int64 `json:"findings,omitempty"`
	// examples are the first findings.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	Examples []FindingExample `json:"examples,omitempty"`
}

// WorkOutcome is how a Job on the clone ended.
// +kubebuilder:validation:Enum=Succeeded;Failed;Inconclusive
type WorkOutcome string

// The outcomes. Inconclusive is tried again a few times, Failed is not.
const (
	WorkSucceeded    WorkOutcome = "Succeeded"
	WorkFailed       WorkOutcome = "Failed"
	WorkInconclusive WorkOutcome = "Inconclusive"
)

// WorkStatus is the progress and the outcome of a Job on the clone.
type WorkStatus struct {
	// run identifies the attempt that was recorded last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// attempts made; an inconclusive one is repeated a few times.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// outcome of the last attempt.
	// +optional
	Outcome WorkOutcome `json:"outcome,omitempty"`
	// message explains an outcome that is not Succeeded.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// completionTime of the last attempt.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}

// RepairStatus is the repair of corrupt content on a clone of the snapshot.
type RepairStatus struct {
	WorkStatus `json:",inline"`
	// found is the verification of the original snapshot, before the repair.
	// +required
	Found VerificationStatus `json:"found"`
	// removed is the number of files and directories removed from the clone.
	// +optional
	Removed int64 `json:"removed,omitempty"`
	// digest of the canonical manifest of the repaired clone.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Digest string `json:"digest,omitempty"`
}

// OfflineBuildStatus is the progress and the outcome of an offline build test.
type OfflineBuildStatus struct {
	WorkStatus `json:",inline"`
	// duration of the build itself.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// modules that the program was built from, each compared with go.mod.
	// +optional
	Modules int64 `json:"modules,omitempty"`
}

// RepeatStatus is the progress and the result of the last repetition of a
// verification. Only Corrupt changes status.verification.
type RepeatStatus struct {
	// startTime of the repetition.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// endTime of the repetition. Unset: it runs.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`
	// run identifies the attempt that was recorded last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// attempts made; an inconclusive one is repeated a few times.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// verdict of the last attempt.
	// +optional
	Verdict Verdict `json:"verdict,omitempty"`
	// message explains a verdict that is not Intact, or why there is none yet.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// completionTime of the last attempt.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// intactTime is when a repetition last found the snapshot Intact.
	// +optional
	IntactTime *metav1.Time `json:"intactTime,omitempty"`
	// unreadable means that the last repetition ended without a verdict because no
	// volume could be created from the snapshot, or the volume could not be read. The
	// snapshot is not offered until a repetition finds it Intact.
	// +optional
	Unreadable bool `json:"unreadable,omitempty"`
}

// VerifiedCounts are the entries that a check has read.
type VerifiedCounts struct {
	// modules is the number of module versions.
	// +optional
	Modules int64 `json:"modules,omitempty"`
	// zips is the number of module archives.
	// +optional
	Zips int64 `json:"zips,omitempty"`
	// dirs is the number of extracted modules.
	// +optional
	Dirs int64 `json:"dirs,omitempty"`
	// buildEntries is the number of entries of the build cache.
	// +optional
	BuildEntries int64 `json:"buildEntries,omitempty"`
}

// FindingExample is one finding.
type FindingExample struct {
	// class of the finding.
	// +kubebuilder:validation:MaxLength=64
	// +required
	Class string `json:"class"`
	// path inside the volume.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Path string `json:"path,omitempty"`
	// detail of the finding.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Detail string `json:"detail,omitempty"`
}

// StageStatus is one stage of the work on a snapshot.
type StageStatus struct {
	// name of the stage.
	// +kubebuilder:validation:Enum=Snapshot;Clone;Verify;Repair;SnapshotRepaired;VerifyRepaired;OfflineBuild;Publish
	// +required
	Name string `json:"name"`
	// startTime of the stage.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// duration once it has ended.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
}
