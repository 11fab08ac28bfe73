package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CacheRequest asks for one action on one object, once: a warm-up, a rollback,
// a failover. It is the imperative counterpart of the declared policies.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=creq,categories=gocaching
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.targetRef.kind`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRef.name`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Argument",type=string,priority=1,JSONPath=`.spec.argument`
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Completed",type=date,JSONPath=`.status.completionTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type CacheRequest struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is requested. It is immutable.
	// +required
	Spec CacheRequestSpec `json:"spec"`
	// status is the progress and the outcome.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status CacheRequestStatus `json:"status,omitzero"`
}

// CacheRequestList is a list of CacheRequest.
// +kubebuilder:object:root=true
type CacheRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []CacheRequest `json:"items"`
}

// RequestAction is what a CacheRequest asks for. Who may create a request is
// decided for each action: the admission policy gocache-requests requires the
// verb of the action on the target.
// +kubebuilder:validation:Enum=WarmUp;CheckIntegrity;Cleanup;ApproveCleanup;Snapshot;Rollback;ReportFailure;ReportBuild;Failover;Failback;Reinstate
type RequestAction string

// The actions, each with the verb that RBAC must grant on the target.
const (
	// RequestWarmUp warms a GoCache now. Verb: warm-up.
	RequestWarmUp RequestAction = "WarmUp"
	// RequestCheckIntegrity checks the PVC of a GoCache, or the stores of all
	// instances of a ModProxy, now. Verb: check-integrity.
	RequestCheckIntegrity RequestAction = "CheckIntegrity"
	// RequestCleanup plans a cleanup of a GoCache now, and applies the plan as
	// spec.cleanup.approval allows. Verb: cleanup.
	RequestCleanup RequestAction = "Cleanup"
	// RequestApproveCleanup approves the cleanup plan of a GoCache that has the
	// digest in the argument. Verb: approve.
	RequestApproveCleanup RequestAction = "ApproveCleanup"
	// RequestSnapshot creates a CacheSnapshot of a GoCache, or of each instance of
	// a ModProxy, now. Verb: snapshot.
	RequestSnapshot RequestAction = "Snapshot"
	// RequestRollback replaces the content of a GoCache by that of the CacheSnapshot
	// in the argument, or of the newest verified one. Verb: rollback.
	RequestRollback RequestAction = "Rollback"
	// RequestReportFailure reports that a build failed which used a GoCache: the
	// PVC is checked, and rolled back only if it is corrupt. One check answers all
	// reports that were created before it began. Verb: report-failure.
	RequestReportFailure RequestAction = "ReportFailure"
	// RequestReportBuild reports how much of a build came from the clone of a GoCache
	// that it used, as build has it. The numbers are those of their reporter:
	// they are shown and exported as metrics, and decide nothing. They count for as
	// long as the request is kept: the newest 1000 of a GoCache are. Verb: report-build.
	RequestReportBuild RequestAction = "ReportBuild"
	// RequestFailover moves all clients of a ModProxy to the instance in the
	// argument until a Failback is requested. Verb: failover.
	RequestFailover RequestAction = "Failover"
	// RequestFailback ends a failover, and skips the hold-down of recovered
	// instances. Verb: failback.
	RequestFailback RequestAction = "Failback"
	// RequestReinstate lets the quarantined instance in the argument serve again,
	// once its content is proven intact. Verb: reinstate.
	RequestReinstate RequestAction = "Reinstate"
)

// CacheRequestSpec is what is requested.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: create another CacheRequest"
// +kubebuilder:validation:XValidation:rule="self.targetRef.kind != 'GoCache' || !(self.action in ['Failover', 'Failback', 'Reinstate'])",message="action must be WarmUp, CheckIntegrity, Cleanup, ApproveCleanup, Snapshot, Rollback, ReportFailure or ReportBuild with a targetRef of kind GoCache"
// +kubebuilder:validation:XValidation:rule="self.targetRef.kind != 'ModProxy' || self.action in ['CheckIntegrity', 'Snapshot', 'Failover', 'Failback', 'Reinstate']",message="action must be CheckIntegrity, Snapshot, Failover, Failback or Reinstate with a targetRef of kind ModProxy"
// +kubebuilder:validation:XValidation:rule="!(self.action in ['ApproveCleanup', 'Failover', 'Reinstate']) || has(self.argument)",message="argument is required: the digest of the plan with ApproveCleanup, the name of the instance with Failover and Reinstate"
// +kubebuilder:validation:XValidation:rule="(self.action == 'ReportBuild') == has(self.build)",message="build is required with ReportBuild, and must not be set with another action"
// +kubebuilder:validation:XValidation:rule="self.action in ['ApproveCleanup', 'Failover', 'Reinstate', 'Rollback'] || !has(self.argument)",message="argument must not be set with this action"
// +kubebuilder:validation:XValidation:rule="!(self.action in ['ReportBuild', 'ReportFailure']) || !has(self.ttlAfterFinished) || duration(self.ttlAfterFinished) <= duration('24h')",message="ttlAfterFinished must be at most 24h with ReportBuild and ReportFailure"
type CacheRequestSpec struct {
	// targetRef names the object, in the same namespace, that the action is for.
	// +required
	TargetRef RequestTarget `json:"targetRef"`
	// action to take.
	// +required
	Action RequestAction `json:"action"`
	// argument of the action: with ApproveCleanup the digest of the plan, with
	// Failover and Reinstate the name of an instance, with Rollback the name of a
	// CacheSnapshot (unset: the newest verified one). No other action has one.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9.:_-]*$`
	// +optional
	Argument string `json:"argument,omitempty"`
	// build is what ReportBuild reports.
	// +optional
	Build *BuildReport `json:"build,omitempty"`
	// ttlAfterFinished is how long the request is kept after it was finished, with
	// ReportBuild and ReportFailure at most 24h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be a duration such as 90s or 1h30m, from 0s to 8760h"
	// +kubebuilder:default="24h"
	// +optional
	TTLAfterFinished *metav1.Duration `json:"ttlAfterFinished,omitempty"`
}

// BuildReport is how much of a build came from a cache, as its reporter counted it.
type BuildReport struct {
	// name of the build as the warm-ups of the cache have it, such as billing/test:
	// the name of a source in status.warmUp.sources, with that of one of its builds
	// if it declares any. Unset: another build, or one without a name.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+(/[a-z0-9-]+)?$`
	// +kubebuilder:validation:MaxLength=96
	// +optional
	Name string `json:"name,omitempty"`
	// hits are the packages that came from the cache, or the lookups that a
	// GOCACHEPROG child has counted as hits.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	// +required
	Hits int64 `json:"hits"`
	// misses are the packages that were compiled, or the lookups that were misses.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	// +required
	Misses int64 `json:"misses"`
}

// RequestTarget names the object that a request is for.
type RequestTarget struct {
	// kind of the object.
	// +kubebuilder:validation:Enum=GoCache;ModProxy
	// +required
	Kind string `json:"kind"`
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
}

// CacheRequestStatus is the progress and the outcome of a request.
type CacheRequestStatus struct {
	// conditions Ready, and, while they are true, Reconciling and Stalled. Ready is
	// True when the request succeeded, Stalled when it failed or was refused.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// outcome so far: Waiting until the target accepts the request.
	// +optional
	Outcome RequestOutcome `json:"outcome,omitempty"`
	// message explains the outcome, or what the request waits for.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// targetUID is the uid of the object that accepted the request.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TargetUID string `json:"targetUID,omitempty"`
	// startTime is when the request was accepted.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime is when the request was finished: it succeeded, failed or was
	// refused.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}
