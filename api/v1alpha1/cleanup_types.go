package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CleanupStatus is the state of cleanups.
type CleanupStatus struct {
	// run identifies the run that was recorded last: one that made a plan, or one
	// that applied it.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// cause of that run.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Cause string `json:"cause,omitempty"`
	// outcome of that run.
	// +optional
	Outcome RunOutcome `json:"outcome,omitempty"`
	// message explains why that run did not succeed.
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
	// preflight are the checks that the last run made.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +optional
	Preflight []CleanupCheck `json:"preflight,omitempty"`
	// paused names the check that did not pass; nothing is removed until it does.
	// It is repeated by schedule, on request, and after a warm-up.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Paused string `json:"paused,omitempty"`
	// lastPlanTime is when the last plan was started, with or without success.
	// +optional
	LastPlanTime *metav1.Time `json:"lastPlanTime,omitempty"`
	// lastPlan is the plan that was made last.
	// +optional
	LastPlan *CleanupPlan `json:"lastPlan,omitempty"`
	// approvedPlan is the digest of the open plan, once it is approved.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// webhook is the delivery of the plan that waits for approval.
	// +optional
	Webhook *WebhookStatus `json:"webhook,omitempty"`
	// lastCleanTime is when the caches were last within their bounds: a plan was
	// applied, or had nothing in it.
	// +optional
	LastCleanTime *metav1.Time `json:"lastCleanTime,omitempty"`
	// freed is the size of what the last applied plan removed.
	// +optional
	Freed *resource.Quantity `json:"freed,omitempty"`
	// removed is the number of entries that the last applied plan removed.
	// +optional
	Removed int64 `json:"removed,omitempty"`
	// proof is the result of repeating the last warm-up's builds after that plan.
	// +optional
	Proof *CleanupProof `json:"proof,omitempty"`
}

// CleanupCheck is a check that must pass before anything is removed.
type CleanupCheck struct {
	// name of the check: ownership, index or reuse.
	// +kubebuilder:validation:MaxLength=32
	// +required
	Name string `json:"name"`
	// result of the check: Passed, Failed or Unknown.
	// +kubebuilder:validation:MaxLength=16
	// +required
	Result string `json:"result"`
	// message explains why it did not pass.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// CleanupPlan is a set of entries to be removed.
type CleanupPlan struct {
	// digest of exactly this set of entries; a CacheRequest of action ApproveCleanup
	// approves it.
	// +kubebuilder:validation:MaxLength=128
	// +required
	Digest string `json:"digest"`
	// time that ages were measured against.
	// +required
	Time metav1.Time `json:"time"`
	// open plans are not applied yet.
	// +optional
	Open bool `json:"open,omitempty"`
	// bounds identifies the maxSize and maxAge that the plan was made for.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Bounds string `json:"bounds,omitempty"`
	// entries to be removed: module versions and entries of the build cache.
	// +optional
	Entries int64 `json:"entries"`
	// bytes to be removed.
	// +optional
	Bytes int64 `json:"bytes"`
	// modules is the part of the module cache.
	// +optional
	Modules *CleanupLayer `json:"modules,omitempty"`
	// build is the part of the build cache.
	// +optional
	Build *CleanupLayer `json:"build,omitempty"`
	// overBytes is by how much the entries that the last warm-up used exceed
	// maxSize. They are never removed, so maxSize cannot be reached.
	// +optional
	OverBytes int64 `json:"overBytes,omitempty"`
}

// CleanupLayer is the part of a plan that concerns one cache.
type CleanupLayer struct {
	// entries to be removed.
	// +optional
	Entries int64 `json:"entries"`
	// bytes to be removed.
	// +optional
	Bytes int64 `json:"bytes"`
	// ofBytes is the size of the whole cache.
	// +optional
	OfBytes int64 `json:"ofBytes,omitempty"`
	// oldest last use of the entries to be removed.
	// +optional
	Oldest *metav1.Time `json:"oldest,omitempty"`
	// newest last use of the entries to be removed.
	// +optional
	Newest *metav1.Time `json:"newest,omitempty"`
}

// CleanupProof is the result of repeating the last warm-up's builds, offline.
type CleanupProof struct {
	// result is Passed when nothing was compiled, else Failed.
	// +kubebuilder:validation:MaxLength=16
	// +required
	Result string `json:"result"`
	// compiled is the number of compilations.
	// +optional
	Compiled int64 `json:"compiled"`
	// message explains why it failed. Then a warm-up is due.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// WebhookStatus is the delivery of a plan to the webhook.
type WebhookStatus struct {
	// planDigest is the digest of the plan.
	// +kubebuilder:validation:MaxLength=128
	// +required
	PlanDigest string `json:"planDigest"`
	// deliveredTime is when the webhook accepted it; unset: not yet.
	// +optional
	DeliveredTime *metav1.Time `json:"deliveredTime,omitempty"`
	// failures is the number of calls that failed.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// lastFailureTime is when a call last failed; the next one follows after a pause.
	// +optional
	LastFailureTime *metav1.Time `json:"lastFailureTime,omitempty"`
	// message of the last failure.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}
