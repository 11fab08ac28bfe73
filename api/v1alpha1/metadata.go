package v1alpha1

// Labels and annotations that the operator writes or reads. All are public:
// dashboards, policies and scripts may rely on them.
const (
	// CacheLabel names the GoCache that an object belongs to.
	CacheLabel = GroupName + "/cache"
	// SnapshotLabel names the CacheSnapshot that an object belongs to.
	SnapshotLabel = GroupName + "/snapshot"
	// SnapshotUIDLabel on a VolumeSnapshot is the uid of the CacheSnapshot that it
	// was created for.
	SnapshotUIDLabel = GroupName + "/snapshot-uid"
	// ProxyLabel names the ModProxy that an object belongs to.
	ProxyLabel = GroupName + "/proxy"
	// InstanceLabel names the instance of a ModProxy that an object belongs to.
	InstanceLabel = GroupName + "/instance"
	// PoolLabel on a PVC names the GoCache whose pool it belongs to.
	PoolLabel = GroupName + "/pool"
	// ActionLabel names what a Job does: warm-up, integrity, cleanup, verification,
	// replacement or pool.
	ActionLabel = GroupName + "/action"

	// CacheRequestAnnotation on a Job is the CacheRequest that it answers: action,
	// name and uid.
	CacheRequestAnnotation = GroupName + "/cache-request"
	// PopulatedFromAnnotation on a PersistentVolume names the CacheSnapshot
	// that its content was cloned from.
	PopulatedFromAnnotation = GroupName + "/populated-from"
	// ClonedAtAnnotation on a CacheSnapshot is when a clone of it was last given to a
	// consumer (RFC 3339), or up to 10 minutes before that. Some drivers still copy
	// from the snapshot then: retention keeps it for an hour.
	ClonedAtAnnotation = GroupName + "/cloned-at"
	// ToolchainAnnotation on the PVC of a consumer is the Go release that it builds
	// with, such as go1.26.8. Optional: an event warns of a clone whose build cache
	// that release would not use.
	ToolchainAnnotation = GroupName + "/toolchain"
	// PlatformAnnotation on the PVC of a consumer is its GOOS/GOARCH. Optional, as
	// toolchain.
	PlatformAnnotation = GroupName + "/platform"
	// MountPathAnnotation on the PVC of a consumer is where it mounts the PVC.
	// Optional, as toolchain.
	MountPathAnnotation = GroupName + "/mount-path"
	// InputsAnnotation on a Job is the digest of the inputs of the run.
	InputsAnnotation = GroupName + "/inputs"
	// CauseAnnotation on a Job is the cause of its start.
	CauseAnnotation = GroupName + "/cause"
	// VolumeAnnotation on a Job is the volume of its PVC when it was started.
	VolumeAnnotation = GroupName + "/volume"
	// PlanAnnotation on a Job is the digest of the plan that it applies.
	PlanAnnotation = GroupName + "/plan"
	// CommitsAnnotation on a Job are the git commits that it builds, as the names of
	// their sources, '=' and the commit, separated by commas.
	CommitsAnnotation = GroupName + "/commits"
	// ReferenceAnnotation on an integrity Job names the CacheSnapshot that checksums
	// are compared with, by trust.firstSeen.
	ReferenceAnnotation = GroupName + "/reference"
	// PVCUIDAnnotation on a Job is the uid of the PVC that it writes to.
	PVCUIDAnnotation = GroupName + "/pvc-uid"

	// HostsAnnotation on a Secret names the hosts that the operator may send its
	// content to, separated by commas: git.example.com, git.example.com:8443,
	// *.corp.example. A Secret without it is not used as a credential.
	HostsAnnotation = GroupName + "/hosts"
	// ImagesAnnotation on a Secret names the images, beside the operator's own, that
	// it may be mounted into, separated by commas: an image, or registry.example.com/team/*.
	ImagesAnnotation = GroupName + "/images"

	// VolumeReplacementFinalizer is on an object only while the volume of one of its
	// PVCs is being replaced.
	VolumeReplacementFinalizer = GroupName + "/volume-replacement"

	// ManagedByLabel and ManagedByValue mark every object that the operator creates.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedByValue is the value of ManagedByLabel.
	ManagedByValue = "gocache-operator"
)
