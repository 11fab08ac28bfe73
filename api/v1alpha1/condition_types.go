package v1alpha1

// Condition types. Ready, Reconciling and Stalled follow kstatus: Reconciling
// and Stalled are present only while they are true.
const (
	// ReadyCondition says whether the object does its job now.
	//   GoCache: its claim is bound and the last required run succeeded.
	//   CacheSnapshot: it was captured and, if required, proven Intact.
	//   ModProxy: an unconvicted healthy instance serves, and the router's
	//   weights are the wanted ones.
	ReadyCondition = "Ready"
	// ReconcilingCondition says that the operator is on its way to the wanted state.
	ReconcilingCondition = "Reconciling"
	// StalledCondition says that only a person can help; the message says how.
	StalledCondition = "Stalled"

	// ClaimBoundCondition says whether a GoCache's claim has its volume.
	ClaimBoundCondition = "ClaimBound"
	// WarmCondition says whether the last warm-up of a GoCache succeeded.
	WarmCondition = "Warm"
	// IntactCondition says what the last check of a GoCache's live claim found:
	// True when Intact, False when Corrupt, Unknown while nobody can tell. It is
	// present when checks are declared or one was made.
	IntactCondition = "Intact"
	// StorageSufficientCondition says whether a GoCache's claim has room left, by
	// the rule of spec.storage.growth. It is present when that is set.
	StorageSufficientCondition = "StorageSufficient"
	// CleanCondition says whether the caches were within the bounds of spec.cleanup
	// when that was last looked at; absent without it.
	CleanCondition = "Clean"

	// CapturedCondition says whether the CSI snapshot is cut and usable.
	CapturedCondition = "Captured"
	// VerifiedCondition is True when Intact, False when Corrupt, Unknown while
	// nobody can tell.
	VerifiedCondition = "Verified"

	// RoutedCondition says whether the router's observed weights are the wanted ones.
	RoutedCondition = "Routed"
	// HealthyCondition says whether every instance is healthy and unconvicted.
	HealthyCondition = "Healthy"
	// CertificateReadyCondition says whether the router serves the certificate of
	// router.tls; absent without it.
	CertificateReadyCondition = "CertificateReady"
	// ConsistentCondition says whether the instances serve the same bytes; absent
	// unless they are compared.
	ConsistentCondition = "Consistent"
	// ChecksumDatabaseServedCondition says whether clients reach the checksum
	// database through the proxy; absent unless that is probed.
	ChecksumDatabaseServedCondition = "ChecksumDatabaseServed"
)

// Reasons of conditions, for all kinds.
const (
	// ReasonSucceeded: what the condition speaks of is done.
	ReasonSucceeded = "Succeeded"
	// ReasonProgressing: it is under way; no person needs to act.
	ReasonProgressing = "Progressing"
	// ReasonSuspended: spec.suspend is set, so nothing is begun.
	ReasonSuspended = "Suspended"
	// ReasonInvalidSpec: a field has a value that cannot work; correct it.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonError: a call failed; it is tried again.
	ReasonError = "Error"
	// ReasonConflict: an object with a needed name exists and is not ours;
	// rename or remove it.
	ReasonConflict = "Conflict"
)

// Reasons of a GoCache's conditions.
const (
	// ReasonClaimPending: the claim waits for its volume.
	ReasonClaimPending = "ClaimPending"
	// ReasonClaimLost: the claim's volume is gone; delete the claim to begin anew.
	ReasonClaimLost = "ClaimLost"
	// ReasonProxyNotReady: environment.proxyRef has no address yet.
	ReasonProxyNotReady = "ProxyNotReady"
	// ReasonSourceNotFound: a warm-up source does not exist or lacks a key.
	ReasonSourceNotFound = "SourceNotFound"
	// ReasonWarming: a warm-up runs.
	ReasonWarming = "Warming"
	// ReasonWarmUpFailed: the last warm-up failed; its message says why. It is
	// tried again with growing pauses, and at once when a source changes.
	ReasonWarmUpFailed = "WarmUpFailed"
	// ReasonGrowing: the claim is being expanded.
	ReasonGrowing = "Growing"
	// ReasonGrowthRefused: the claim cannot be expanded: its class does not
	// allow it, a quota is used up, or the driver cannot. It is tried again
	// every hour.
	ReasonGrowthRefused = "GrowthRefused"
	// ReasonAtLimit: the claim is as large as spec.storage.growth.limit lets it
	// become and is getting full; raise the limit, or clean the cache.
	ReasonAtLimit = "AtLimit"
	// ReasonReplacing: the volume of the claim is being replaced.
	ReasonReplacing = "Replacing"
	// ReasonWaitingForConsumers: the new volume is verified, and takes the place
	// of the old one when the pods that use the claim are gone; end them, or set
	// spec.storage.replacement.consumers to Evict.
	ReasonWaitingForConsumers = "WaitingForConsumers"
	// ReasonNotRestorable: what is asked to be restored cannot be; the message
	// says why. Name another snapshot.
	ReasonNotRestorable = "NotRestorable"
	// ReasonReplacementFailed: the volume could not be replaced, and is as it was;
	// the message says why and what to do.
	ReasonReplacementFailed = "ReplacementFailed"
	// ReasonCleanupPaused: a check did not pass, so nothing is cleaned; the
	// message says which and why.
	ReasonCleanupPaused = "CleanupPaused"
	// ReasonApprovalRequired: a plan waits; the message says how to approve it.
	ReasonApprovalRequired = "ApprovalRequired"
	// ReasonCleanupFailed: a plan could not be made or applied. It is tried
	// again with growing pauses.
	ReasonCleanupFailed = "CleanupFailed"
	// ReasonBoundUnreachable: what the last warm-up used is larger than
	// cleanup.maxSize. Raise that, or warm less.
	ReasonBoundUnreachable = "BoundUnreachable"
	// ReasonWaiting: a run is due and waits for something else to end.
	ReasonWaiting = "Waiting"
)

// Reasons of a CacheSnapshot's conditions.
const (
	// ReasonSourceNotReady: the source does not exist or has no bound claim yet.
	ReasonSourceNotReady = "SourceNotReady"
	// ReasonCapturing: the CSI snapshot is not usable yet.
	ReasonCapturing = "Capturing"
	// ReasonCaptureFailed: the CSI driver reports an error; it is asked again
	// until the deadline.
	ReasonCaptureFailed = "CaptureFailed"
	// ReasonVerifying: the integrity Job runs.
	ReasonVerifying = "Verifying"
	// ReasonRepairing: wrong bytes were found, and are being pruned.
	ReasonRepairing = "Repairing"
	// ReasonDrilling: the snapshot is intact, and a build from it alone runs.
	ReasonDrilling = "Drilling"
	// ReasonDrillFailed: the snapshot is intact, and the build from it alone
	// failed; it is never offered.
	ReasonDrillFailed = "DrillFailed"
	// ReasonQueued: as many snapshots as are allowed at once are under way; it
	// begins when one of them has ended.
	ReasonQueued = "Queued"
	// ReasonSnapshotClassMissing: no VolumeSnapshotClass fits the driver of the
	// source's volume; create one.
	ReasonSnapshotClassMissing = "SnapshotClassMissing"
	// ReasonCannotSnapshot: the driver of the source's volume makes no
	// snapshots; move the source to a class that does.
	ReasonCannotSnapshot = "CannotSnapshot"
	// ReasonQuotaExceeded: a ResourceQuota leaves no room for the clone.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonCloneFailed: the driver does not make the clone.
	ReasonCloneFailed = "CloneFailed"
	// ReasonIntact: every byte that the snapshot vouches for was read and is right.
	ReasonIntact = "Intact"
	// ReasonCorrupt: the snapshot holds wrong bytes and is never offered.
	ReasonCorrupt = "Corrupt"
	// ReasonInconclusive: nobody could tell; neither good nor bad.
	ReasonInconclusive = "Inconclusive"
	// ReasonDeadlineExceeded: no verdict came in time.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonSkipped: verification.mode is Skip; the snapshot is never offered.
	ReasonSkipped = "Skipped"
	// ReasonRepairFailed: wrong bytes were found and could not all be pruned.
	ReasonRepairFailed = "RepairFailed"
	// ReasonSnapshotLost: the CSI snapshot was deleted by somebody else.
	ReasonSnapshotLost = "SnapshotLost"
)

// Reasons of a ModProxy's conditions.
const (
	// ReasonServing: at least one healthy instance serves.
	ReasonServing = "Serving"
	// ReasonNoHealthyInstance: no instance passes its probes; weights stay
	// where they are, except that convicted instances have none.
	ReasonNoHealthyInstance = "NoHealthyInstance"
	// ReasonAllConvicted: every instance was found to serve wrong bytes; the
	// address answers 503.
	ReasonAllConvicted = "AllConvicted"
	// ReasonInstanceUnhealthy: some instance fails a probe or is convicted.
	ReasonInstanceUnhealthy = "InstanceUnhealthy"
	// ReasonRouterNotReady: the router's pods do not answer yet.
	ReasonRouterNotReady = "RouterNotReady"
	// ReasonCertificateRefused: the Secret of router.tls holds no pair that can
	// serve; the certificate that was served before goes on. Mend the Secret.
	ReasonCertificateRefused = "CertificateRefused"
	// ReasonCertificateNameMismatch: the certificate is served, and is not valid
	// for the name in status.url; clients that come under that name refuse it.
	ReasonCertificateNameMismatch = "CertificateNameMismatch"
	// ReasonInstancesDisagree: instances serve different bytes for the same module
	// version; the message says which, and who is wrong if that can be told.
	ReasonInstancesDisagree = "InstancesDisagree"
	// ReasonChecksumDatabaseUnreachable: no instance reaches the checksum database,
	// so it moves no weight; what is stored is still served.
	ReasonChecksumDatabaseUnreachable = "ChecksumDatabaseUnreachable"
	// ReasonStoreCorrupt convicts an instance: a check of its store found bytes
	// that are not what trust data, or an earlier check, says.
	ReasonStoreCorrupt = "StoreCorrupt"
	// ReasonGatewayAPIMissing: router.type is Gateway, and the cluster does not
	// know HTTPRoutes; install the Gateway API, or choose another type.
	ReasonGatewayAPIMissing = "GatewayAPIMissing"
	// ReasonWeightsPending: weights were written and not read back yet.
	ReasonWeightsPending = "WeightsPending"
)
