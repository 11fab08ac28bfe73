package v1alpha1

// Condition types. Ready, Reconciling and Stalled follow kstatus: Reconciling
// and Stalled are present only while they are true.
const (
	// ReadyCondition is whether the object is usable now.
	//   GoCache: it was warmed, and a PVC that names it is populated at once from
	//   a verified snapshot. A cache with spec.snapshots disabled is Ready
	//   with reason SnapshotsDisabled when it is warm.
	//   A cache with spec.source is Ready when its source has such a snapshot and
	//   shares it with the namespace.
	//   CacheSnapshot: it is ready to use and, if required, verified Intact.
	//   ModProxy: a healthy instance that is not quarantined serves, and the
	//   observed weights of the router are the desired ones.
	//   CacheRequest: the action was carried out.
	// It is absent while the object is suspended and not usable.
	ReadyCondition = "Ready"
	// ReconcilingCondition is True while the operator works towards the desired state.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is True when manual action is required; the message explains
	// which.
	StalledCondition = "Stalled"
	// SuspendedCondition is True while spec.suspend is set, else absent. A suspended
	// object is not expected to progress, so GitOps tools do not wait for it.
	SuspendedCondition = "Suspended"

	// PVCBoundCondition is whether the PVC of a GoCache is bound to a volume.
	PVCBoundCondition = "PVCBound"
	// SnapshotAvailableCondition is whether a GoCache has a verified snapshot that
	// new PVCs are populated from.
	SnapshotAvailableCondition = "SnapshotAvailable"
	// PoolFilledCondition is whether the pool of a GoCache has as many volumes ready as
	// spec.pool.size. It is present while there is a pool.
	PoolFilledCondition = "PoolFilled"
	// WarmCondition is whether the last warm-up of a GoCache succeeded.
	WarmCondition = "Warm"
	// IntactCondition is the verdict of the last check of a GoCache's PVC: True when
	// Intact, False when Corrupt, Unknown when Inconclusive or not checked yet. It
	// is present when checks are declared or one was made.
	IntactCondition = "Intact"
	// StorageSufficientCondition is whether the PVC of a GoCache has space and inodes
	// left, by the rule of spec.storage.growth, with which it is present; and whether the
	// stores of a ModProxy have room for what the instances fetch. It is present
	// while one of them has a store.
	StorageSufficientCondition = "StorageSufficient"
	// CleanCondition is whether the caches were within the bounds of spec.cleanup
	// at the last cleanup; absent without it.
	CleanCondition = "Clean"

	// SnapshotReadyCondition is whether the CSI snapshot is ready to use.
	SnapshotReadyCondition = "SnapshotReady"
	// VerifiedCondition is True when Intact, False when Corrupt, Unknown when
	// Inconclusive or not verified yet.
	VerifiedCondition = "Verified"

	// RoutedCondition is whether the observed weights of the router are the desired
	// ones.
	RoutedCondition = "Routed"
	// HealthyCondition is whether every instance is healthy and not quarantined.
	HealthyCondition = "Healthy"
	// CertificateReadyCondition is whether the router serves the certificate of
	// router.tls; absent without it.
	CertificateReadyCondition = "CertificateReady"
	// ConsistentCondition is whether the instances serve the same content; absent
	// unless probe Consistency is enabled.
	ConsistentCondition = "Consistent"
	// ChecksumDatabaseServedCondition is whether clients reach the checksum database
	// through the proxy; absent unless probe ChecksumDatabase is enabled.
	ChecksumDatabaseServedCondition = "ChecksumDatabaseServed"
)

// Reasons of conditions, for all kinds.
const (
	// ReasonProgressing: work is in progress; no action is required.
	ReasonProgressing = "Progressing"
	// ReasonSuspended: spec.suspend is set, so nothing is started.
	ReasonSuspended = "Suspended"
	// ReasonInvalidSpec: a field has a value that cannot work; correct it.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonError: a call failed; it is retried.
	ReasonError = "Error"
	// ReasonConflict: an object with a required name exists and does not belong to
	// this object; rename or delete it.
	ReasonConflict = "Conflict"
)

// Reasons of conditions, for several kinds.
const (
	// ReasonSourceNotFound: a ConfigMap or Secret that a GoCache, a CacheSnapshot or a
	// ModProxy names, such as a warm-up source or the credentials for private modules,
	// does not exist or lacks a key; the message names it.
	ReasonSourceNotFound = "SourceNotFound"
	// ReasonSecretRefused: a Secret that a GoCache or a ModProxy names does not allow the
	// host or the image that it would be used for; annotate the Secret as the message
	// explains.
	ReasonSecretRefused = "SecretRefused"
	// ReasonExpansionNotAllowed: the StorageClass, or a quota, does not allow the expansion
	// of the PVC of a GoCache, or of an instance of a ModProxy, to the size of the spec;
	// allow it, or set the size back. A GoCache can also move to another class.
	ReasonExpansionNotAllowed = "ExpansionNotAllowed"
)

// Reasons of a GoCache's conditions.
const (
	// ReasonCacheReady: the cache is usable.
	ReasonCacheReady = "CacheReady"
	// ReasonSnapshotAvailable: new PVCs are populated from the named snapshot.
	ReasonSnapshotAvailable = "SnapshotAvailable"
	// ReasonSnapshotPending: the first snapshot, or the one that replaces a lost
	// one, is due, being created or being verified; the message names it.
	ReasonSnapshotPending = "SnapshotPending"
	// ReasonNoVerifiedSnapshot: no snapshot of this cache can be offered; the message
	// explains why, and when the next one is created.
	ReasonNoVerifiedSnapshot = "NoVerifiedSnapshot"
	// ReasonSnapshotsDisabled: spec.snapshots.afterWarmUp is false, there is no
	// schedule, and no verified snapshot exists: the cache PVC is warm, but no PVC
	// can be populated from it. Set one of them, or request a snapshot.
	ReasonSnapshotsDisabled = "SnapshotsDisabled"
	// ReasonPoolFilled: all volumes of the pool are ready.
	ReasonPoolFilled = "PoolFilled"
	// ReasonPoolFilling: volumes of the pool are being made or read, or deleted since
	// another snapshot is offered; the message has what is waited for.
	ReasonPoolFilling = "PoolFilling"
	// ReasonPoolRefused: the cluster refuses a PVC or a Job of the pool, as a quota
	// does, an object of the name exists, or the class keeps volumes that are deleted.
	// Raise the quota, lower spec.pool.size, or name another class.
	ReasonPoolRefused = "PoolRefused"
	// ReasonPoolFailing: volumes of the pool could not be made, or were not Intact when
	// they were read. It is tried again, after pauses of up to an hour.
	ReasonPoolFailing = "PoolFailing"
	// ReasonNotShared: spec.source names a GoCache that does not exist or is not
	// shared with this namespace; its spec.consumers.namespaceSelector must match the
	// labels of this namespace.
	ReasonNotShared = "NotShared"
	// ReasonSourceIsShared: spec.source names a GoCache that has a source itself; name
	// that one.
	ReasonSourceIsShared = "SourceIsShared"
	// ReasonSharingUnavailable: the operator may not read what sharing between
	// namespaces needs; it is installed for single namespaces.
	ReasonSharingUnavailable = "SharingUnavailable"
	// ReasonPVCBound: the PVC is bound to its volume.
	ReasonPVCBound = "PVCBound"
	// ReasonWarmedUp: the last warm-up succeeded, or the cache was restored since.
	ReasonWarmedUp = "WarmedUp"
	// ReasonWithinBounds: the caches are within the bounds of spec.cleanup.
	ReasonWithinBounds = "WithinBounds"
	// ReasonSpaceLeft: the PVC has space left.
	ReasonSpaceLeft = "SpaceLeft"
	// ReasonPVCPending: the PVC waits for its volume.
	ReasonPVCPending = "PVCPending"
	// ReasonPVCLost: the volume of the PVC is gone; delete the PVC to start with a
	// new one.
	ReasonPVCLost = "PVCLost"
	// ReasonProxyNotReady: environment.proxyRef has no address yet.
	ReasonProxyNotReady = "ProxyNotReady"
	// ReasonWarming: a warm-up is running.
	ReasonWarming = "Warming"
	// ReasonWarmUpPending: the pod of a warm-up does not run yet; the message explains
	// why, if it should by now.
	ReasonWarmUpPending = "WarmUpPending"
	// ReasonWarmUpFailed: the last warm-up failed; the message explains why. It is
	// retried with increasing delays, and at once when a source changes.
	ReasonWarmUpFailed = "WarmUpFailed"
	// ReasonToolchainTooOld: all sources need a newer Go release than
	// spec.toolchain.version. The warm-up is not retried; set a newer version, and an
	// image of it if spec.toolchain.image is set.
	ReasonToolchainTooOld = "ToolchainTooOld"
	// ReasonGrowing: the PVC is being expanded.
	ReasonGrowing = "Growing"
	// ReasonGrowthRefused: the PVC cannot be expanded: its class does not allow it,
	// a quota is exceeded, or the driver does not support it. It is retried every
	// hour.
	ReasonGrowthRefused = "GrowthRefused"
	// ReasonAtLimit: the PVC has the size of spec.storage.growth.limit and is almost
	// full; raise the limit, or clean up the cache.
	ReasonAtLimit = "AtLimit"
	// ReasonOutOfInodes: the inodes of the volume's file system are almost used up,
	// and the PVC has grown without getting more of them.
	ReasonOutOfInodes = "OutOfInodes"
	// ReasonReplacingVolume: the volume of the PVC is being replaced.
	ReasonReplacingVolume = "ReplacingVolume"
	// ReasonWaitingForConsumers: the new volume is verified, and takes the place
	// of the old one when the pods that use the PVC are gone; delete them, or set
	// spec.storage.volumeReplacement.consumers to Evict.
	ReasonWaitingForConsumers = "WaitingForConsumers"
	// ReasonNotRestorable: the requested snapshot cannot be restored; the message
	// explains why. Name another snapshot.
	ReasonNotRestorable = "NotRestorable"
	// ReasonVolumeReplacementFailed: the volume could not be replaced, and is
	// unchanged; the message explains why and what to do.
	ReasonVolumeReplacementFailed = "VolumeReplacementFailed"
	// ReasonCleanupPaused: a check did not pass, so nothing is removed; the message
	// explains which and why.
	ReasonCleanupPaused = "CleanupPaused"
	// ReasonApprovalRequired: a plan waits for approval; the message explains how to
	// approve it.
	ReasonApprovalRequired = "ApprovalRequired"
	// ReasonCleanupFailed: a plan could not be made or applied. It is retried with
	// increasing delays.
	ReasonCleanupFailed = "CleanupFailed"
	// ReasonBoundUnreachable: the entries that the last warm-up used are larger than
	// cleanup.maxSize. Raise that, or reduce the sources.
	ReasonBoundUnreachable = "BoundUnreachable"
	// ReasonWaiting: a run is due and waits for another one to end.
	ReasonWaiting = "Waiting"
)

// Reasons of a CacheSnapshot's conditions.
const (
	// ReasonSnapshotCreated: the CSI snapshot is ready to use.
	ReasonSnapshotCreated = "SnapshotCreated"
	// ReasonSourceNotReady: the source does not exist or has no bound PVC yet.
	ReasonSourceNotReady = "SourceNotReady"
	// ReasonCreatingSnapshot: the CSI snapshot is not ready to use yet.
	ReasonCreatingSnapshot = "CreatingSnapshot"
	// ReasonSnapshotFailed: the CSI driver reports an error; the snapshot is retried
	// until the deadline.
	ReasonSnapshotFailed = "SnapshotFailed"
	// ReasonVerifying: the verification Job is running.
	ReasonVerifying = "Verifying"
	// ReasonRepairing: the snapshot is corrupt, and a clone is being repaired.
	ReasonRepairing = "Repairing"
	// ReasonOfflineBuildRunning: the snapshot is intact, and the offline build test
	// is running.
	ReasonOfflineBuildRunning = "OfflineBuildRunning"
	// ReasonOfflineBuildFailed: the snapshot is intact, and the offline build test
	// failed; it is never offered.
	ReasonOfflineBuildFailed = "OfflineBuildFailed"
	// ReasonQueued: the maximum number of snapshots are in progress; this one starts
	// when another one has ended.
	ReasonQueued = "Queued"
	// ReasonSnapshotAPIMissing: the cluster does not serve the API of CSI snapshots;
	// install its CRDs and the snapshot controller.
	ReasonSnapshotAPIMissing = "SnapshotAPIMissing"
	// ReasonSnapshotClassMissing: no VolumeSnapshotClass fits the driver of the
	// source's volume; create one.
	ReasonSnapshotClassMissing = "SnapshotClassMissing"
	// ReasonCannotSnapshot: the driver of the source's volume does not support
	// snapshots; move the source to a class whose driver does.
	ReasonCannotSnapshot = "CannotSnapshot"
	// ReasonQuotaExceeded: a ResourceQuota does not allow the clone.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonCloning: the CSI driver is still creating the clone.
	ReasonCloning = "Cloning"
	// ReasonCloneFailed: the CSI driver cannot create the clone.
	ReasonCloneFailed = "CloneFailed"
	// ReasonIntact: all content was read and is intact.
	ReasonIntact = "Intact"
	// ReasonCorrupt: the content is corrupt; a Corrupt snapshot is never offered.
	ReasonCorrupt = "Corrupt"
	// ReasonInconclusive: the check had no result: the content is neither known to
	// be intact nor known to be corrupt.
	ReasonInconclusive = "Inconclusive"
	// ReasonDeadlineExceeded: there was no verdict before the deadline.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonSkipped: verification.mode is Skip; the snapshot is never offered.
	ReasonSkipped = "Skipped"
	// ReasonRepairFailed: the snapshot is corrupt and could not be repaired.
	ReasonRepairFailed = "RepairFailed"
	// ReasonSnapshotLost: the CSI snapshot was deleted, and not by the operator.
	ReasonSnapshotLost = "SnapshotLost"
)

// Reasons of a ModProxy's conditions.
const (
	// ReasonServing: at least one healthy instance serves.
	ReasonServing = "Serving"
	// ReasonRouterConfigured: all replicas of the router have the desired weights.
	ReasonRouterConfigured = "RouterConfigured"
	// ReasonInstancesHealthy: every instance is healthy and not quarantined.
	ReasonInstancesHealthy = "InstancesHealthy"
	// ReasonCertificateServed: all replicas of the router serve the certificate.
	ReasonCertificateServed = "CertificateServed"
	// ReasonInstancesAgree: the instances serve the same content.
	ReasonInstancesAgree = "InstancesAgree"
	// ReasonChecksumDatabaseReachable: clients reach the checksum database.
	ReasonChecksumDatabaseReachable = "ChecksumDatabaseReachable"
	// ReasonNoHealthyInstance: no instance passes its probes; weights stay as they
	// are, except that quarantined instances have none.
	ReasonNoHealthyInstance = "NoHealthyInstance"
	// ReasonAllInstancesQuarantined: every instance was found to serve corrupt
	// content; the address responds with 503.
	ReasonAllInstancesQuarantined = "AllInstancesQuarantined"
	// ReasonInstanceUnhealthy: an instance fails a probe or is quarantined.
	ReasonInstanceUnhealthy = "InstanceUnhealthy"
	// ReasonRouterNotReady: the router's pods do not respond yet.
	ReasonRouterNotReady = "RouterNotReady"
	// ReasonCertificateRefused: the Secret of router.tls holds no valid pair; the
	// previous certificate is still served. Correct the Secret.
	ReasonCertificateRefused = "CertificateRefused"
	// ReasonCertificateNameMismatch: the certificate is served, but is not valid for
	// the name in status.url; clients that use that name reject it.
	ReasonCertificateNameMismatch = "CertificateNameMismatch"
	// ReasonInstancesDisagree: instances serve different content for the same module
	// version; the message names it, and the corrupt instance if that is known.
	ReasonInstancesDisagree = "InstancesDisagree"
	// ReasonChecksumDatabaseUnreachable: no instance reaches the checksum database.
	// This changes no weight; stored modules are still served.
	ReasonChecksumDatabaseUnreachable = "ChecksumDatabaseUnreachable"
	// ReasonStoreCorrupt quarantines an instance: a check of its store found content
	// that differs from trust data, or from an earlier check.
	ReasonStoreCorrupt = "StoreCorrupt"
	// ReasonStoreFull: the store of an instance has no room for what it fetches.
	// Clients are served, and each costs another fetch. The message has what to do.
	ReasonStoreFull = "StoreFull"
	// ReasonStoresHaveRoom: every store has room for what its instance fetches.
	ReasonStoresHaveRoom = "StoresHaveRoom"
	// ReasonGatewayAPIMissing: router.type is Gateway, and the cluster has no
	// HTTPRoutes; install the Gateway API, or choose another type.
	ReasonGatewayAPIMissing = "GatewayAPIMissing"
	// ReasonWeightsPending: weights were written and are not read back yet.
	ReasonWeightsPending = "WeightsPending"
)

// Reasons of a CacheRequest's conditions.
const (
	// ReasonRequestWaiting: the target works on another request, or has not
	// accepted this one yet.
	ReasonRequestWaiting = "RequestWaiting"
	// ReasonRequestAccepted: the target works on the request.
	ReasonRequestAccepted = "RequestAccepted"
	// ReasonRequestSucceeded: the action was carried out.
	ReasonRequestSucceeded = "RequestSucceeded"
	// ReasonRequestFailed: the action was not carried out; the message explains why.
	// Create another request when the cause is gone.
	ReasonRequestFailed = "RequestFailed"
	// ReasonRequestRefused: the request is not possible now, and was not begun; the
	// message explains why.
	ReasonRequestRefused = "RequestRefused"
	// ReasonTargetNotFound: the target does not exist, or was deleted before it
	// finished the request.
	ReasonTargetNotFound = "TargetNotFound"
)
