package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GoCache is one pair of Go caches, GOMODCACHE and GOCACHE, on one
// PersistentVolumeClaim: warmed up, checked, cleaned up and snapshotted by policy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=goc,categories=gocaching
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Go",type=string,JSONPath=`.spec.toolchain.version`
// +kubebuilder:printcolumn:name="Used",type=string,JSONPath=`.status.storage.used`
// +kubebuilder:printcolumn:name="Capacity",type=string,JSONPath=`.status.storage.capacity`
// +kubebuilder:printcolumn:name="Warmed",type=date,JSONPath=`.status.warmUp.lastSuccessTime`
// +kubebuilder:printcolumn:name="Snapshot",type=string,JSONPath=`.status.latestVerifiedSnapshot`
// +kubebuilder:printcolumn:name="PoolReady",type=integer,priority=1,JSONPath=`.status.pool.ready`
// +kubebuilder:printcolumn:name="PoolSize",type=integer,priority=1,JSONPath=`.status.pool.size`
// +kubebuilder:printcolumn:name="Proven",type=integer,priority=1,JSONPath=`.status.integrity.provenModules`
// +kubebuilder:printcolumn:name="Total",type=integer,priority=1,JSONPath=`.status.integrity.totalModules`
// +kubebuilder:printcolumn:name="ProvenBuild",type=integer,priority=1,JSONPath=`.status.integrity.provenBuildEntries`
// +kubebuilder:printcolumn:name="TotalBuild",type=integer,priority=1,JSONPath=`.status.integrity.counts.buildEntries`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS-1035 label of at most 40 characters: lower case letters, digits and '-', beginning with a letter"
type GoCache struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is the desired state.
	// +required
	Spec GoCacheSpec `json:"spec"`
	// status is the observed state.
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

// GoCacheSpec is the desired state of a GoCache.
//
// +kubebuilder:validation:XValidation:rule="has(self.platform) == has(oldSelf.platform) && (!has(self.platform) || self.platform == oldSelf.platform)",message="platform is immutable: a build cache is of one platform; create another GoCache"
// +kubebuilder:validation:XValidation:rule="self.layers == oldSelf.layers",message="layers is immutable: create another GoCache"
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || !has(oldSelf.storage) || self.storage.accessModes == oldSelf.storage.accessModes",message="storage.accessModes is immutable: create another GoCache"
// +kubebuilder:validation:XValidation:rule="has(self.source) == has(oldSelf.source)",message="a GoCache does not begin or cease to be shared from another one: create another GoCache"
// +kubebuilder:validation:XValidation:rule="has(self.source) || has(self.toolchain) && has(self.storage)",message="set toolchain and storage, or source alone"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !(has(self.toolchain) || has(self.storage) || has(self.platform) || has(self.warmUp) || has(self.integrity) || has(self.cleanup) || has(self.restore) || has(self.podTemplate) || has(self.consumers) || has(self.pool))",message="source takes the place of toolchain, platform, storage, warmUp, integrity, cleanup, restore, podTemplate, consumers and pool: set these on the source"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || self.layers.size() == 2 && (!has(self.environment.mountPath) || self.environment.mountPath == '/gocache')",message="layers and environment.mountPath are those of the source: leave them out"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || !has(self.snapshots) || (!has(self.snapshots.afterWarmUp) || self.snapshots.afterWarmUp) && !has(self.snapshots.schedule) && !has(self.snapshots.volumeSnapshotClassName) && !has(self.snapshots.verification.trust) && !has(self.snapshots.verification.offlineBuild)",message="snapshots are those of the source: leave snapshots out"
// +kubebuilder:validation:XValidation:rule="'Modules' in self.layers || !has(self.warmUp) || !has(self.warmUp.sources) || self.warmUp.sources.size() == 0",message="warmUp.sources requires layer Modules"
type GoCacheSpec struct {
	// suspend keeps the operator from starting anything for this object.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// source is a GoCache of another namespace that this one is shared from, in place
	// of toolchain, storage and all that fills it. This GoCache has no PVC and runs no
	// Job: it is a name that PVCs of its namespace are populated from, with the
	// newest verified snapshot of the source, and publishes the environment of
	// builds. The source allows it by consumers.
	// +optional
	Source *CacheSource `json:"source,omitempty"`
	// consumers are the other namespaces that this cache is shared with. Unset: none.
	// +optional
	Consumers *CacheConsumers `json:"consumers,omitempty"`
	// pool keeps volumes ready for the PVCs of this namespace that name this cache:
	// clones of the newest verified snapshot, read and checked in advance. Unset: each
	// clone is made when its PVC asks for it.
	// +optional
	Pool *CachePool `json:"pool,omitempty"`
	// toolchain that the build cache is for. Required without source.
	// +optional
	Toolchain Toolchain `json:"toolchain,omitzero"`
	// platform as GOOS/GOARCH; Jobs run on nodes of it. Unset: that of the operator
	// when it first reconciles the cache, recorded in status.platform.
	// +kubebuilder:validation:Enum=linux/386;linux/amd64;linux/arm;linux/arm64;linux/loong64;linux/mips64;linux/mips64le;linux/ppc64le;linux/riscv64;linux/s390x
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Platform string `json:"platform,omitempty"`
	// storage of the PersistentVolumeClaim (PVC). Required without source.
	// +optional
	Storage CacheStorage `json:"storage,omitzero"`
	// layers held, each in its own folder of the volume: mod and build.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:default={Modules,Build}
	// +listType=set
	// +optional
	Layers []CacheLayer `json:"layers,omitempty"`
	// environment of builds; published as ConfigMaps NAME-env and
	// NAME-env-offline.
	// +kubebuilder:default={}
	// +optional
	Environment Environment `json:"environment,omitzero"`
	// warmUp fills the caches. Unset: only the standard library is built, once.
	// +optional
	WarmUp *WarmUp `json:"warmUp,omitempty"`
	// integrity is the policy for checks of the cache PVC.
	// +optional
	Integrity *CacheIntegrity `json:"integrity,omitempty"`
	// cleanup bounds the caches in size and age.
	// +optional
	Cleanup *Cleanup `json:"cleanup,omitempty"`
	// snapshots is the policy for CacheSnapshots. Unset: one after each successful
	// warm-up. With afterWarmUp false and no schedule, snapshots are created only on
	// request, and new PVCs cannot be populated before that.
	// +kubebuilder:default={afterWarmUp:true}
	// +optional
	Snapshots *SnapshotPolicy `json:"snapshots,omitempty"`
	// restore fills the volume from a snapshot, or rolls it back to one. Each
	// distinct value is acted on once.
	// +optional
	Restore *Restore `json:"restore,omitempty"`
	// podTemplate of all Jobs of this cache.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
}

// CacheSource names a GoCache in a namespace.
type CacheSource struct {
	// namespace of the GoCache.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +required
	Namespace string `json:"namespace"`
	// name of the GoCache. It must not have a source itself.
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	// +required
	Name string `json:"name"`
}

// CacheConsumers selects the namespaces that may use the snapshots of a GoCache.
type CacheConsumers struct {
	// namespaceSelector selects namespaces by their labels, such as
	// kubernetes.io/metadata.name, which the API server sets. A GoCache in a selected
	// namespace may name this one as its source; {} selects all. A namespace that is
	// no longer selected gets no further volumes; those that it has stay.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['Exists', 'DoesNotExist'] ? !has(e.values) || e.values.size() == 0 : e.operator in ['In', 'NotIn'] && has(e.values) && e.values.size() > 0)",message="matchExpressions need an operator of In and NotIn, with values, or of Exists and DoesNotExist, without"
	// +required
	NamespaceSelector LabelSelector `json:"namespaceSelector"`
}

// CachePool is how many volumes are kept ready, and for which PVCs they are.
type CachePool struct {
	// size is how many volumes are kept ready. Each takes as much storage, and as much
	// of the quotas of the namespace, as the PVC of a consumer. They are made one after
	// the other.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	// +required
	Size int32 `json:"size"`
	// maxAge of a volume that no PVC has taken: it is then deleted, and made and
	// checked again.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be a duration such as 90m or 24h, from 1h to 8760h"
	// +kubebuilder:default="168h"
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// storage of the volumes. A PVC gets one of them only if it asks for the same class
	// and access modes, and for no larger size; otherwise a clone is made for it.
	// +kubebuilder:default={}
	// +optional
	Storage PoolStorage `json:"storage,omitzero"`
}

// PoolStorage is the storage of the volumes of a pool.
//
// +kubebuilder:validation:XValidation:rule="!has(self.size) || !isQuantity(string(self.size)) || quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be greater than 0"
type PoolStorage struct {
	// storageClassName of the PVCs that the volumes are for. Unset: that of the cache
	// PVC.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// size of the volumes. Unset, or less than a clone has: that of the cache PVC when
	// the snapshot was created.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// accessModes of the PVCs that the volumes are for.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Enum=ReadWriteOnce;ReadWriteOncePod;ReadWriteMany
	// +kubebuilder:default={ReadWriteOnce}
	// +listType=set
	// +optional
	AccessModes []corev1.PersistentVolumeAccessMode `json:"accessModes,omitempty"`
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

// CacheStorage is the PVC of a cache.
//
// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self.size)) || quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be greater than 0"
// +kubebuilder:validation:XValidation:rule="!has(self.growth) || !isQuantity(string(self.growth.limit)) || !isQuantity(string(self.size)) || quantity(string(self.growth.limit)).compareTo(quantity(string(self.size))) >= 0",message="growth.limit must not be less than size"
type CacheStorage struct {
	// storageClassName of the PVC. Unset: the cluster's default class. A change
	// moves the content to a new volume.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// size is a minimum: the PVC requests this size, or the one it has grown to.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +required
	Size resource.Quantity `json:"size"`
	// accessModes of the PVC.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Enum=ReadWriteOnce;ReadWriteOncePod;ReadWriteMany
	// +kubebuilder:default={ReadWriteOnce}
	// +listType=set
	// +optional
	AccessModes []corev1.PersistentVolumeAccessMode `json:"accessModes,omitempty"`
	// growth expands the PVC before it is full.
	// +optional
	Growth *StorageGrowth `json:"growth,omitempty"`
	// ownership of the files. Null for platforms that assign ids.
	// +kubebuilder:default={runAsUser:65532,runAsGroup:65532,fsGroup:65532}
	// +nullable
	// +optional
	Ownership *Ownership `json:"ownership,omitempty"`
	// volumeReplacement is how the volume is replaced under the name of the PVC.
	// +kubebuilder:default={}
	// +optional
	VolumeReplacement VolumeReplacement `json:"volumeReplacement,omitzero"`
	// deletionPolicy of the PVC, when the GoCache is deleted. A retained PVC is
	// used again by a GoCache of the same name.
	// +kubebuilder:default=Retain
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// StorageGrowth is when and how far a PVC grows.
//
// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self.step)) || quantity(string(self.step)).isGreaterThan(quantity('0'))",message="step must be greater than 0"
type StorageGrowth struct {
	// usedPercent at which the PVC is expanded.
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=99
	// +kubebuilder:default=85
	// +optional
	UsedPercent int32 `json:"usedPercent,omitempty"`
	// step added at each expansion.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +required
	Step resource.Quantity `json:"step"`
	// limit that the PVC never exceeds.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +required
	Limit resource.Quantity `json:"limit"`
}

// Isolation is how far builds are isolated from settings of their surroundings.
// +kubebuilder:validation:Enum=Standard;Strict
type Isolation string

// The isolations.
const (
	IsolationStandard Isolation = "Standard"
	// IsolationStrict adds GOENV=off, GOWORK=off and an empty GOFLAGS: go.work files,
	// and flags and settings of the image, are not used.
	IsolationStrict Isolation = "Strict"
)

// The fallbacks that are no URL.
const (
	FallbackNone   = "None"
	FallbackDirect = "Direct"
)

// Environment is the environment of builds with this cache.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.proxyRef) && has(self.proxy))",message="set proxyRef or proxy, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.fallback) || self.fallback == 'None' || has(self.proxyRef)",message="fallback requires proxyRef: put further entries into proxy yourself"
type Environment struct {
	// proxyRef names a ModProxy; its address becomes GOPROXY.
	// +optional
	ProxyRef *LocalReference `json:"proxyRef,omitempty"`
	// fallback is asked by the go command when no attempt at the ModProxy of proxyRef
	// has served a file: None; Direct, the version control of each module; or the URL
	// of another GOPROXY. It is the last entry of GOPROXY, after a "|", so that builds
	// and warm-ups go on while the proxy is down. The go command also asks it for what
	// the proxy answers with 403 or 404. With a URL, the modules of the private
	// patterns are fetched from their version control and from no proxy (GONOPROXY), so
	// that the fallback learns of none of them. It is not used with a ModProxy whose
	// policy is enforced.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="fallback must not contain credentials, which the environment of builds would publish"
	// +kubebuilder:validation:Pattern=`^(None|Direct|https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?)$`
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:default=None
	// +optional
	Fallback string `json:"fallback,omitempty"`
	// proxy is a value of GOPROXY. Neither this nor proxyRef: the default of the go
	// command.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="proxy must not contain credentials, which the environment of builds would publish: use a ModProxy by proxyRef, with router.clientAuth"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Proxy string `json:"proxy,omitempty"`
	// privateModules are the modules that are not public, beside those that are
	// private to the proxy that proxyRef refers to. With proxyRef they are
	// fetched from the proxy without the checksum database; else their patterns
	// become GOPRIVATE.
	// +optional
	PrivateModules *PrivateModules `json:"privateModules,omitempty"`
	// checksumDatabase, in the syntax of GOSUMDB, that fetched modules are
	// verified with. Unset: the default of the go command.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="checksumDatabase must not contain credentials: name a database that needs none, such as one that a ModProxy serves"
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ChecksumDatabase string `json:"checksumDatabase,omitempty"`
	// mountPath where builds mount the volume. An entry of the build cache is only
	// found when the module cache is at the path where it was when the entry was
	// written. It must not be a directory that the Jobs of the operator, the system or
	// the toolchain use.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|/)[.][.]?(/|$)')",message="mountPath must not have the elements . and .."
	// +kubebuilder:validation:XValidation:rule="!self.matches('^/(tmp|tools|sources|program|secrets|trust|trusted-ca)(/|$)')",message="mountPath must not be at or below /tmp, /tools, /sources, /program, /secrets, /trust or /trusted-ca: Jobs of the operator mount their own files there"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^/(proc|sys|dev|usr/local/go)(/|$)|^/(bin|sbin|lib|lib64|etc|usr|usr/bin|usr/sbin|usr/lib|usr/local|var|run|var/run)$')",message="mountPath must not hide a directory of the system or of the Go toolchain: choose another, such as /gocache"
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

// WarmUp is when and from which sources the caches are filled.
//
// +kubebuilder:validation:XValidation:rule="!has(self.sources) || self.sources.all(s, !has(s.name) || self.sources.exists_one(o, has(o.name) && o.name == s.name))",message="two sources have the same name"
// +kubebuilder:validation:XValidation:rule="!has(self.sources) || self.sources.map(s, has(s.builds) ? s.builds.size() : 0).sum() <= 32",message="all sources together have at most 32 builds"
type WarmUp struct {
	Schedule `json:",inline"`
	// sources to fill the caches from. A source that fails keeps no other from
	// being warmed and snapshotted. None: only the standard library is built.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Sources []WarmUpSource `json:"sources,omitempty"`
	// deadline of one run. The agent stops a tenth of it earlier, at least 30 s, and
	// records what it has done; the next run continues from there.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be a duration such as 90s or 1h30m, from 1s to 168h"
	// +kubebuilder:default="1h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
	// resources of the warm-up Job, in place of the pod template's.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
}

// WarmUpSource is one source to fill the caches from.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.git)",message="set exactly one of configMapRef and git"
type WarmUpSource struct {
	// name of the source in status.warmUp.sources. Unset: the name of the ConfigMap,
	// or the last element of the repository's path; a number is added where that
	// names two.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Name string `json:"name,omitempty"`
	// configMapRef holds go.mod and go.sum. All modules are downloaded. A module
	// that the go.mod replaces by a directory is left out.
	// +optional
	ConfigMapRef *LocalReference `json:"configMapRef,omitempty"`
	// git names a repository, whose packages and tests are built.
	// +optional
	Git *GitSource `json:"git,omitempty"`
	// packages to build, as arguments of go build. Unset: for git all packages; for a
	// configMapRef the standard library and all packages of the modules that the
	// go.mod requires directly, and its tools, as far as the go.sum has what they
	// import.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9._~/][^\s,]*$`
	// +listType=atomic
	// +optional
	Packages []string `json:"packages,omitempty"`
	// scope of what is downloaded.
	// +kubebuilder:default=Build
	// +optional
	Scope SourceScope `json:"scope,omitempty"`
	// builds to make of the source: the go command caches results for each
	// combination of flags and environment. Unset: one build without flags, with
	// vet and tests. If set, only these are made: name each build that CI makes.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +optional
	Builds []SourceBuild `json:"builds,omitempty"`
}

// SourceScope is what is downloaded of a source.
// +kubebuilder:validation:Enum=Build;All
type SourceScope string

// The scopes.
const (
	// ScopeBuild: what builds, vet and tests need.
	ScopeBuild SourceScope = "Build"
	// ScopeAll: also what commands such as go list -m all and go mod tidy need
	// offline.
	ScopeAll SourceScope = "All"
)

// BuildTests is what is made of the tests of packages.
// +kubebuilder:validation:Enum=None;Compile
type BuildTests string

// The values of tests. Tests are never run: they are code of the source, and the
// warm-up writes to the cache PVC.
const (
	TestsNone    BuildTests = "None"
	TestsCompile BuildTests = "Compile"
)

// SourceBuild is one way of building, as CI builds.
type SourceBuild struct {
	// name of the build in the status.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=32
	// +required
	Name string `json:"name"`
	// packages in place of the source's.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9._~/][^\s,]*$`
	// +listType=atomic
	// +optional
	Packages []string `json:"packages,omitempty"`
	// flags of go build, go vet and go test, one an item, such as -race, -trimpath
	// or -tags=a,b.
	// +kubebuilder:validation:MaxItems=12
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^-((race|msan|asan|trimpath|cover)(=(true|false))?|covermode=(set|count|atomic)|coverpkg=[A-Za-z0-9._~/,-]+|tags=[A-Za-z0-9_.,]+|buildmode=(default|exe|pie)|buildvcs=(auto|false)|pgo=(auto|off)|mod=(readonly|vendor)|ldflags=(-s|-w|-buildid=|-extldflags=-static|-X[ =][A-Za-z0-9._~/-]+=[A-Za-z0-9._~/:+@-]*)( (-s|-w|-buildid=|-extldflags=-static|-X[ =][A-Za-z0-9._~/-]+=[A-Za-z0-9._~/:+@-]*))*|gcflags=([A-Za-z0-9._~/-]+=)?(-N|-l|-dwarf=(true|false)|-trimpath=[A-Za-z0-9._~/;=>-]+)( (-N|-l|-dwarf=(true|false)|-trimpath=[A-Za-z0-9._~/;=>-]+))*|asmflags=([A-Za-z0-9._~/-]+=)?-trimpath=[A-Za-z0-9._~/;=>-]+)$`
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^-(race|msan|asan|trimpath|cover|covermode|coverpkg|tags|buildmode|buildvcs|pgo|mod|ldflags|gcflags|asmflags)(=.*)?$')",message="flags are those that choose what is compiled, one an item: -race, -msan, -asan, -trimpath, -cover, -covermode, -coverpkg, -tags, -buildmode, -buildvcs, -pgo, -mod, and -ldflags, -gcflags and -asmflags without programs and files"
	// +listType=atomic
	// +optional
	Flags []string `json:"flags,omitempty"`
	// env of the go command.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +optional
	Env []BuildEnvVar `json:"env,omitempty"`
	// vet lets go vet cache its results, too.
	// +kubebuilder:default=true
	// +optional
	Vet *bool `json:"vet,omitempty"`
	// tests to compile, as go test does. They are not run.
	// +kubebuilder:default=Compile
	// +optional
	Tests BuildTests `json:"tests,omitempty"`
}

// BuildEnvVar is a variable that changes what the go command compiles.
//
// +kubebuilder:validation:XValidation:rule="self.name != 'GOFLAGS' || self.value.matches('^(-(race|msan|asan|trimpath|cover|(covermode|coverpkg|tags|buildmode|buildvcs|pgo)=[A-Za-z0-9._~/,-]*|mod=readonly|mod=vendor)( |$))*$')",message="GOFLAGS holds only flags that builds[].flags may have, without -ldflags, -gcflags and -asmflags"
// +kubebuilder:validation:XValidation:rule="self.name != 'GOWORK' || self.value == 'off'",message="GOWORK must be off, or not set"
// +kubebuilder:validation:XValidation:rule="self.name != 'CGO_ENABLED' || self.value in ['0', '1']",message="CGO_ENABLED must be '0' or '1'"
type BuildEnvVar struct {
	// name of the variable.
	// +kubebuilder:validation:Enum=CGO_ENABLED;GO386;GOAMD64;GOARCH;GOARM;GOARM64;GOEXPERIMENT;GOFIPS140;GOFLAGS;GOMIPS;GOMIPS64;GOOS;GOPPC64;GORISCV64;GOWASM;GOWORK
	// +kubebuilder:validation:MaxLength=16
	// +required
	Name string `json:"name"`
	// value of the variable.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._,=~/:;+@> -]*$`
	// +kubebuilder:validation:MaxLength=256
	// +required
	Value string `json:"value"`
}

// GitSource is a repository at a ref.
//
// +kubebuilder:validation:XValidation:rule="!has(self.sparseCheckout) || !has(self.directories) || self.directories.all(d, self.sparseCheckout.exists(s, s == d || d.startsWith(s + '/') || s.startsWith(d + '/')))",message="each of directories must be one of sparseCheckout, or below or above one of them"
// +kubebuilder:validation:XValidation:rule="!self.url.matches('^https?://[^/]*@') && !self.url.matches('^ssh://[^/]*:[^/]*@')",message="url must not contain credentials: use secretRef"
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('ssh://') || has(self.secretRef)",message="an ssh url requires a secretRef with identity and known_hosts"
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('http://') || !has(self.secretRef)",message="credentials are not sent over http: use an https or ssh url, or remove secretRef"
// +kubebuilder:validation:XValidation:rule="self.url.startsWith('https://') || !has(self.trustedCA)",message="trustedCA requires an https url"
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !has(self.trustedCA)",message="trustedCA must not be set with secretRef: an authority decides which server gets the credentials, so it is the key ca.crt of the Secret"
type GitSource struct {
	// url of the repository, such as https://example.com/group/program.git or
	// ssh://git@example.com/group/program.git. Its vendor directories are used, and
	// so is its go.work, unless environment.isolation is Strict.
	// +kubebuilder:validation:Pattern=`^(https?|ssh)://.+$`
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// ref is a branch, a tag, or a commit in all of its 40 digits. Unset: the
	// default branch. It is polled every minute; a new commit starts a warm-up.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._/@+#=][-A-Za-z0-9._/@+#=]*$`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Ref string `json:"ref,omitempty"`
	// secretRef names a Secret with the keys username and password for https, or
	// identity (a private key without a passphrase) and known_hosts for ssh. The
	// Secret must allow the host of the url by its annotation
	// cache.gocache.dev/hosts. Its key ca.crt holds the authority that issued the
	// certificate of the server, if it is not one of the public authorities. These keys
	// are mounted only into the container that fetches.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// trustedCA issued the certificate of an https server, if it is not one of the
	// public authorities, and there is no secretRef.
	// +optional
	TrustedCA *TrustedCA `json:"trustedCA,omitempty"`
	// webhook accepts the push webhooks of the repository, so that a push is noticed
	// within seconds. The ref is polled all the same. The manager must receive
	// webhooks: --push-bind-address.
	// +optional
	Webhook *GitWebhook `json:"webhook,omitempty"`
	// directories of the repository that hold a go.mod or a go.work, such as
	// services/billing. Unset: the top.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9_.-][A-Za-z0-9_./@+ -]*$`
	// +kubebuilder:validation:items:XValidation:rule="!self.split('/').exists(e, e == '..' || e == '')",message="a directory is relative to the top of the repository, without '..'"
	// +listType=set
	// +optional
	Directories []string `json:"directories,omitempty"`
	// sparseCheckout are the directories of a large repository that are checked out,
	// with all below them and the files of the directories on the way there. List all
	// that the builds need, such as directories that a go.mod replaces modules by. A
	// server that supports partial clones sends no other files. Unset: the whole
	// repository.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9_.-][A-Za-z0-9_./@+ -]*$`
	// +kubebuilder:validation:items:XValidation:rule="!self.split('/').exists(e, e == '.' || e == '..' || e == '')",message="a directory is relative to the top of the repository, without '.' and '..', and without a '/' at its end"
	// +listType=set
	// +optional
	SparseCheckout []string `json:"sparseCheckout,omitempty"`
	// submodules are checked out as well, at the commits that the repository names: 64
	// at most, nested 4 deep at most. The secretRef is used for those on the host of
	// the url alone; others are read without credentials, by https or http.
	// +optional
	Submodules bool `json:"submodules,omitempty"`
}

// GitWebhook accepts the push webhooks of a repository at the path that
// status.warmUp.revisions publishes.
type GitWebhook struct {
	// secretRef names a Secret with the key token: 16 characters at least, which
	// the git server is given as well, and which proves a push. The Secret must
	// allow the host of the repository by its annotation cache.gocache.dev/hosts. It
	// is mounted nowhere.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// CacheCorruptPolicy is what a Corrupt verdict on a cache leads to.
// +kubebuilder:validation:Enum=Report;Rollback
type CacheCorruptPolicy string

// The corrupt policies of a cache.
const (
	CacheReport   CacheCorruptPolicy = "Report"
	CacheRollback CacheCorruptPolicy = "Rollback"
)

// CacheIntegrity is when the cache PVC is checked.
type CacheIntegrity struct {
	Schedule `json:",inline"`
	// checks to run. Unset: all layers.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +listType=set
	// +optional
	Checks []CacheLayer `json:"checks,omitempty"`
	// onCorrupt is what a Corrupt verdict leads to.
	// +kubebuilder:default=Report
	// +optional
	OnCorrupt CacheCorruptPolicy `json:"onCorrupt,omitempty"`
	// deadline of one run.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be a duration such as 90s or 1h30m, from 1s to 168h"
	// +kubebuilder:default="1h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
}

// Approval is whether a plan must be approved.
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
	// maxSize of both layers together. The least recently used entries are removed
	// first; entries that the last warm-up used never are.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +optional
	MaxSize *resource.Quantity `json:"maxSize,omitempty"`
	// maxAge since an entry was last used by a warm-up.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be a duration such as 90s or 1h30m, from 1m to 87600h"
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// approval of each plan before it is applied. Required: a plan waits for the
	// CacheRequest ApproveCleanup with its digest.
	// +kubebuilder:default=Automatic
	// +optional
	Approval Approval `json:"approval,omitempty"`
	// webhook is notified of each plan that waits for approval: a POST of JSON, at
	// least once, with the plan's digest and time as its Idempotency-Key.
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`
}

// Webhook is an address that notifications are sent to.
type Webhook struct {
	// url to POST to.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="url must not contain credentials, which every reader of the object would see: let the receiver admit the manager by its address or a token in the path"
	// +kubebuilder:validation:Pattern=`^https?://.+$`
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// timeout of the call.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('5m')",message="must be a duration such as 90s or 1h30m, from 1s to 5m"
	// +kubebuilder:default="10s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Restore names the snapshot that the volume is restored from.
type Restore struct {
	// snapshotRef names a verified CacheSnapshot.
	// +required
	SnapshotRef LocalReference `json:"snapshotRef"`
	// requestID makes the value distinct, to restore the same snapshot again.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	RequestID string `json:"requestID,omitempty"`
}

// GoCacheStatus is the observed state of a GoCache.
type GoCacheStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// platform of the cache: spec.platform, or that of the operator when it first
	// reconciled the cache.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Platform string `json:"platform,omitempty"`
	// conditions of the cache.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// source is what PVCs that name this GoCache are populated from, if spec.source is
	// set and the source allows it.
	// +optional
	Source *CacheSourceStatus `json:"source,omitempty"`
	// storage is the state of the PVC.
	// +optional
	Storage CacheStorageStatus `json:"storage,omitzero"`
	// warmUp is the state of warm-ups.
	// +optional
	WarmUp WarmUpStatus `json:"warmUp,omitzero"`
	// integrity is the state of checks of the cache PVC.
	// +optional
	Integrity *IntegrityStatus `json:"integrity,omitempty"`
	// cleanup is the state of cleanups.
	// +optional
	Cleanup *CleanupStatus `json:"cleanup,omitempty"`
	// counts of entries after the last run.
	// +optional
	Counts CacheCounts `json:"counts,omitzero"`
	// toolchain that wrote the cache last.
	// +optional
	Toolchain *ToolchainRecord `json:"toolchain,omitempty"`
	// manifestDigest of the content that the last run of the writer left and
	// reported. Snapshots, checks and the next run compare the content with that
	// manifest. A run that is killed does not change it.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ManifestDigest string `json:"manifestDigest,omitempty"`
	// writerJobUID is the uid of the writer Job that the operator created last. The
	// report of another Job counts only if that Job runs the same.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	WriterJobUID string `json:"writerJobUID,omitempty"`
	// snapshottedRun is the warm-up after which a snapshot was last created.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	SnapshottedRun string `json:"snapshottedRun,omitempty"`
	// snapshotRetry counts the snapshots that replaced one which was lost or could
	// not be verified; absent if there was none since the last warm-up.
	// +optional
	SnapshotRetry *SnapshotRetryStatus `json:"snapshotRetry,omitempty"`
	// lastScheduledSnapshot is when a snapshot was last created by the schedule.
	// +optional
	LastScheduledSnapshot *metav1.Time `json:"lastScheduledSnapshot,omitempty"`
	// latestSnapshot is the newest CacheSnapshot of this cache.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LatestSnapshot string `json:"latestSnapshot,omitempty"`
	// latestVerifiedSnapshot is the newest CacheSnapshot that is Intact: the source
	// of consumers' PVCs.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LatestVerifiedSnapshot string `json:"latestVerifiedSnapshot,omitempty"`
	// pool is the state of the volumes that are kept ready, if spec.pool is set or one
	// is left.
	// +optional
	Pool *PoolStatus `json:"pool,omitempty"`
	// content of the volume since it was last replaced.
	// +optional
	Content *ContentStatus `json:"content,omitempty"`
	// request is the CacheRequest that is worked on. It is unset once the
	// outcome is in the status of the CacheRequest.
	// +optional
	Request *RequestStatus `json:"request,omitempty"`
	// lastHandledRestore is the spec.restore that was acted on last.
	// +optional
	LastHandledRestore *Restore `json:"lastHandledRestore,omitempty"`
	// volumeReplacement in progress.
	// +optional
	VolumeReplacement *VolumeReplacementStatus `json:"volumeReplacement,omitempty"`
	// lastVolumeReplacement is the result of the last volume replacement.
	// +optional
	LastVolumeReplacement *VolumeReplacementResult `json:"lastVolumeReplacement,omitempty"`
}

// CacheSourceStatus is the newest verified snapshot of the source of a GoCache.
type CacheSourceStatus struct {
	// namespace of the source.
	// +kubebuilder:validation:MaxLength=63
	// +required
	Namespace string `json:"namespace"`
	// name of the source.
	// +kubebuilder:validation:MaxLength=40
	// +required
	Name string `json:"name"`
	// snapshot is the CacheSnapshot, in the namespace of the source, that PVCs are
	// populated from. Empty: the source has none to offer.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// creationTime is when the CSI driver created that snapshot: how fresh the content
	// is.
	// +optional
	CreationTime *metav1.Time `json:"creationTime,omitempty"`
	// verdict of the check of that snapshot.
	// +optional
	Verdict Verdict `json:"verdict,omitempty"`
	// verificationTime is when that check ended.
	// +optional
	VerificationTime *metav1.Time `json:"verificationTime,omitempty"`
	// digest of the canonical manifest of the content.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Digest string `json:"digest,omitempty"`
	// totalModules is the number of module versions with content.
	// +optional
	TotalModules int64 `json:"totalModules,omitempty"`
	// provenModules is how many of these have the content that trust data name.
	// +optional
	ProvenModules int64 `json:"provenModules,omitempty"`
	// restoreSize is the minimum size of a PVC that is populated from it.
	// +optional
	RestoreSize *resource.Quantity `json:"restoreSize,omitempty"`
	// toolchain that wrote the content.
	// +optional
	Toolchain *ToolchainRecord `json:"toolchain,omitempty"`
	// builds that the warm-ups of the source make, by the names that a ReportBuild
	// may have.
	// +kubebuilder:validation:MaxItems=144
	// +kubebuilder:validation:items:MaxLength=96
	// +listType=atomic
	// +optional
	Builds []string `json:"builds,omitempty"`
}

// PoolStatus is the state of the volumes that are kept ready for PVCs.
type PoolStatus struct {
	// size is spec.pool.size.
	// +optional
	Size int32 `json:"size,omitempty"`
	// ready is how many volumes a PVC can get now.
	// +optional
	Ready int32 `json:"ready"`
	// capacity is the size of all volumes of the pool: what it costs. Those that a PVC
	// has taken are not counted.
	// +optional
	Capacity *resource.Quantity `json:"capacity,omitempty"`
	// members are the PVCs that hold the volumes.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Members []PoolMember `json:"members,omitempty"`
	// failures in a row: volumes that could not be made, or whose check did not find
	// them Intact.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// failureTime is when the last of them failed.
	// +optional
	FailureTime *metav1.Time `json:"failureTime,omitempty"`
	// refusedTime is when the cluster last refused an object of the pool, as a quota does.
	// Unset: the cluster accepts what is asked for, or nothing is asked for.
	// +optional
	RefusedTime *metav1.Time `json:"refusedTime,omitempty"`
	// refusedMessage is why it was refused.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	RefusedMessage string `json:"refusedMessage,omitempty"`
	// message explains the last failure or, without failures, what the pool waits for.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// PoolMemberState is the state of a volume of a pool.
// +kubebuilder:validation:Enum=Reading;Clearing;Ready;Assigned;Deleting
type PoolMemberState string

// The states of a volume of a pool.
const (
	// PoolMemberReading: the volume is being made, read and checked.
	PoolMemberReading PoolMemberState = "Reading"
	// PoolMemberClearing: the check found it Intact, and its pod is being deleted.
	PoolMemberClearing PoolMemberState = "Clearing"
	// PoolMemberReady: a PVC can get it.
	PoolMemberReady PoolMemberState = "Ready"
	// PoolMemberAssigned: it belongs to the PVC of a consumer.
	PoolMemberAssigned PoolMemberState = "Assigned"
	// PoolMemberDeleting: it is being deleted.
	PoolMemberDeleting PoolMemberState = "Deleting"
)

// PoolMember is a PVC of the operator that holds a volume of a pool.
type PoolMember struct {
	// name of the PVC, and of the Job that reads it.
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// uid of the PVC that the operator created: no other PVC of the name is a member.
	// +kubebuilder:validation:MaxLength=64
	// +required
	UID string `json:"uid"`
	// state of the volume.
	// +required
	State PoolMemberState `json:"state"`
	// snapshot that it was made from.
	// +kubebuilder:validation:MaxLength=253
	// +required
	Snapshot string `json:"snapshot"`
	// volumeName of the volume, once it has one.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// jobUID is the uid of the Job that the operator created to read it. The report of
	// another Job counts only if that Job runs the same.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	JobUID string `json:"jobUID,omitempty"`
	// readyTime is when its check was recorded as Intact.
	// +optional
	ReadyTime *metav1.Time `json:"readyTime,omitempty"`
	// bytes that were read.
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
	// duration of reading them.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// message explains what it waits for, or why it is deleted.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// SnapshotRetryStatus is the state of snapshots that replace a lost or failed one.
type SnapshotRetryStatus struct {
	// count of such snapshots since the last one that was created after a warm-up
	// or by the schedule.
	// +optional
	Count int32 `json:"count,omitempty"`
	// time when the last of them was created.
	// +optional
	Time metav1.Time `json:"time,omitzero"`
}

// CacheStorageStatus is the state of the PVC of a cache.
type CacheStorageStatus struct {
	// persistentVolumeClaimName of the cache PVC.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PersistentVolumeClaimName string `json:"persistentVolumeClaimName,omitempty"`
	// volumeName of the volume that is bound to it.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// capacity of the volume.
	// +optional
	Capacity *resource.Quantity `json:"capacity,omitempty"`
	// used space after the last run. On a file system that is larger than the volume,
	// since others share it, it is what the files of the volume take.
	// +optional
	Used *resource.Quantity `json:"used,omitempty"`
	// usedPercent of the usable space of the file system, after the last run.
	// +optional
	UsedPercent *int32 `json:"usedPercent,omitempty"`
	// inodes that the file system has, after the last run: how many files and
	// directories it can hold. Unset: it has no fixed number, or others share it.
	// +optional
	Inodes *int64 `json:"inodes,omitempty"`
	// inodesUsed of them.
	// +optional
	InodesUsed *int64 `json:"inodesUsed,omitempty"`
	// measuredCapacity is the capacity of the volume when usedPercent was measured.
	// +optional
	MeasuredCapacity *resource.Quantity `json:"measuredCapacity,omitempty"`
	// growth is the expansion by spec.storage.growth that was last requested for
	// this volume.
	// +optional
	Growth *GrowthStatus `json:"growth,omitempty"`
	// appliedSize is spec.storage.size when the volume was created or expanded.
	// +optional
	AppliedSize *resource.Quantity `json:"appliedSize,omitempty"`
	// appliedClass is the storage class that the volume was created with.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	AppliedClass string `json:"appliedClass,omitempty"`
}

// GrowthStatus is an expansion that was requested.
type GrowthStatus struct {
	// size that was requested.
	// +required
	Size resource.Quantity `json:"size"`
	// inodes that the file system had, if it was requested since they were almost
	// used up. A file system that has no more of them after it has grown is not
	// expanded again for their sake.
	// +optional
	Inodes *int64 `json:"inodes,omitempty"`
	// time when it was requested, or refused.
	// +optional
	Time metav1.Time `json:"time,omitzero"`
	// refused is the error of the API server; empty: it was not refused.
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

// The outcomes of a run. An Inconclusive run was evicted, ran out of memory, or
// left no readable report.
const (
	RunSucceeded    RunOutcome = "Succeeded"
	RunFailed       RunOutcome = "Failed"
	RunInconclusive RunOutcome = "Inconclusive"
)

// WarmUpStatus is the state of warm-ups.
type WarmUpStatus struct {
	// run identifies the run that was recorded last.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Run string `json:"run,omitempty"`
	// outcome of that run.
	// +optional
	Outcome RunOutcome `json:"outcome,omitempty"`
	// message explains why that run did not succeed, or reports what needs
	// attention.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
	// corruptRemoved is how many corrupt files and directories that run found on the
	// cache PVC and removed before the go command could use them.
	// +kubebuilder:validation:Minimum=0
	// +optional
	CorruptRemoved int64 `json:"corruptRemoved,omitempty"`
	// startTime of that run.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime of that run.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// sources are the results of that run by source. A run succeeds if anything of
	// any source was built.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Sources []SourceStatus `json:"sources,omitempty"`
	// failures in a row, counting runs in which some source failed.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// capacity of the volume when that run was recorded. A warm-up that failed is
	// repeated at once when the volume is larger.
	// +optional
	Capacity *resource.Quantity `json:"capacity,omitempty"`
	// lastSuccessTime is when a warm-up last succeeded.
	// +optional
	LastSuccessTime *metav1.Time `json:"lastSuccessTime,omitempty"`
	// lastSuccessRun identifies the run that last succeeded. The retry of a run in
	// which the same sources failed is not counted: it warmed nothing more.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	LastSuccessRun string `json:"lastSuccessRun,omitempty"`
	// inputs is the digest of the inputs of the run that was recorded last,
	// whether it succeeded or not.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Inputs string `json:"inputs,omitempty"`
	// revisions are the commits of the git sources when they were last polled, in
	// the order of the sources.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Revisions []GitRevision `json:"revisions,omitempty"`
	// persistentVolumeClaimUID is the uid of the PVC that the run wrote to: another
	// PVC needs a warm-up.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PersistentVolumeClaimUID string `json:"persistentVolumeClaimUID,omitempty"`
}

// SourceStatus is the result of warming one source.
type SourceStatus struct {
	// name of the source.
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// outcome: Failed, if any part of the source was not warmed.
	// +required
	Outcome RunOutcome `json:"outcome"`
	// reason of a failure: ToolchainTooOld, or empty.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Reason string `json:"reason,omitempty"`
	// message explains why the source failed, or reports what needs attention.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`
	// entries that the build cache gained.
	// +optional
	Entries int64 `json:"entries,omitempty"`
	// duration of warming the source.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// builds that the source declares.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Builds []BuildStatus `json:"builds,omitempty"`
}

// BuildStatus is the result of one build of a source.
type BuildStatus struct {
	// name of the build.
	// +kubebuilder:validation:MaxLength=32
	// +required
	Name string `json:"name"`
	// outcome: Failed, if a package was not built.
	// +required
	Outcome RunOutcome `json:"outcome"`
	// message explains why the build failed.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`
	// entries that the build cache gained.
	// +optional
	Entries int64 `json:"entries,omitempty"`
	// duration of the build.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
}

// GitRevision is the commit that a ref names.
type GitRevision struct {
	// url of the repository.
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// ref that was polled; empty: the default branch.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Ref string `json:"ref,omitempty"`
	// commit of the ref when the repository was last read.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Commit string `json:"commit,omitempty"`
	// warmedCommit is the commit that the last successful warm-up has built.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	WarmedCommit string `json:"warmedCommit,omitempty"`
	// message explains why the repository could not be read at the last poll.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
	// webhook is the state of the push webhook of the repository.
	// +optional
	Webhook *GitWebhookStatus `json:"webhook,omitempty"`
}

// GitWebhookStatus is where the push webhooks of a repository are received.
type GitWebhookStatus struct {
	// path of the receiver for this repository, such as /push/0123456789abcdef;
	// empty: pushes are not received. It stays when the token is replaced, and is
	// another one if the GoCache is created again.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Path string `json:"path,omitempty"`
	// message explains why pushes are not received. The repository is polled all the
	// same.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// IntegrityStatus is the state of checks of a cache PVC.
type IntegrityStatus struct {
	VerificationStatus `json:",inline"`
	// volumeName of the volume that was checked: the verdict does not apply to a
	// volume that replaced it.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
	// cause of the check that was recorded last.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Cause string `json:"cause,omitempty"`
	// startTime of that check.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// inconclusiveAttempts is the number of inconclusive checks for that cause,
	// including the last one. A Corrupt verdict stands until a check of the volume
	// finds it Intact.
	// +optional
	InconclusiveAttempts int32 `json:"inconclusiveAttempts,omitempty"`
	// lastIntactTime is when a check last found the cache PVC Intact.
	// +optional
	LastIntactTime *metav1.Time `json:"lastIntactTime,omitempty"`
}

// ContentStatus is the content of a volume since it was replaced.
type ContentStatus struct {
	// snapshot that the volume was created from.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// reason for the replacement.
	// +optional
	Reason VolumeReplacementReason `json:"reason,omitempty"`
	// volumeName of that volume: this status does not apply to another one.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	VolumeName string `json:"volumeName,omitempty"`
}

// VolumeReplacementReason is why a volume is replaced.
// +kubebuilder:validation:Enum=Restore;RequestedRollback;Rollback;Migration
type VolumeReplacementReason string

// The reasons for a volume replacement.
const (
	// ReplacementRestore: by spec.restore.
	ReplacementRestore VolumeReplacementReason = "Restore"
	// ReplacementRequestedRollback: by a rollback request.
	ReplacementRequestedRollback VolumeReplacementReason = "RequestedRollback"
	// ReplacementRollback: by onCorrupt: Rollback, because the volume is Corrupt.
	ReplacementRollback VolumeReplacementReason = "Rollback"
	// ReplacementMigration: spec.storage has another class or a smaller size.
	ReplacementMigration VolumeReplacementReason = "Migration"
)

// VolumeReplacementStatus is the intent and the progress of replacing the volume
// of a PVC under the stable name of the PVC.
type VolumeReplacementStatus struct {
	// reason for the replacement.
	// +required
	Reason VolumeReplacementReason `json:"reason"`
	// snapshot that the new volume is created from.
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
	// copied is set when the driver cannot restore the snapshot into that class or
	// size, so that its content is copied file by file.
	// +optional
	Copied bool `json:"copied,omitempty"`
	// jobUID is the uid of the Job that the operator created last to check the new
	// volume. The report of another Job counts only if that Job runs the same.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	JobUID string `json:"jobUID,omitempty"`
	// check of the new volume.
	// +optional
	Check VerificationStatus `json:"check,omitzero"`
	// previousVolume is the volume to be replaced. Empty: the PVC has none yet.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PreviousVolume string `json:"previousVolume,omitempty"`
	// nextVolume is the new volume. It is set after its content was verified.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	NextVolume string `json:"nextVolume,omitempty"`
	// step in progress.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Step string `json:"step,omitempty"`
	// message explains what the step waits for.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// failure explains why the replacement is undone.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Failure string `json:"failure,omitempty"`
	// consumers that are waited for.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +optional
	Consumers []string `json:"consumers,omitempty"`
	// startTime of the replacement.
	// +optional
	StartTime metav1.Time `json:"startTime,omitzero"`
}

// VolumeReplacementResult is the result of the last volume replacement.
type VolumeReplacementResult struct {
	// reason for the replacement.
	// +required
	Reason VolumeReplacementReason `json:"reason"`
	// snapshot that the new volume was created from.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// storageClassName that was requested.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName string `json:"storageClassName,omitempty"`
	// size that was requested.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// failure explains why the volume was not replaced; empty: it was.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Failure string `json:"failure,omitempty"`
	// previousVolume is the volume that was, or was to be, replaced.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PreviousVolume string `json:"previousVolume,omitempty"`
	// startTime of the replacement.
	// +optional
	StartTime metav1.Time `json:"startTime,omitzero"`
	// completionTime of the replacement.
	// +optional
	CompletionTime metav1.Time `json:"completionTime,omitzero"`
}
