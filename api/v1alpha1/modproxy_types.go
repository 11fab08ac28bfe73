package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ModProxy is one GOPROXY address with several instances behind it, probed for
// health and content, whose weights are flipped for failover and fail-back.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=mproxy,categories=gocaching
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.healthy`
// +kubebuilder:printcolumn:name="Serving",type=string,JSONPath=`.status.serving`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS-1035 label of at most 40 characters: lower case letters, digits and '-', beginning with a letter"
type ModProxy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	// +required
	Spec ModProxySpec `json:"spec"`
	// status is what was observed.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status ModProxyStatus `json:"status,omitzero"`
}

// ModProxyList is a list of ModProxy.
// +kubebuilder:object:root=true
type ModProxyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ModProxy `json:"items"`
}

// ModProxySpec is what is wanted of a ModProxy.
//
// +kubebuilder:validation:XValidation:rule="self.instances.exists(i, !has(i.role) || i.role == 'Active')",message="at least one instance must have role Active"
// +kubebuilder:validation:XValidation:rule="!has(self.failover) || !has(self.failover.activeInstance) || self.instances.exists(i, i.name == self.failover.activeInstance)",message="failover.activeInstance must name one of the instances"
// +kubebuilder:validation:XValidation:rule="!has(self.router) || !has(self.router.type) || self.router.type == 'HAProxy' || self.instances.all(i, !has(i.external))",message="an external instance needs router.type HAProxy: the others lead to pods of this cluster only"
// +kubebuilder:validation:XValidation:rule="!has(self.snapshots) || !has(self.snapshots.afterWarmUp) || !self.snapshots.afterWarmUp",message="snapshots.afterWarmUp has no meaning for a proxy: nobody warms it up"
type ModProxySpec struct {
	// suspend stops all changes to instances, stores and router. Probes and
	// failover go on: a suspended proxy must not serve wrong bytes either.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// instances behind the address.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +required
	Instances []ProxyInstance `json:"instances"`
	// server is the default of all instances.
	// +optional
	Server *ProxyServer `json:"server,omitempty"`
	// upstream of all instances.
	// +optional
	Upstream *ProxyUpstream `json:"upstream,omitempty"`
	// private modules that the instances fetch.
	// +optional
	Private *ProxyPrivate `json:"private,omitempty"`
	// checksumDatabase in the syntax of GOSUMDB that the instances verify
	// fetches with and serve to clients. Unset: the toolchain's own default.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ChecksumDatabase string `json:"checksumDatabase,omitempty"`
	// router in front of the instances.
	// +kubebuilder:default={}
	// +optional
	Router ProxyRouter `json:"router,omitzero"`
	// probes of health and content.
	// +kubebuilder:default={}
	// +optional
	Probes ProxyProbes `json:"probes,omitzero"`
	// failover says how weights move.
	// +kubebuilder:default={}
	// +optional
	Failover ProxyFailover `json:"failover,omitzero"`
	// integrity checks the stores.
	// +optional
	Integrity *StoreIntegrity `json:"integrity,omitempty"`
	// snapshots of the stores are taken by this policy, of each instance whose
	// store can be checked and which is not convicted.
	// +optional
	Snapshots *SnapshotPolicy `json:"snapshots,omitempty"`
	// onCorrupt says what wrong bytes in a store lead to.
	// +kubebuilder:default=Quarantine
	// +optional
	OnCorrupt StoreCorruptPolicy `json:"onCorrupt,omitempty"`
	// podTemplate is common to all pods of this proxy.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
}

// InstanceRole says when an instance serves.
// +kubebuilder:validation:Enum=Active;Standby
type InstanceRole string

// The roles.
const (
	// RoleActive serves its share while healthy.
	RoleActive InstanceRole = "Active"
	// RoleStandby serves only when no Active instance can.
	RoleStandby InstanceRole = "Standby"
)

// ProxyInstance is one GOPROXY server.
//
// +kubebuilder:validation:XValidation:rule="has(self.external) != has(self.storage)",message="set exactly one of storage (an instance that we run) and external (one that we do not)"
// +kubebuilder:validation:XValidation:rule="!(has(self.external) && has(self.server))",message="server has no meaning for an external instance"
type ProxyInstance struct {
	// name of the instance. Its objects are called PROXY-NAME, and the router's
	// PROXY-router.
	// +kubebuilder:validation:XValidation:rule="self != 'router' && !self.startsWith('router-')",message="router, and what begins with router-, are the names of the router's own objects: choose another"
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +required
	Name string `json:"name"`
	// role of the instance.
	// +kubebuilder:default=Active
	// +optional
	Role InstanceRole `json:"role,omitempty"`
	// weight is the instance's share while healthy, among those of its role.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	// +kubebuilder:default=100
	// +optional
	Weight int32 `json:"weight,omitempty"`
	// server in place of the proxy's default.
	// +optional
	Server *ProxyServer `json:"server,omitempty"`
	// storage of the instance's store.
	// +optional
	Storage *InstanceStorage `json:"storage,omitempty"`
	// external is an instance that somebody else runs.
	// +optional
	External *ExternalInstance `json:"external,omitempty"`
}

// ServerType is the program of an instance. Goproxy is ours; Athens is
// github.com/gomods/athens from its own image; Custom is any server that speaks
// the GOPROXY protocol, of which only its port is known.
// +kubebuilder:validation:Enum=Goproxy;Athens;Custom
type ServerType string

// The server types.
const (
	ServerGoproxy ServerType = "Goproxy"
	ServerAthens  ServerType = "Athens"
	ServerCustom  ServerType = "Custom"
)

// ProxyServer is the program of an instance.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'Custom' || (has(self.image) && has(self.port))",message="type Custom needs image and port"
// +kubebuilder:validation:XValidation:rule="!has(self.port) || (has(self.type) && self.type != 'Goproxy')",message="port has no meaning with type Goproxy"
type ProxyServer struct {
	// type of the program.
	// +kubebuilder:default=Goproxy
	// +optional
	Type ServerType `json:"type,omitempty"`
	// image of the program. Unset: the operator's default for the type; for
	// Athens there is one only if the operator was given it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// env of the program.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +optional
	Env []EnvVar `json:"env,omitempty"`
	// args of the program, after the operator's own.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	// +optional
	Args []string `json:"args,omitempty"`
	// port that the program listens on, where it is not our own. Athens: 3000.
	// +kubebuilder:validation:XValidation:rule="self != 9103",message="9103 is the port of the agent beside the store: choose another"
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port *int32 `json:"port,omitempty"`
}

// EnvVar is an environment variable with a plain value.
type EnvVar struct {
	// name of the variable.
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	// +required
	Name string `json:"name"`
	// value of the variable.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Value string `json:"value,omitempty"`
}

// InstanceStorage is the claim of an instance's store.
//
// +kubebuilder:validation:XValidation:rule="quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be greater than 0"
type InstanceStorage struct {
	// storageClassName of the claim. Unset: the cluster's default class.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// size of the claim.
	// +required
	Size resource.Quantity `json:"size"`
	// ownership of the files. Null for platforms that assign ids.
	// +kubebuilder:default={runAsUser:65532,runAsGroup:65532,fsGroup:65532}
	// +nullable
	// +optional
	Ownership *Ownership `json:"ownership,omitempty"`
	// whenDeleted says what becomes of the claim when the ModProxy is deleted.
	// +kubebuilder:default=Retain
	// +optional
	WhenDeleted DeletionPolicy `json:"whenDeleted,omitempty"`
}

// ExternalInstance is an instance that somebody else runs.
type ExternalInstance struct {
	// url of its GOPROXY root: a host name (with http also an IPv4 address), a
	// port, and a plain path. With https its certificate must be of an authority
	// that the router's image trusts.
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[0-9.]+(:[0-9]+)?(/.*)?$')",message="with https the host must be a name: its certificate is verified"
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
}

// ProxyUpstream is where the instances fetch what they do not have.
type ProxyUpstream struct {
	// proxy is a value of GOPROXY. Unset: the toolchain's own default.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Proxy string `json:"proxy,omitempty"`
}

// ProxyPrivate says how the instances fetch private modules.
type ProxyPrivate struct {
	// patterns in the syntax of GOPRIVATE.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^,\s]+$`
	// +listType=set
	// +optional
	Patterns []string `json:"patterns,omitempty"`
	// secretRef names a Secret with the key netrc, or with the keys username and
	// password for the upstream proxies; it is mounted into the instances, and
	// read anew when it changes. Credentials are sent over https only. Athens
	// knows netrc alone; a Custom server finds the keys as files below
	// /etc/gocache-proxy/private.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// RouterType is what distributes requests.
// +kubebuilder:validation:Enum=HAProxy;Gateway;Service
type RouterType string

// The router types.
const (
	// RouterHAProxy runs HAProxy, which leaves a dead or hung instance by itself.
	RouterHAProxy RouterType = "HAProxy"
	// RouterGateway writes an HTTPRoute for a Gateway that is there already.
	RouterGateway RouterType = "Gateway"
	// RouterService is a Service that leads to one instance at a time.
	RouterService RouterType = "Service"
)

// RouterAnswers says what the router does with the answers of instances.
// +kubebuilder:validation:Enum=Checked;Passed
type RouterAnswers string

// What the router does with answers.
const (
	// AnswersChecked holds back the end of each answer until all of it has arrived
	// and is known to be good, or not known at all.
	AnswersChecked RouterAnswers = "Checked"
	// AnswersPassed lets answers pass as they come.
	AnswersPassed RouterAnswers = "Passed"
)

// ProxyRouter distributes requests over the instances.
//
// +kubebuilder:validation:XValidation:rule="!has(self.answers) || !has(self.type) || self.type == 'HAProxy'",message="answers has a meaning with type HAProxy only: the others do not look at answers"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || (has(self.type) && self.type == 'Gateway')",message="gateway has a meaning with type Gateway only"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'Gateway' || has(self.gateway)",message="type Gateway needs gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.tls) || !has(self.type) || self.type == 'HAProxy'",message="tls has a meaning with type HAProxy only: a Gateway has the certificate in its listener, and a Service has none"
type ProxyRouter struct {
	// type of the router.
	// +kubebuilder:default=HAProxy
	// +optional
	Type RouterType `json:"type,omitempty"`
	// replicas of the router.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	// +kubebuilder:default=2
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// serviceType of the router's Service.
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	// +kubebuilder:default=ClusterIP
	// +optional
	ServiceType string `json:"serviceType,omitempty"`
	// answers of instances. Checked (default): what breaks off, stops in the middle,
	// or has another h1 than the checksum database has told a client, is fetched
	// from another instance; each file passes HAProxy twice. Passed: only answers of
	// the checksum database are looked at. For type HAProxy.
	// +optional
	Answers RouterAnswers `json:"answers,omitempty"`
	// tls of the published address.
	// +optional
	TLS *RouterTLS `json:"tls,omitempty"`
	// gateway that routes to the instances.
	// +optional
	Gateway *GatewayRouter `json:"gateway,omitempty"`
}

// RouterTLS is the certificate of the published address.
type RouterTLS struct {
	// secretRef names a Secret of type kubernetes.io/tls in the proxy's namespace.
	// When it changes, the router takes the new certificate within about two
	// minutes, without a restart. One that holds no valid pair changes nothing.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// GatewayRouter names the Gateway that routes to the instances.
type GatewayRouter struct {
	// parentRef of the HTTPRoute.
	// +required
	ParentRef GatewayReference `json:"parentRef"`
	// hostnames of the HTTPRoute.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +required
	Hostnames []string `json:"hostnames"`
}

// GatewayReference names a Gateway.
type GatewayReference struct {
	// name of the Gateway.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// namespace of the Gateway. Unset: the proxy's.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// sectionName of the listener.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	SectionName string `json:"sectionName,omitempty"`
}

// ProbeKind is what a probe looks at.
// +kubebuilder:validation:Enum=Ready;Protocol;Checksum;Consistency;ChecksumDatabase;Disk
type ProbeKind string

// The kinds of probe.
const (
	// ProbeReady asks the instance's own readiness.
	ProbeReady ProbeKind = "Ready"
	// ProbeProtocol asks for info, mod and zip of canary modules.
	ProbeProtocol ProbeKind = "Protocol"
	// ProbeChecksum compares the canaries' h1 with trust. It convicts.
	ProbeChecksum ProbeKind = "Checksum"
	// ProbeConsistency compares instances with each other. It convicts nobody.
	ProbeConsistency ProbeKind = "Consistency"
	// ProbeChecksumDatabase asks for the checksum database through all instances
	// at once. An instance fails where another one does better.
	ProbeChecksumDatabase ProbeKind = "ChecksumDatabase"
	// ProbeDisk looks at how full the store's volume is.
	ProbeDisk ProbeKind = "Disk"
)

// ProxyProbes says how the instances are probed.
type ProxyProbes struct {
	// interval between two probes of an instance.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="must be from 1s to 1h"
	// +kubebuilder:default="10s"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// timeout of one probe.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('1m')",message="must be from 100ms to 1m"
	// +kubebuilder:default="5s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// failureThreshold: so many failures in a row make an instance unhealthy.
	// Wrong bytes, served twice within one probe, convict at once.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=3
	// +optional
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
	// successThreshold: so many successes in a row make it healthy again.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=2
	// +optional
	SuccessThreshold int32 `json:"successThreshold,omitempty"`
	// kinds of probe that are made.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	// +kubebuilder:default={Ready,Protocol,Checksum,Disk}
	// +listType=set
	// +optional
	Kinds []ProbeKind `json:"kinds,omitempty"`
	// canaries are the module versions that Protocol, Checksum and Consistency ask
	// for. None: a few small ones that the instance's store has, and never one that
	// it would have to fetch.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Canaries []Canary `json:"canaries,omitempty"`
	// diskUsedPercent at which probe Disk fails.
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=95
	// +optional
	DiskUsedPercent int32 `json:"diskUsedPercent,omitempty"`
}

// Canary is a module version that every healthy instance can serve.
type Canary struct {
	// module path.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	Module string `json:"module"`
	// version of the module.
	// +kubebuilder:validation:Pattern=`^v[0-9]+\.[0-9]+\.[0-9]+.*$`
	// +kubebuilder:validation:MaxLength=128
	// +required
	Version string `json:"version"`
	// sum is the h1 hash of the module, as in go.sum: what probe Checksum
	// compares with.
	// +kubebuilder:validation:Pattern=`^h1:[A-Za-z0-9+/]{43}=$`
	// +kubebuilder:validation:MaxLength=47
	// +optional
	Sum string `json:"sum,omitempty"`
	// goModSum is the h1 hash of its go.mod file, as in go.sum.
	// +kubebuilder:validation:Pattern=`^h1:[A-Za-z0-9+/]{43}=$`
	// +kubebuilder:validation:MaxLength=47
	// +optional
	GoModSum string `json:"goModSum,omitempty"`
}

// FailoverMode says who moves weights.
// +kubebuilder:validation:Enum=Automatic;Manual
type FailoverMode string

// The failover modes.
const (
	FailoverAutomatic FailoverMode = "Automatic"
	FailoverManual    FailoverMode = "Manual"
)

// ProxyFailover says how weights move.
//
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'Manual') == has(self.activeInstance)",message="activeInstance is required with mode Manual, and has no meaning without"
type ProxyFailover struct {
	// mode of failover. A convicted instance never serves in either mode.
	// +kubebuilder:default=Automatic
	// +optional
	Mode FailoverMode `json:"mode,omitempty"`
	// activeInstance serves alone in mode Manual.
	// +kubebuilder:validation:MaxLength=15
	// +optional
	ActiveInstance string `json:"activeInstance,omitempty"`
	// failback says how a recovered instance comes back.
	// +kubebuilder:default={}
	// +optional
	Failback ProxyFailback `json:"failback,omitzero"`
	// maxFailbacksPerHour limits coming back, never leaving.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=60
	// +kubebuilder:default=6
	// +optional
	MaxFailbacksPerHour int32 `json:"maxFailbacksPerHour,omitempty"`
}

// ProxyFailback says how a recovered instance comes back.
//
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || self.steps.all(s, s >= 1 && s <= 100) && self.steps[self.steps.size()-1] == 100",message="steps are percentages from 1 to 100 and end with 100"
// +kubebuilder:validation:XValidation:rule="!has(self.holdDown) || !has(self.maxHoldDown) || duration(self.maxHoldDown) >= duration(self.holdDown)",message="maxHoldDown must not be less than holdDown"
type ProxyFailback struct {
	// mode Manual waits for the failback request.
	// +kubebuilder:default=Automatic
	// +optional
	Mode FailoverMode `json:"mode,omitempty"`
	// holdDown is how long recovery must last before the first step. It
	// doubles with each relapse.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="must be from 0s to 24h"
	// +kubebuilder:default="1m"
	// +optional
	HoldDown *metav1.Duration `json:"holdDown,omitempty"`
	// maxHoldDown bounds the doubling.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('168h')",message="must be from 0s to 168h"
	// +kubebuilder:default="30m"
	// +optional
	MaxHoldDown *metav1.Duration `json:"maxHoldDown,omitempty"`
	// steps are the percentages of the instance's weight, in order.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:default={10,50,100}
	// +listType=atomic
	// +optional
	Steps []int32 `json:"steps,omitempty"`
	// stepInterval between two steps.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be from 1s to 24h"
	// +kubebuilder:default="30s"
	// +optional
	StepInterval *metav1.Duration `json:"stepInterval,omitempty"`
}

// StoreIntegrity says when stores are checked, beside the start of each
// instance. Unset: once a day. Set, and without a schedule: on request only.
//
// +kubebuilder:validation:XValidation:rule="!has(self.bytesPerSecond) || quantity(string(self.bytesPerSecond)).isGreaterThan(quantity('0'))",message="bytesPerSecond must be greater than 0"
// +kubebuilder:validation:XValidation:rule="!has(self.trust) || !has(self.trust.firstSeen) || !self.trust.firstSeen",message="trust.firstSeen is what the first snapshot held: set it in snapshots.verification.trust"
type StoreIntegrity struct {
	Schedule `json:",inline"`
	// trust is what checksums are compared with.
	// +optional
	Trust *Trust `json:"trust,omitempty"`
	// bytesPerSecond bounds how much the check of one store reads. Unset: 16Mi.
	// A store that nobody is served from is checked as fast as it can be read.
	// +optional
	BytesPerSecond *resource.Quantity `json:"bytesPerSecond,omitempty"`
}

// StoreCorruptPolicy says what wrong bytes in a store lead to.
// +kubebuilder:validation:Enum=Quarantine;Rollback;Report
type StoreCorruptPolicy string

// The corrupt policies of a store.
const (
	// StoreQuarantine takes the instance out until a person lets it in again.
	StoreQuarantine StoreCorruptPolicy = "Quarantine"
	// StoreRollback also replaces its store by the newest verified snapshot, or
	// by an empty one, and lets the instance in again once it is proven sound.
	StoreRollback StoreCorruptPolicy = "Rollback"
	// StoreReport only says it.
	StoreReport StoreCorruptPolicy = "Report"
)

// ModProxyStatus is what was observed of a ModProxy.
type ModProxyStatus struct {
	// observedGeneration of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions of the proxy.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// url of the published address.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	URL string `json:"url,omitempty"`
	// goproxy is the value to put into GOPROXY.
	// +kubebuilder:validation:MaxLength=8192
	// +optional
	GOPROXY string `json:"goproxy,omitempty"`
	// httpRoute is the name of the HTTPRoute that the operator made, or is about
	// to make.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	HTTPRoute string `json:"httpRoute,omitempty"`
	// healthy instances of all, such as 2/2.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Healthy string `json:"healthy,omitempty"`
	// serving names the instances that have weight.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Serving string `json:"serving,omitempty"`
	// instances one by one; also those that are removed while their store is
	// being replaced.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Instances []InstanceStatus `json:"instances,omitempty"`
	// lastFlip is the last move of weights.
	// +optional
	LastFlip *FlipStatus `json:"lastFlip,omitempty"`
	// pinnedInstance serves alone since a failover request, until a failback
	// request.
	// +kubebuilder:validation:MaxLength=15
	// +optional
	PinnedInstance string `json:"pinnedInstance,omitempty"`
	// recentFailbacks are the times of fail-backs within the last hour.
	// +kubebuilder:validation:MaxItems=120
	// +listType=atomic
	// +optional
	RecentFailbacks []metav1.Time `json:"recentFailbacks,omitempty"`
	// recentFlips are the times of moves of weights within the last hour.
	// +kubebuilder:validation:MaxItems=120
	// +listType=atomic
	// +optional
	RecentFlips []metav1.Time `json:"recentFlips,omitempty"`
	// agreedCanaries are the module versions, with their sums, that more than one
	// instance served last without contradicting another: what probe Consistency
	// goes by when they come to differ.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=module
	// +listMapKey=version
	// +optional
	AgreedCanaries []Canary `json:"agreedCanaries,omitempty"`
	// lastHandledRequest echoes the request annotation.
	// +optional
	LastHandledRequest *RequestStatus `json:"lastHandledRequest,omitempty"`
}

// InstanceStatus is what was observed of one instance.
type InstanceStatus struct {
	// name of the instance.
	// +kubebuilder:validation:MaxLength=15
	// +required
	Name string `json:"name"`
	// healthy by the probes.
	// +optional
	Healthy bool `json:"healthy,omitempty"`
	// convicted of serving wrong bytes.
	// +optional
	Convicted *Conviction `json:"convicted,omitempty"`
	// weightWanted of the instance.
	// +optional
	WeightWanted int32 `json:"weightWanted"`
	// weightObserved in the router.
	// +optional
	WeightObserved int32 `json:"weightObserved"`
	// serving says that the instance is meant to serve now.
	// +optional
	Serving bool `json:"serving,omitempty"`
	// failingProbes and since when.
	// +kubebuilder:validation:MaxItems=6
	// +listType=map
	// +listMapKey=kind
	// +optional
	FailingProbes []FailingProbe `json:"failingProbes,omitempty"`
	// outOfService: the instance was taken out although nothing is wrong with it.
	// +optional
	OutOfService bool `json:"outOfService,omitempty"`
	// acquittedTime is when a person let a convicted instance in again.
	// +optional
	AcquittedTime *metav1.Time `json:"acquittedTime,omitempty"`
	// healthySince is when the probes began to succeed.
	// +optional
	HealthySince *metav1.Time `json:"healthySince,omitempty"`
	// failback is how far a recovered instance has come back.
	// +optional
	Failback *FailbackStatus `json:"failback,omitempty"`
	// diskUsedPercent in steps of 5.
	// +optional
	DiskUsedPercent *int32 `json:"diskUsedPercent,omitempty"`
	// latestVerifiedSnapshot of the store, by name.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LatestVerifiedSnapshot string `json:"latestVerifiedSnapshot,omitempty"`
	// lastScheduledSnapshot is when the schedule asked for one last.
	// +optional
	LastScheduledSnapshot *metav1.Time `json:"lastScheduledSnapshot,omitempty"`
	// rollback of the store that the last conviction led to.
	// +optional
	Rollback *StoreRollbackStatus `json:"rollback,omitempty"`
	// storeCheck is the last check of the store by the agent beside it.
	// +optional
	StoreCheck *StoreCheckStatus `json:"storeCheck,omitempty"`
	// content says what the store holds since it was replaced.
	// +optional
	Content *ContentStatus `json:"content,omitempty"`
	// swap in progress of the store's volume.
	// +optional
	Swap *SwapStatus `json:"swap,omitempty"`
	// lastSwap is how the last one ended.
	// +optional
	LastSwap *SwapResult `json:"lastSwap,omitempty"`
}

// StoreRollbackStatus is how far the store of a convicted instance is replaced.
type StoreRollbackStatus struct {
	// convictedTime of the conviction that it answers.
	// +required
	ConvictedTime metav1.Time `json:"convictedTime"`
	// attempt that is made: from the newest verified snapshot, then with an
	// empty store.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// snapshot that the store is made from; empty: the store begins empty and is
	// filled from the upstream.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// startTime of the first attempt, or since when it is postponed.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// relapses is how many rollbacks in a row were begun before this one, each
	// of a store that turned bad within a day of having been proven sound.
	// +optional
	Relapses int32 `json:"relapses,omitempty"`
	// notBefore is until when the first attempt is postponed, because the store
	// turns bad again and again.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`
	// replacedTime is when the store was replaced.
	// +optional
	ReplacedTime *metav1.Time `json:"replacedTime,omitempty"`
	// provenTime is when canaries and a check of the whole store had proven the
	// instance sound.
	// +optional
	ProvenTime *metav1.Time `json:"provenTime,omitempty"`
	// completionTime is when the instance served with its whole weight again.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// message says what is waited for, or why it was given up.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// failed: the store could not be replaced by a sound one; a person must act.
	// +optional
	Failed bool `json:"failed,omitempty"`
}

// StoreCheckStatus is how the check of a store ended.
type StoreCheckStatus struct {
	// verdict of the check. Only Corrupt convicts.
	// +required
	Verdict Verdict `json:"verdict"`
	// completionTime of the check, as the operator saw it.
	// +required
	CompletionTime metav1.Time `json:"completionTime"`
	// modules is how many module versions the store held.
	// +optional
	Modules int64 `json:"modules,omitempty"`
	// message says what was found; empty: nothing.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// Conviction says why an instance must not serve.
type Conviction struct {
	// reason of the conviction.
	// +kubebuilder:validation:MaxLength=64
	// +required
	Reason string `json:"reason"`
	// evidence for a person.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Evidence string `json:"evidence,omitempty"`
	// time of the conviction.
	// +required
	Time metav1.Time `json:"time"`
}

// FailingProbe is a probe that fails.
type FailingProbe struct {
	// kind of the probe.
	// +required
	Kind ProbeKind `json:"kind"`
	// since when it fails.
	// +required
	Since metav1.Time `json:"since"`
	// message of the last failure.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// FailbackStatus is how far a recovered instance has come back.
type FailbackStatus struct {
	// step that is in force; 0 is none yet.
	// +optional
	Step int32 `json:"step,omitempty"`
	// since when.
	// +required
	Since metav1.Time `json:"since"`
	// relapses double the hold-down.
	// +optional
	Relapses int32 `json:"relapses,omitempty"`
}

// FlipStatus is a move of weights.
type FlipStatus struct {
	// from these instances.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	From string `json:"from,omitempty"`
	// to these instances.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	To string `json:"to,omitempty"`
	// reason for it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
	// detectedTime of the cause.
	// +optional
	DetectedTime *metav1.Time `json:"detectedTime,omitempty"`
	// actedTime when the weights were written.
	// +optional
	ActedTime *metav1.Time `json:"actedTime,omitempty"`
	// confirmedTime when they were read back.
	// +optional
	ConfirmedTime *metav1.Time `json:"confirmedTime,omitempty"`
}
