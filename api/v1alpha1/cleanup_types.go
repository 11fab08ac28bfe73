package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CleanupStatus is what is known of cleanings.
type CleanupStatus struct {
	// run identifies the run that was booked last: one that made a plan, or one
	// that applied it.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// cause of it.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Cause string `json:"cause,omitempty"`
	// outcome of it.
	// +optional
	Outcome RunOutcome `json:"outcome,omitempty"`
	// message says why it did not succeed.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// startTime of it.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime of it.
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
	// paused names the check that did not pass; nothing is cleaned until it does.
	// It is made again by schedule, on request, and after a warm-up.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Paused string `json:"paused,omitempty"`
	// lastPlanTime is when the last plan was begun, whatever came of it.
	// +optional
	LastPlanTime *metav1.Time `json:"lastPlanTime,omitempty"`
	// lastPlan is the plan that was made last.
	// +optional
	LastPlan *CleanupPlan `json:"lastPlan,omitempty"`
	// approved is the digest of the plan that was approved last.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Approved string `json:"approved,omitempty"`
	// webhook says how the call about the plan that waits went.
	// +optional
	Webhook *WebhookStatus `json:"webhook,omitempty"`
	// lastCleanTime is when the caches were last within their bounds: a plan was
	// applied, or had nothing in it.
	// +optional
	LastCleanTime *metav1.Time `json:"lastCleanTime,omitempty"`
	// freed by the plan that was applied last.
	// +optional
	Freed *resource.Quantity `json:"freed,omitempty"`
	// removed is the number of entries that went with it.
	// +optional
	Removed int64 `json:"removed,omitempty"`
	// proof is how the repetition of the last warm-up's builds went after it.
	// +optional
	Proof *CleanupProof `json:"proof,omitempty"`
}

// CleanupCheck is a check that has to pass before anything is cleaned.
type CleanupCheck struct {
	// name of the check: ownership, index or reuse.
	// +kubebuilder:validation:MaxLength=32
	// +required
	Name string `json:"name"`
	// result of it: Passed, Failed or Unknown.
	// +kubebuilder:validation:MaxLength=16
	// +required
	Result string `json:"result"`
	// message says why it did not pass.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// CleanupPlan is what would go.
type CleanupPlan struct {
	// digest names exactly this set of entries; approve-cleanup=<digest>#<token>
	// approves it.
	// +kubebuilder:validation:MaxLength=128
	// +required
	Digest string `json:"digest"`
	// time that ages were measured against.
	// +required
	Time metav1.Time `json:"time"`
	// open: it is yet to be applied.
	// +optional
	Open bool `json:"open,omitempty"`
	// bounds identifies the size and age that it was made for.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Bounds string `json:"bounds,omitempty"`
	// entries that would go: module versions and entries of the build cache.
	// +optional
	Entries int64 `json:"entries"`
	// bytes that would go.
	// +optional
	Bytes int64 `json:"bytes"`
	// modules is the part of the module cache.
	// +optional
	Modules *CleanupLayer `json:"modules,omitempty"`
	// build is the part of the build cache.
	// +optional
	Build *CleanupLayer `json:"build,omitempty"`
	// overBytes is by how much what the last warm-up used exceeds maxSize: that
	// is never removed, so maxSize cannot be reached.
	// +optional
	OverBytes int64 `json:"overBytes,omitempty"`
}

// CleanupLayer is one cache's part of a plan.
type CleanupLayer struct {
	// entries that would go.
	// +optional
	Entries int64 `json:"entries"`
	// bytes that would go.
	// +optional
	Bytes int64 `json:"bytes"`
	// ofBytes is the size of the whole cache.
	// +optional
	OfBytes int64 `json:"ofBytes,omitempty"`
	// oldest and newest last use of what would go.
	// +optional
	Oldest *metav1.Time `json:"oldest,omitempty"`
	// newest last use of what would go.
	// +optional
	Newest *metav1.Time `json:"newest,omitempty"`
}

// CleanupProof is how a repetition of the last warm-up's builds went, offline.
type CleanupProof struct {
	// result: Passed when nothing was compiled, else Failed.
	// +kubebuilder:validation:MaxLength=16
	// +required
	Result string `json:"result"`
	// compiled is the number of compilations.
	// +optional
	Compiled int64 `json:"compiled"`
	// message says why it failed. Then a warm-up is due.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// WebhookStatus is how calls about one thing went.
type WebhookStatus struct {
	// about is the digest of the plan that was told.
	// +kubebuilder:validation:MaxLength=128
	// +required
	About string `json:"about"`
	// told is when it was received; unset: not yet.
	// +optional
	Told *metav1.Time `json:"told,omitempty"`
	// failures is the number of calls that were not received.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// lastFailureTime of them; the next call follows after a pause.
	// +optional
	LastFailureTime *metav1.Time `json:"lastFailureTime,omitempty"`
	// message says why.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}
