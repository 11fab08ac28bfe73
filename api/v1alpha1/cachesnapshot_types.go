package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CacheSnapshot is one captured, verified, restorable state of a cache or of a
// proxy instance's store.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=csnap,categories=gocaching
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.sourceRef.name`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.verification.verdict`
// +kubebuilder:printcolumn:name="Modules",type=integer,JSONPath=`.status.verification.counts.modules`
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.restoreSize`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS-1035 label of at most 63 characters: lower case letters, digits and '-', beginning with a letter"
type CacheSnapshot struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	// +required
	Spec CacheSnapshotSpec `json:"spec"`
	// status is what was observed.
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

// CacheSnapshotSpec is what is wanted of a CacheSnapshot.
//
// +kubebuilder:validation:XValidation:rule="self.sourceRef == oldSelf.sourceRef",message="sourceRef is immutable: make another CacheSnapshot"
// +kubebuilder:validation:XValidation:rule="has(self.verification.mode) == has(oldSelf.verification.mode) && (!has(self.verification.mode) || self.verification.mode == oldSelf.verification.mode) && has(self.verification.onFindings) == has(oldSelf.verification.onFindings) && (!has(self.verification.onFindings) || self.verification.onFindings == oldSelf.verification.onFindings) && has(self.verification.trust) == has(oldSelf.verification.trust) && (!has(self.verification.trust) || self.verification.trust == oldSelf.verification.trust) && has(self.verification.offlineBuild) == has(oldSelf.verification.offlineBuild) && (!has(self.verification.offlineBuild) || self.verification.offlineBuild == oldSelf.verification.offlineBuild)",message="verification.mode, onFindings, trust and offlineBuild are immutable: make another CacheSnapshot"
// +kubebuilder:validation:XValidation:rule="self.sourceRef.kind == 'GoCache' || !has(self.verification.offlineBuild)",message="verification.offlineBuild needs a sourceRef of kind GoCache: no build runs on a proxy's store"
// +kubebuilder:validation:XValidation:rule="has(self.volumeSnapshotClassName) == has(oldSelf.volumeSnapshotClassName) && (!has(self.volumeSnapshotClassName) || self.volumeSnapshotClassName == oldSelf.volumeSnapshotClassName)",message="volumeSnapshotClassName is immutable: make another CacheSnapshot"
type CacheSnapshotSpec struct {
	// suspend stops everything that the operator would begin for this object.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// sourceRef names what is captured.
	// +required
	SourceRef SnapshotSource `json:"sourceRef"`
	// volumeSnapshotClassName of the CSI snapshot. Unset: the default class of
	// the volume's driver.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeSnapshotClassName *string `json:"volumeSnapshotClassName,omitempty"`
	// deletionPolicy says what becomes of the CSI snapshot when this object is
	// deleted.
	// +kubebuilder:default=Delete
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// pinned snapshots are never dropped by retention.
	// +optional
	Pinned bool `json:"pinned,omitempty"`
	// verification says how the snapshot is proven.
	// +kubebuilder:default={}
	// +optional
	Verification Verification `json:"verification,omitzero"`
	// podTemplate of the integrity Job. Unset: the source's.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
}

// SnapshotSource names what is captured.
//
// +kubebuilder:validation:XValidation:rule="(self.kind == 'ModProxy') == has(self.instance)",message="instance is required with kind ModProxy, and has no meaning without"
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

// Verdict is the outcome of an integrity check.
// +kubebuilder:validation:Enum=Intact;Corrupt;Inconclusive
type Verdict string

// The verdicts. Inconclusive never counts as good and never as bad.
const (
	VerdictIntact       Verdict = "Intact"
	VerdictCorrupt      Verdict = "Corrupt"
	VerdictInconclusive Verdict = "Inconclusive"
)

// CacheSnapshotStatus is what was observed of a CacheSnapshot.
type CacheSnapshotStatus struct {
	// observedGeneration of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions of the snapshot.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// startTime is when work on this snapshot began. The deadline counts from
	// the beginning of stage Capture, when nobody writes to the source.
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
	// creationTime is when the CSI driver cut the snapshot.
	// +optional
	CreationTime *metav1.Time `json:"creationTime,omitempty"`
	// restoreSize is the least size of a volume made from it.
	// +optional
	RestoreSize *resource.Quantity `json:"restoreSize,omitempty"`
	// source is what the source was like at capture.
	// +optional
	Source *CapturedSource `json:"source,omitempty"`
	// verification so far of what volumeSnapshotName holds.
	// +optional
	Verification VerificationStatus `json:"verification,omitzero"`
	// repair of what was captured, if there was something to repair. The source
	// held it too.
	// +optional
	Repair *RepairStatus `json:"repair,omitempty"`
	// drill is the offline build, if one is asked for.
	// +optional
	Drill *DrillStatus `json:"drill,omitempty"`
	// stages and how long each took.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +optional
	Stages []StageStatus `json:"stages,omitempty"`
	// lastHandledRequest echoes the request annotation.
	// +optional
	LastHandledRequest *RequestStatus `json:"lastHandledRequest,omitempty"`
}

// CapturedSource is what the source was like at capture. Clones and checks use
// this and not the source, which may change or be gone.
type CapturedSource struct {
	// uid of the source object.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	UID string `json:"uid,omitempty"`
	// claimName that was captured.
	// +kubebuilder:validation:MaxLength=253
	// +required
	ClaimName string `json:"claimName"`
	// volumeName of the volume that was bound to it: clones can be reached
	// where it can.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// storageClassName of that claim.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName string `json:"storageClassName,omitempty"`
	// capacity of that claim.
	// +optional
	Capacity *resource.Quantity `json:"capacity,omitempty"`
	// ownership of the files.
	// +optional
	Ownership *Ownership `json:"ownership,omitempty"`
	// platform of the cache.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Platform string `json:"platform,omitempty"`
	// layers that the volume holds, of a cache.
	// +kubebuilder:validation:MaxItems=2
	// +listType=atomic
	// +optional
	Layers []CacheLayer `json:"layers,omitempty"`
	// toolchainImage that the cache is warmed with.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ToolchainImage string `json:"toolchainImage,omitempty"`
	// mountPath that builds see the cache under.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	MountPath string `json:"mountPath,omitempty"`
	// mountedBy are pods that had the claim mounted when it was captured: what
	// they had not flushed is not in the snapshot.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +optional
	MountedBy []string `json:"mountedBy,omitempty"`
	// layout of the store that the volume holds, of a proxy's instance.
	// +kubebuilder:validation:Enum=goproxy;athens
	// +optional
	Layout string `json:"layout,omitempty"`
	// toolchain that wrote the cache.
	// +optional
	Toolchain *ToolchainRecord `json:"toolchain,omitempty"`
	// counts of what the last warm-up left: a layer that had entries and has
	// none in the snapshot was emptied by somebody else.
	// +optional
	Counts CacheCounts `json:"counts,omitzero"`
}

// VerificationStatus is how far verification has come.
type VerificationStatus struct {
	// run identifies the attempt that was booked last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// attempts made; an inconclusive one is repeated a few times.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// verdict of the last attempt.
	// +optional
	Verdict Verdict `json:"verdict,omitempty"`
	// message for a person when the verdict is not Intact.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// completionTime of the last attempt.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// reference is the snapshot that checksums were compared with as first seen;
	// unset: none was there yet, or trust.firstSeen is not set.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Reference string `json:"reference,omitempty"`
	// digest of the canonical manifest of all that the snapshot holds.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Digest string `json:"digest,omitempty"`
	// bytes that were read.
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
	// duration of the check.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// counts of what was checked.
	// +optional
	Counts VerifiedCounts `json:"counts,omitzero"`
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

// WorkStatus is how far a Job on the clone has come.
type WorkStatus struct {
	// run identifies the attempt that was booked last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// attempts made; an inconclusive one is repeated a few times.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// outcome of the last attempt.
	// +optional
	Outcome WorkOutcome `json:"outcome,omitempty"`
	// message for a person when the outcome is not Succeeded.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// completionTime of the last attempt.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}

// RepairStatus is what became of the wrong bytes in what was captured.
type RepairStatus struct {
	WorkStatus `json:",inline"`
	// found is the verdict on what was captured: the evidence.
	// +required
	Found VerificationStatus `json:"found"`
	// pruned is how many files and directories were removed from the clone.
	// +optional
	Pruned int64 `json:"pruned,omitempty"`
	// digest of the canonical manifest of what was left on the clone.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Digest string `json:"digest,omitempty"`
}

// DrillStatus is how the offline build ended.
type DrillStatus struct {
	WorkStatus `json:",inline"`
	// duration of the build itself.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// modules that the program was built from, each compared with go.mod.
	// +optional
	Modules int64 `json:"modules,omitempty"`
}

// VerifiedCounts of what a check has read.
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
	// detail for a person.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Detail string `json:"detail,omitempty"`
}

// StageStatus is one stage of a snapshot's life.
type StageStatus struct {
	// name of the stage.
	// +kubebuilder:validation:Enum=Capture;Clone;Verify;Repair;Recapture;Reverify;Drill;Publish
	// +required
	Name string `json:"name"`
	// startTime of the stage.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// duration once it has ended.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
}
