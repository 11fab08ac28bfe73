package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ModProxy is one GOPROXY address with several instances behind it. The operator
// probes their health and content, and changes their weights for failover and
// fail-back.
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
	// spec is the desired state.
	// +required
	Spec ModProxySpec `json:"spec"`
	// status is the observed state.
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

// ModProxySpec is the desired state of a ModProxy.
//
// +kubebuilder:validation:XValidation:rule="self.instances.exists(i, !has(i.role) || i.role == 'Active')",message="at least one instance must have role Active"
// +kubebuilder:validation:XValidation:rule="!has(self.failover) || !has(self.failover.activeInstance) || self.instances.exists(i, i.name == self.failover.activeInstance)",message="failover.activeInstance must name one of the instances"
// +kubebuilder:validation:XValidation:rule="!has(self.router) || !has(self.router.type) || self.router.type == 'HAProxy' || self.instances.all(i, !has(i.external))",message="an external instance requires router.type HAProxy: the other types route to pods of this cluster only"
// +kubebuilder:validation:XValidation:rule="!has(self.snapshots) || !has(self.snapshots.afterWarmUp) || !self.snapshots.afterWarmUp",message="snapshots.afterWarmUp must not be set for a proxy: it has no warm-up"
// +kubebuilder:validation:XValidation:rule="!has(self.policy) || self.instances.all(i, !has(i.external) && (has(i.server) ? !has(i.server.type) || i.server.type == 'Goproxy' : !has(self.server) || !has(self.server.type) || self.server.type == 'Goproxy'))",message="policy requires that all instances are of server.type Goproxy: it is enforced by the instances, and an external one, Athens or a Custom server would serve what it refuses"
// +kubebuilder:validation:XValidation:rule="!has(self.privateModules) || !has(self.privateModules.versionControl) || self.instances.all(i, !has(i.external) && (has(i.server) ? !has(i.server.type) || i.server.type == 'Goproxy' : !has(self.server) || !has(self.server.type) || self.server.type == 'Goproxy'))",message="privateModules.versionControl requires that all instances are of server.type Goproxy: an external one, Athens or a Custom server would look for private modules elsewhere"
// +kubebuilder:validation:XValidation:rule="!has(self.upstream) || !has(self.upstream.proxy) || !self.upstream.proxy.matches('^[ ,|]*direct *([,|]|$)') || self.instances.all(i, has(i.external) || (has(i.server) ? has(i.server.type) && i.server.type != 'Goproxy' : has(self.server) && has(self.server.type) && self.server.type != 'Goproxy'))",message="upstream.proxy must name a proxy before direct: instances of server.type Goproxy fetch nothing directly; set privateModules.versionControl for modules that no proxy has"
type ModProxySpec struct {
	// suspend stops all changes to instances, stores and router. Probes and
	// failover continue: a suspended proxy must not serve corrupt content either.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// instances behind the address.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +required
	Instances []ProxyInstance `json:"instances"`
	// server of all instances that have none of their own.
	// +optional
	Server *ProxyServer `json:"server,omitempty"`
	// upstream of all instances.
	// +optional
	Upstream *ProxyUpstream `json:"upstream,omitempty"`
	// privateModules are the modules that are not public, and how the instances
	// fetch them.
	// +optional
	PrivateModules *ProxyPrivateModules `json:"privateModules,omitempty"`
	// checksumDatabase, in the syntax of GOSUMDB, that fetched modules are
	// verified with, and that the instances serve to clients. Unset: the default
	// of the go command.
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="checksumDatabase must not contain credentials: name a database that needs none"
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ChecksumDatabase string `json:"checksumDatabase,omitempty"`
	// policy is which versions of which modules the instances serve, by lists and by
	// age, whether they are stored or not. It requires that all instances are of
	// server.type Goproxy. The checksum database is served in full. Unset: all are
	// served. A change reaches running instances within about two minutes, without a
	// restart.
	// +optional
	Policy *ProxyPolicy `json:"policy,omitempty"`
	// router in front of the instances.
	// +kubebuilder:default={}
	// +optional
	Router ProxyRouter `json:"router,omitzero"`
	// probes of health and content.
	// +kubebuilder:default={}
	// +optional
	Probes ProxyProbes `json:"probes,omitzero"`
	// failover is how weights change.
	// +kubebuilder:default={}
	// +optional
	Failover ProxyFailover `json:"failover,omitzero"`
	// integrity is the policy for checks of the stores.
	// +kubebuilder:default={}
	// +optional
	Integrity StoreIntegrity `json:"integrity,omitzero"`
	// snapshots is the policy for CacheSnapshots of the stores: of each healthy
	// instance that is not quarantined and whose store can be checked.
	// +optional
	Snapshots *SnapshotPolicy `json:"snapshots,omitempty"`
	// networkPolicy is whether the operator creates NetworkPolicies for the pods of
	// this proxy. Managed: the router accepts the clients of router.from, and the
	// instances accept only the router, the other instances of the proxy, the
	// manager's namespace and namespaces with the label metrics: enabled. With router
	// types Gateway and Service the instances accept the clients too. None: no
	// NetworkPolicy is created, and those that were created are removed.
	// +kubebuilder:default=Managed
	// +optional
	NetworkPolicy NetworkPolicyMode `json:"networkPolicy,omitempty"`
	// podTemplate of all pods of this proxy: instances, router, and the Jobs of
	// snapshots and rollbacks.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
	// instanceTemplate of the pods of the instances. Each field that is set, also to
	// an empty list, is used in place of the same field of podTemplate, as a whole.
	// +optional
	InstanceTemplate *PodTemplate `json:"instanceTemplate,omitempty"`
}

// NetworkPolicyMode is whether the operator creates NetworkPolicies.
// +kubebuilder:validation:Enum=Managed;None
type NetworkPolicyMode string

// The modes.
const (
	// NetworkPolicyManaged creates them, and keeps them as they are.
	NetworkPolicyManaged NetworkPolicyMode = "Managed"
	// NetworkPolicyNone creates none, and removes those that were created.
	NetworkPolicyNone NetworkPolicyMode = "None"
)

// InstanceRole is when an instance serves.
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
// +kubebuilder:validation:XValidation:rule="has(self.external) != has(self.storage)",message="set exactly one of storage (the operator runs the instance) and external (it does not)"
// +kubebuilder:validation:XValidation:rule="!(has(self.external) && has(self.server))",message="server must not be set for an external instance"
type ProxyInstance struct {
	// name of the instance. Its objects are called PROXY-NAME, and the router's
	// PROXY-router.
	// +kubebuilder:validation:XValidation:rule="self != 'router' && !self.startsWith('router-')",message="router, and names that begin with router-, are reserved for the router's own objects"
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
	// external is an instance that the operator does not run.
	// +optional
	External *ExternalInstance `json:"external,omitempty"`
}

// ServerType is the program of an instance. Goproxy is the operator's own; Athens
// is github.com/gomods/athens from its own image; Custom is any server of the
// GOPROXY protocol.
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
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'Custom' || (has(self.image) && has(self.port))",message="type Custom requires image and port"
// +kubebuilder:validation:XValidation:rule="!has(self.port) || (has(self.type) && self.type != 'Goproxy')",message="port must not be set with type Goproxy"
type ProxyServer struct {
	// type of the program.
	// +kubebuilder:default=Goproxy
	// +optional
	Type ServerType `json:"type,omitempty"`
	// image of the program. Unset: the operator's default for the type; for
	// Athens there is one only if the operator was started with --athens-image.
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
	// port that the program listens on, if its type is not Goproxy. Athens: 3000.
	// +kubebuilder:validation:XValidation:rule="self != 9103",message="9103 is the port of the agent in the same pod: choose another"
	// +kubebuilder:validation:XValidation:rule="self != 9104",message="9104 is the port for metrics, which scrapers reach: choose another"
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port *int32 `json:"port,omitempty"`
}

// EnvVar is an environment variable.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.value) && has(self.valueFrom))",message="set value or valueFrom, not both"
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
	// valueFrom is where the value is read from when the container starts.
	// +optional
	ValueFrom *EnvVarSource `json:"valueFrom,omitempty"`
}

// EnvVarSource is where the value of a variable is read from.
type EnvVarSource struct {
	// secretKeyRef names a key of a Secret. The annotation
	// cache.gocache.dev/images of the Secret must list the image of the server, also
	// if it is the operator's own: the program can send the value anywhere. The
	// instance runs without a variable that is refused, and without one whose key
	// does not exist. Another value is used when the container starts again.
	// +required
	SecretKeyRef SecretKeyReference `json:"secretKeyRef"`
}

// SecretKeyReference names a key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// key in the Secret.
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:MaxLength=253
	// +required
	Key string `json:"key"`
}

// InstanceStorage is the PVC of an instance's store.
type InstanceStorage struct {
	// storageClassName of the PVC. Unset: the cluster's default class.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// size of the PVC.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : !isQuantity(self) || quantity(self).isGreaterThan(quantity('0'))",message="size must be greater than 0"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +required
	Size resource.Quantity `json:"size"`
	// maxUsedPercent of the volume, for servers of type Goproxy: beyond it the
	// archives that were not served for the longest time are removed from the
	// store, and fetched again when a client asks for them. An archive that the
	// upstream no longer has is then lost. Unset: none are removed, and a full
	// store keeps nothing new. Without effect with upstream.proxy "off".
	// +kubebuilder:validation:Minimum=20
	// +kubebuilder:validation:Maximum=95
	// +optional
	MaxUsedPercent *int32 `json:"maxUsedPercent,omitempty"`
	// ownership of the files. Null for platforms that assign ids.
	// +kubebuilder:default={runAsUser:65532,runAsGroup:65532,fsGroup:65532}
	// +nullable
	// +optional
	Ownership *Ownership `json:"ownership,omitempty"`
	// deletionPolicy of the PVC, when the ModProxy is deleted.
	// +kubebuilder:default=Retain
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// ExternalInstance is an instance that the operator does not run.
type ExternalInstance struct {
	// url of its GOPROXY root: a host name (with http also an IPv4 address), a
	// port, and a plain path. With https its certificate must be issued by an
	// authority that the router's image trusts.
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="url must not contain credentials: an external instance must need none, or be the upstream of an instance with privateModules.secretRef"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[0-9.]+(:[0-9]+)?(/.*)?$')",message="with https the host must be a name: its certificate is verified"
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
}

// ProxyUpstream is where the instances fetch modules that they do not have.
type ProxyUpstream struct {
	// proxy is a value of GOPROXY: URLs, each https://HOST, http://HOST or
	// file:///DIRECTORY, after which direct or off may follow, or off alone. Instances
	// of server.type Goproxy fetch nothing directly. Unset: the default of the go
	// command.
	// +kubebuilder:validation:XValidation:rule="self.matches('^[ ,|]*(off|direct|https?://[^ /?#:,|][^ ,|]*|file:(//(localhost)?)?/([^/,|][^,|]*)?)( *[,|][ ,|]*(off|direct|https?://[^ /?#:,|][^ ,|]*|file:(//(localhost)?)?/([^/,|][^,|]*)?))*[ ,|]*$')",message="proxy must list URLs, https://HOST, http://HOST or file:///DIRECTORY, separated by , or |; direct or off may follow them"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|://|[|, ])[^/|, ]*@')",message="proxy must not contain credentials: put them into the Secret that privateModules.secretRef names"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Proxy string `json:"proxy,omitempty"`
}

// ProxyPrivateModules is which modules are private, and how the instances
// fetch them: from the upstream, or from version control.
//
// +kubebuilder:validation:XValidation:rule="!has(self.versionControl) || has(self.patterns) && self.patterns.size() > 0",message="versionControl requires patterns: they are the modules that come from version control, such as git.example.com/team"
type ProxyPrivateModules struct {
	PrivateModules `json:",inline"`
	// versionControl has the instances fetch modules that match patterns from git
	// repositories, with the go command and git, in a container of its own. No upstream
	// and no checksum database is asked for them. A version that is stored stays as it
	// is when its tag is moved or removed. It requires that all instances are of
	// server.type Goproxy. Unset: they come from the upstream.
	// +optional
	VersionControl *ProxyVersionControl `json:"versionControl,omitempty"`
	// secretRef names a Secret for the upstream proxies, with the key netrc, or with
	// the keys username and password. Those of git servers are in
	// versionControl.secretRef. These keys are mounted into the instances,
	// and read again when they change. Credentials are sent over https only, and only
	// to hosts that the annotation cache.gocache.dev/hosts of the Secret lists. Athens
	// supports netrc only; a Custom server finds the keys as files below
	// /etc/gocache-proxy/private. Where the operator's own server does not run as it
	// is (type Athens or Custom, image, args, or a variable such as
	// SSL_CERT_FILE), the annotation cache.gocache.dev/images must list the image. Instances
	// run without a Secret that is refused.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// ProxyVersionControl is how modules are fetched from version control.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !has(self.trustedCA)",message="trustedCA must not be set with secretRef: an authority decides which server gets the credentials, so it is the key ca.crt of the Secret"
// +kubebuilder:validation:XValidation:rule="!has(self.cacheSize) || !isQuantity(string(self.cacheSize)) || quantity(string(self.cacheSize)).compareTo(quantity('256Mi')) >= 0",message="cacheSize must be at least 256Mi"
type ProxyVersionControl struct {
	// secretRef names a Secret with credentials for git servers, as for git sources of
	// a GoCache: the key netrc, or username and password, for https, or identity and
	// known_hosts for ssh. Hosts that known_hosts has are asked over ssh, also where
	// the go command finds an https URL. The key ca.crt holds the authority that issued
	// the certificates of git servers, or of pages that name repositories, if it is
	// not one of the public authorities. The keys are mounted into the container that
	// fetches, and read again when they change. They are sent only to hosts that the
	// annotation cache.gocache.dev/hosts of the Secret lists. The container runs
	// without a Secret that is refused. Unset: repositories are read without.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// trustedCA issued the certificates of git servers, or of pages that name
	// repositories, if it is not one of the public authorities, and there is no
	// secretRef.
	// +optional
	TrustedCA *TrustedCA `json:"trustedCA,omitempty"`
	// image with a go command and git on its PATH. With a secretRef the annotation
	// cache.gocache.dev/images of the Secret must list it. Unset: the operator's
	// toolchain image, of the Go release that the operator was built with. Modules
	// that require a newer Go release need an image of it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// resources of the container. Unset: a limit of 2 CPUs and 2Gi of memory.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
	// cacheSize is how much of the node's disk the copies of repositories take, at
	// least 256Mi. They are removed when it is used up, and with the pod. Unset: 10Gi.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +optional
	CacheSize *resource.Quantity `json:"cacheSize,omitempty"`
}

// PolicyMode is what a policy leads to.
// +kubebuilder:validation:Enum=Enforce;DryRun
type PolicyMode string

// The policy modes.
const (
	// PolicyEnforce refuses requests, and leaves versions out of lists.
	PolicyEnforce PolicyMode = "Enforce"
	// PolicyDryRun serves all, and logs and counts the requests for files that
	// Enforce would refuse.
	PolicyDryRun PolicyMode = "DryRun"
)

// ProxyPolicy is which versions of which modules are served. A version is refused
// if a deny rule matches it or an advisory is about it; else, if there are allow
// rules and none matches it; else if it is younger than minimumAge. A refused file
// is a 403 with the reason, which the go command prints. Lists, @latest and the
// answers to queries have only versions that are served, so that the go command
// chooses another one.
type ProxyPolicy struct {
	// mode DryRun logs and counts what would be refused, and serves it.
	// +kubebuilder:default=Enforce
	// +optional
	Mode PolicyMode `json:"mode,omitempty"`
	// deny are rules for versions that are refused.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +optional
	Deny []PolicyRule `json:"deny,omitempty"`
	// advisories deny the versions that security advisories are about, also those of
	// private modules. A change of them takes effect within about two minutes.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Advisories []AdvisorySource `json:"advisories,omitempty"`
	// allow are rules for the only versions that are served. None: all are, save
	// the denied ones.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Allow []PolicyRule `json:"allow,omitempty"`
	// minimumAge that a version must have, by the time in its .info file, which is
	// that of its commit. One without a time counts from when an instance stored its
	// .info. Modules of privateModules.patterns and of minimumAgeExempt, and the
	// versions in probes.referenceModules, may be younger.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be a duration such as 72h or 168h, from 1m to 8760h"
	// +optional
	MinimumAge *metav1.Duration `json:"minimumAge,omitempty"`
	// minimumAgeExempt are patterns of module paths, in the syntax of GOPRIVATE, whose
	// versions may be younger.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^,\s]+$`
	// +listType=set
	// +optional
	MinimumAgeExempt []string `json:"minimumAgeExempt,omitempty"`
}

// AdvisorySource is where advisories are read from.
type AdvisorySource struct {
	// configMapRef holds advisories in the OSV format: the value of each key is one
	// document, or a JSON array of documents. A document denies the versions of its
	// affected packages of the ecosystem Go, each the module of exactly that path. Left
	// out are documents that are withdrawn, and the packages stdlib and toolchain.
	// While the ConfigMap does not exist or cannot be read as such, the ModProxy is
	// Stalled, and the instances keep the last policy.
	// +required
	ConfigMapRef LocalReference `json:"configMapRef"`
}

// PolicyRule matches versions of modules.
type PolicyRule struct {
	// name of the rule, in logs, metrics and error texts.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +required
	Name string `json:"name"`
	// modules are patterns of module paths, in the syntax of GOPRIVATE: a pattern
	// matches a path and all paths below it.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^,\s]+$`
	// +listType=set
	// +required
	Modules []string `json:"modules"`
	// versions that the rule matches, each one version, such as v1.2.3, or
	// comparisons that must all hold, such as ">=v1.2.0 <v1.4.0", in the order of
	// semantic versions. None: all.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^((|=)v[0-9]+\.[0-9]+\.[0-9]+[-+.A-Za-z0-9]*|(<|<=|>|>=)v[0-9]+[-+.A-Za-z0-9]*)( ((|=)v[0-9]+\.[0-9]+\.[0-9]+[-+.A-Za-z0-9]*|(<|<=|>|>=)v[0-9]+[-+.A-Za-z0-9]*))*$`
	// +listType=set
	// +optional
	Versions []string `json:"versions,omitempty"`
	// reason for people whose request is refused, such as the number of an advisory.
	// +kubebuilder:validation:Pattern=`^[^\r\n]*$`
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Reason string `json:"reason,omitempty"`
}

// RouterType is the implementation of the router.
// +kubebuilder:validation:Enum=HAProxy;Gateway;Service
type RouterType string

// The router types.
const (
	// RouterHAProxy runs HAProxy, which stops using a dead or hung instance by itself.
	RouterHAProxy RouterType = "HAProxy"
	// RouterGateway creates an HTTPRoute for an existing Gateway.
	RouterGateway RouterType = "Gateway"
	// RouterService is a Service that routes to one instance at a time.
	RouterService RouterType = "Service"
)

// ResponseVerification is whether the router verifies the responses of
// instances before clients have all of them.
// +kubebuilder:validation:Enum=Enabled;Disabled
type ResponseVerification string

// The response verifications.
const (
	// ResponseVerificationEnabled holds back the end of each response until it is
	// complete, and its checksum is right or not known.
	ResponseVerificationEnabled ResponseVerification = "Enabled"
	// ResponseVerificationDisabled passes modules through as they come, and
	// verifies the responses of the checksum database only.
	ResponseVerificationDisabled ResponseVerification = "Disabled"
)

// ProxyRouter distributes requests over the instances.
//
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || (has(self.type) && self.type == 'Gateway')",message="gateway must not be set with a type other than Gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'Gateway' || has(self.gateway)",message="type Gateway requires gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.tls) || !has(self.type) || self.type == 'HAProxy'",message="tls requires type HAProxy: a Gateway has the certificate in its listener, and a Service has none"
// +kubebuilder:validation:XValidation:rule="!has(self.clientAuth) || !has(self.type) || self.type == 'HAProxy'",message="clientAuth requires type HAProxy: a Service checks no credentials, and a Gateway has its own configuration for them"
// +kubebuilder:validation:XValidation:rule="!has(self.clientAuth) || has(self.tls)",message="clientAuth requires tls: the go command sends the credentials of a netrc file over https only"
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
	// service is the Service of the router. Without effect with type Gateway, which
	// has none.
	// +kubebuilder:default={}
	// +optional
	Service RouterServiceTemplate `json:"service,omitzero"`
	// podTemplate of the router's pods, with type HAProxy. Each field that is set,
	// also to an empty list, is used in place of the same field of spec.podTemplate,
	// as a whole.
	// serviceAccountName of neither is used: the router runs under an account of its
	// own, which may read its weights and nothing else.
	// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName)",message="serviceAccountName must not be set for the router: it runs under an account of its own, which may read its weights and nothing else"
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
	// from are the clients that may connect to this proxy, with networkPolicy
	// Managed; any of the entries must match. Unset: every address, also outside of
	// the cluster. An empty list: no client. Jobs of the GoCaches in the namespace of
	// the proxy may connect in any case.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	From []ClientPeer `json:"from,omitzero"`
	// responseVerification of modules, with type HAProxy. Enabled: a response that
	// is incomplete, or whose h1 differs from the checksum database's, is fetched
	// from another instance; each file passes HAProxy twice. The other types pass
	// responses through.
	// +kubebuilder:default=Enabled
	// +optional
	ResponseVerification ResponseVerification `json:"responseVerification,omitempty"`
	// tls of the published address.
	// +optional
	TLS *RouterTLS `json:"tls,omitempty"`
	// clientAuth makes the router, with type HAProxy, serve only clients that
	// authenticate. Unset: clients need no credentials.
	// +optional
	ClientAuth *ClientAuth `json:"clientAuth,omitempty"`
	// gateway that routes to the instances.
	// +optional
	Gateway *GatewayRouter `json:"gateway,omitempty"`
}

// ClientPeer is a set of clients, with the meaning of a peer of a NetworkPolicy: a
// podSelector alone selects pods in the namespace of the proxy, a
// namespaceSelector alone all pods of namespaces, and both together the pods in
// those namespaces. An empty selector selects all.
//
// +kubebuilder:validation:XValidation:rule="has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",message="set namespaceSelector, podSelector or both, or ipBlock alone"
type ClientPeer struct {
	// namespaceSelector selects namespaces by their labels, such as
	// kubernetes.io/metadata.name.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['Exists', 'DoesNotExist'] ? !has(e.values) || e.values.size() == 0 : e.operator in ['In', 'NotIn'] && has(e.values) && e.values.size() > 0)",message="matchExpressions need an operator of In and NotIn, with values, or of Exists and DoesNotExist, without"
	// +optional
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"`
	// podSelector selects pods by their labels.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['Exists', 'DoesNotExist'] ? !has(e.values) || e.values.size() == 0 : e.operator in ['In', 'NotIn'] && has(e.values) && e.values.size() > 0)",message="matchExpressions need an operator of In and NotIn, with values, or of Exists and DoesNotExist, without"
	// +optional
	PodSelector *LabelSelector `json:"podSelector,omitempty"`
	// ipBlock are addresses, for clients outside of the cluster. Behind a load
	// balancer the router often sees the address of a node instead.
	// +optional
	IPBlock *IPBlock `json:"ipBlock,omitempty"`
}

// IPBlock is a range of addresses.
type IPBlock struct {
	// cidr of the range, such as 10.0.0.0/8 or fd00::/8.
	// +kubebuilder:validation:Pattern=`^([0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:]*:[0-9a-fA-F:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$`
	// +kubebuilder:validation:MaxLength=64
	// +required
	CIDR string `json:"cidr"`
	// except are ranges within cidr that are left out.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=atomic
	// +optional
	Except []string `json:"except,omitempty"`
}

// RouterServiceTemplate is what the router's Service is like.
//
// +kubebuilder:validation:XValidation:rule="has(self.type) && self.type == 'LoadBalancer' || !has(self.loadBalancerClass) && !has(self.loadBalancerSourceRanges)",message="loadBalancerClass and loadBalancerSourceRanges require type LoadBalancer"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || !has(oldSelf.type) || self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) && (!has(self.loadBalancerClass) || self.loadBalancerClass == oldSelf.loadBalancerClass)",message="loadBalancerClass is immutable while type is LoadBalancer: set another type first, then type LoadBalancer with the other class"
type RouterServiceTemplate struct {
	// type of the Service.
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	// +kubebuilder:default=ClusterIP
	// +optional
	Type string `json:"type,omitempty"`
	// port of the Service, which is in status.url and status.goproxy unless it is the
	// default: 80, or 443 with tls.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port *int32 `json:"port,omitempty"`
	// labels that are added to the Service. Reserved for the operator: the prefix
	// cache.gocache.dev/, and of app.kubernetes.io/ name, instance, component and
	// managed-by.
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('cache.gocache.dev/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by']))",message="the prefix cache.gocache.dev/, and app.kubernetes.io/name, instance, component and managed-by, are reserved for the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k,k.size()<=317&&self[k].size()<=63)",message="keys of up to 317 characters, values of up to 63"
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// annotations that are added to the Service, such as those by which a cloud
	// provider configures load balancers. The prefix cache.gocache.dev/ is reserved
	// for the operator.
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('cache.gocache.dev/'))",message="the prefix cache.gocache.dev/ is reserved for the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k,k.size()<=317&&self[k].size()<=8192)",message="keys of up to 317 characters, values of up to 8192"
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// loadBalancerClass is the implementation that provides the load balancer.
	// Immutable while type is LoadBalancer.
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// loadBalancerSourceRanges are the addresses that may connect through the load
	// balancer, such as 10.0.0.0/8, where the provider supports that.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^([0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:]*:[0-9a-fA-F:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$`
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	LoadBalancerSourceRanges []string `json:"loadBalancerSourceRanges,omitempty"`
}

// ClientAuth is what clients authenticate with.
type ClientAuth struct {
	// secretRef names a Secret of type kubernetes.io/basic-auth in the proxy's
	// namespace, with the keys username and password, without white space. The
	// annotation cache.gocache.dev/hosts of the Secret must name the host of the
	// router, PROXY-router.NAMESPACE.svc; otherwise no client is served. The go
	// command takes them from a netrc file. Warm-ups of GoCaches that use the proxy
	// by environment.proxyRef use the same Secret; with toolchain.image the annotation
	// cache.gocache.dev/images must list that image. When the Secret changes, the router
	// accepts only the new credentials within about two minutes, without a restart.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// RouterTLS is the certificate of the published address.
type RouterTLS struct {
	// secretRef names a Secret of type kubernetes.io/tls in the proxy's namespace.
	// When it changes, the router serves the new certificate within about two
	// minutes, without a restart. A Secret without a valid pair changes nothing.
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

// ProbeKind is what a probe checks.
// +kubebuilder:validation:Enum=Ready;Protocol;Checksum;Consistency;ChecksumDatabase;Disk
type ProbeKind string

// The kinds of probe.
const (
	// ProbeReady requests the instance's own readiness.
	ProbeReady ProbeKind = "Ready"
	// ProbeProtocol requests info, mod and zip of the reference modules.
	ProbeProtocol ProbeKind = "Protocol"
	// ProbeChecksum compares the h1 of the reference modules with trust data. A
	// mismatch quarantines the instance.
	ProbeChecksum ProbeKind = "Checksum"
	// ProbeConsistency compares instances with each other. It quarantines none.
	ProbeConsistency ProbeKind = "Consistency"
	// ProbeChecksumDatabase requests the checksum database through all instances at
	// once. An instance fails if another one succeeds.
	ProbeChecksumDatabase ProbeKind = "ChecksumDatabase"
	// ProbeDisk measures how full the store's volume is.
	ProbeDisk ProbeKind = "Disk"
)

// ProxyProbes is how the instances are probed.
type ProxyProbes struct {
	// interval between two probes of an instance.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="must be a duration such as 90s or 1h30m, from 1s to 1h"
	// +kubebuilder:default="10s"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// timeout of one probe.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('1m')",message="must be a duration such as 90s or 1h30m, from 100ms to 1m"
	// +kubebuilder:default="5s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// failureThreshold is the number of failures in a row that make an instance
	// unhealthy. A checksum mismatch, twice within one probe, quarantines it at once.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=3
	// +optional
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
	// successThreshold is the number of successes in a row that make it healthy again.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=2
	// +optional
	SuccessThreshold int32 `json:"successThreshold,omitempty"`
	// kinds of probes that are enabled.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	// +kubebuilder:default={Ready,Protocol,Checksum,Disk}
	// +listType=set
	// +optional
	Kinds []ProbeKind `json:"kinds,omitempty"`
	// referenceModules are the module versions that probes Protocol, Checksum and
	// Consistency request. An instance fetches those that its store lacks. None: a few
	// small ones that the store holds, so that no probe requests a module of the
	// upstream: a client is the first to notice that it fails.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	ReferenceModules []ReferenceModule `json:"referenceModules,omitempty"`
	// diskUsedPercent at which probe Disk fails.
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=95
	// +optional
	DiskUsedPercent int32 `json:"diskUsedPercent,omitempty"`
}

// ReferenceModule is a module version that every healthy instance can serve.
type ReferenceModule struct {
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
	// sum is the h1 hash of the module, as in go.sum. Probe Checksum compares with
	// it.
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

// FailoverMode is whether weights change automatically.
// +kubebuilder:validation:Enum=Automatic;Manual
type FailoverMode string

// The failover modes.
const (
	FailoverAutomatic FailoverMode = "Automatic"
	FailoverManual    FailoverMode = "Manual"
)

// ProxyFailover is how weights change.
//
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'Manual') == has(self.activeInstance)",message="activeInstance is required with mode Manual, and must not be set with another mode"
type ProxyFailover struct {
	// mode of failover. A quarantined instance never serves in either mode.
	// +kubebuilder:default=Automatic
	// +optional
	Mode FailoverMode `json:"mode,omitempty"`
	// activeInstance serves alone in mode Manual.
	// +kubebuilder:validation:MaxLength=15
	// +optional
	ActiveInstance string `json:"activeInstance,omitempty"`
	// failback is how a recovered instance returns to service.
	// +kubebuilder:default={}
	// +optional
	Failback ProxyFailback `json:"failback,omitzero"`
	// maxFailbacksPerHour limits fail-backs, never failovers.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=60
	// +kubebuilder:default=6
	// +optional
	MaxFailbacksPerHour int32 `json:"maxFailbacksPerHour,omitempty"`
}

// ProxyFailback is how a recovered instance returns to service.
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
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="must be a duration such as 90s or 1h30m, from 0s to 24h"
	// +kubebuilder:default="1m"
	// +optional
	HoldDown *metav1.Duration `json:"holdDown,omitempty"`
	// maxHoldDown is the limit of the doubling.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('168h')",message="must be a duration such as 90s or 1h30m, from 0s to 168h"
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
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration such as 90s or 1h30m, from 1s to 24h"
	// +kubebuilder:default="30s"
	// +optional
	StepInterval *metav1.Duration `json:"stepInterval,omitempty"`
}

// StoreIntegrity is when stores are checked, and what a Corrupt verdict leads to. A store is also checked when its instance starts. Without a schedule it is
// checked once a day.
//
// +kubebuilder:validation:XValidation:rule="!has(self.bytesPerSecond) || !isQuantity(string(self.bytesPerSecond)) || quantity(string(self.bytesPerSecond)).isGreaterThan(quantity('0'))",message="bytesPerSecond must be greater than 0"
// +kubebuilder:validation:XValidation:rule="!has(self.trust) || !has(self.trust.firstSeen) || !self.trust.firstSeen",message="trust.firstSeen applies to snapshots: set it in snapshots.verification.trust"
type StoreIntegrity struct {
	Schedule `json:",inline"`
	// trust is what checksums are compared with.
	// +optional
	Trust *Trust `json:"trust,omitempty"`
	// bytesPerSecond is how fast the check of one store reads at most. Unset: 16Mi.
	// A store that serves no clients is read without a limit.
	// +kubebuilder:validation:XValidation:rule="type(self) == int || isQuantity(self)",message="must be a quantity such as 20Gi or 500Mi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +optional
	BytesPerSecond *resource.Quantity `json:"bytesPerSecond,omitempty"`
	// onCorrupt is what corrupt content of a store leads to.
	// +kubebuilder:default=Quarantine
	// +optional
	OnCorrupt StoreCorruptPolicy `json:"onCorrupt,omitempty"`
}

// StoreCorruptPolicy is what corrupt content of a store leads to.
// +kubebuilder:validation:Enum=Quarantine;Rollback;Report
type StoreCorruptPolicy string

// The corrupt policies of a store.
const (
	// StoreQuarantine quarantines the instance until it is reinstated by request.
	StoreQuarantine StoreCorruptPolicy = "Quarantine"
	// StoreRollback also replaces its store by the newest verified snapshot, or by
	// an empty one, and reinstates the instance after it is verified.
	StoreRollback StoreCorruptPolicy = "Rollback"
	// StoreReport only reports it.
	StoreReport StoreCorruptPolicy = "Report"
)

// MovedVersion is a version whose tag was moved.
type MovedVersion struct {
	// module that the tag is of.
	// +kubebuilder:validation:MaxLength=512
	// +required
	Module string `json:"module"`
	// version that the tag names.
	// +kubebuilder:validation:MaxLength=128
	// +required
	Version string `json:"version"`
	// storedCommit is what is served: it was seen first.
	// +kubebuilder:validation:MaxLength=64
	// +required
	StoredCommit string `json:"storedCommit"`
	// movedCommit is the commit other than storedCommit that the tag was seen to name
	// last. It stays here when the tag is moved back.
	// +kubebuilder:validation:MaxLength=64
	// +required
	MovedCommit string `json:"movedCommit"`
	// time when an instance saw the tag name movedCommit first.
	// +required
	Time metav1.Time `json:"time"`
}

// ModProxyStatus is the observed state of a ModProxy.
type ModProxyStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
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
	// httpRoute is the name of the HTTPRoute that the operator has created, or is
	// about to create.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	HTTPRoute string `json:"httpRoute,omitempty"`
	// healthy is the number of healthy instances of all, such as 2/2.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Healthy string `json:"healthy,omitempty"`
	// serving names the instances that clients are sent to. One that is marked
	// (unhealthy) serves in spite of what condition Healthy states. An instance is
	// not named before a probe has passed. The value none: there is no such one.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Serving string `json:"serving,omitempty"`
	// instances, one by one. One that was removed from the spec is among them until no
	// replica of the router has it any more, and its store is not being replaced.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Instances []InstanceStatus `json:"instances,omitempty"`
	// lastWeightChange is the last change of weights.
	// +optional
	LastWeightChange *WeightChangeStatus `json:"lastWeightChange,omitempty"`
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
	// recentWeightChanges are the times of changes of weights within the last hour.
	// +kubebuilder:validation:MaxItems=120
	// +listType=atomic
	// +optional
	RecentWeightChanges []metav1.Time `json:"recentWeightChanges,omitempty"`
	// agreedReferenceModules are the module versions, with their sums, that more
	// than one instance served last without contradicting another. Probe Consistency
	// uses them when instances differ.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=module
	// +listMapKey=version
	// +optional
	AgreedReferenceModules []ReferenceModule `json:"agreedReferenceModules,omitempty"`
	// movedVersions are versions of private modules whose tag was moved to another
	// commit after an instance had stored them: the newest last, 16 at most. The
	// instances serve what was stored. It shows only what was noticed while clients
	// asked for versions of the module.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	MovedVersions []MovedVersion `json:"movedVersions,omitempty"`
	// weightsPendingSince is since when a replica of the router does not follow the
	// desired weights; unset while all of them do.
	// +optional
	WeightsPendingSince *metav1.Time `json:"weightsPendingSince,omitempty"`
	// instancesDisagreeSince is since when instances serve different content under
	// one module version, as probe Consistency has confirmed; unset while none do.
	// +optional
	InstancesDisagreeSince *metav1.Time `json:"instancesDisagreeSince,omitempty"`
	// checksumDatabaseUnreachableSince is since when the checksum database is
	// reached through no instance, as probe ChecksumDatabase has confirmed; unset
	// while it is reached.
	// +optional
	ChecksumDatabaseUnreachableSince *metav1.Time `json:"checksumDatabaseUnreachableSince,omitempty"`
	// request is the CacheRequest that is worked on. It is unset once the
	// outcome is in the status of the CacheRequest.
	// +optional
	Request *RequestStatus `json:"request,omitempty"`
}

// InstanceStatus is the observed state of one instance.
type InstanceStatus struct {
	// name of the instance.
	// +kubebuilder:validation:MaxLength=15
	// +required
	Name string `json:"name"`
	// healthy by the probes.
	// +optional
	Healthy bool `json:"healthy,omitempty"`
	// quarantined is why the instance must not serve: its content is corrupt.
	// +optional
	Quarantined *Quarantine `json:"quarantined,omitempty"`
	// desiredWeight of the instance.
	// +optional
	DesiredWeight int32 `json:"desiredWeight"`
	// observedWeight in the router.
	// +optional
	ObservedWeight int32 `json:"observedWeight"`
	// serving is whether the instance is to serve now.
	// +optional
	Serving bool `json:"serving,omitempty"`
	// failingProbes and since when.
	// +kubebuilder:validation:MaxItems=6
	// +listType=map
	// +listMapKey=kind
	// +optional
	FailingProbes []FailingProbe `json:"failingProbes,omitempty"`
	// outOfService is set while an instance is kept from serving although it is not
	// at fault.
	// +optional
	OutOfService bool `json:"outOfService,omitempty"`
	// reinstatedTime is when a quarantined instance was reinstated by request.
	// +optional
	ReinstatedTime *metav1.Time `json:"reinstatedTime,omitempty"`
	// healthySince is when the probes began to succeed.
	// +optional
	HealthySince *metav1.Time `json:"healthySince,omitempty"`
	// failback is the progress of returning a recovered instance to service.
	// +optional
	Failback *FailbackStatus `json:"failback,omitempty"`
	// diskUsedPercent in steps of 5.
	// +optional
	DiskUsedPercent *int32 `json:"diskUsedPercent,omitempty"`
	// storeFullSince is since when the store has no room for what the instance
	// fetches, so that each client costs another fetch; unset while it has room.
	// Servers of type Goproxy report it.
	// +optional
	StoreFullSince *metav1.Time `json:"storeFullSince,omitempty"`
	// latestVerifiedSnapshot of the store, by name.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LatestVerifiedSnapshot string `json:"latestVerifiedSnapshot,omitempty"`
	// lastScheduledSnapshot is when a snapshot was last created by the schedule.
	// +optional
	LastScheduledSnapshot *metav1.Time `json:"lastScheduledSnapshot,omitempty"`
	// rollback of the store, after the last quarantine.
	// +optional
	Rollback *StoreRollbackStatus `json:"rollback,omitempty"`
	// storeCheck is the last check of the store by the agent in the same pod.
	// +optional
	StoreCheck *StoreCheckStatus `json:"storeCheck,omitempty"`
	// content of the store since it was last replaced.
	// +optional
	Content *ContentStatus `json:"content,omitempty"`
	// volumeReplacement in progress of the store's volume.
	// +optional
	VolumeReplacement *VolumeReplacementStatus `json:"volumeReplacement,omitempty"`
	// lastVolumeReplacement is the result of the last volume replacement.
	// +optional
	LastVolumeReplacement *VolumeReplacementResult `json:"lastVolumeReplacement,omitempty"`
}

// StoreRollbackStatus is the progress of replacing the store of a quarantined
// instance.
type StoreRollbackStatus struct {
	// quarantinedTime is when the instance was quarantined.
	// +required
	QuarantinedTime metav1.Time `json:"quarantinedTime"`
	// attempt in progress: from the newest verified snapshot, then with an empty
	// store.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// snapshot that the store is created from; empty: the store starts empty and
	// is filled from the upstream.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// startTime of the first attempt, or of its postponement.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// relapses is the number of rollbacks in a row before this one, each of a store
	// that became corrupt within a day after it was verified.
	// +optional
	Relapses int32 `json:"relapses,omitempty"`
	// notBefore is until when the first attempt is postponed, because the store
	// became corrupt repeatedly.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`
	// replacedTime is when the store was replaced.
	// +optional
	ReplacedTime *metav1.Time `json:"replacedTime,omitempty"`
	// verifiedTime is when the reference modules and a check of the whole store had
	// verified the instance.
	// +optional
	VerifiedTime *metav1.Time `json:"verifiedTime,omitempty"`
	// completionTime is when the instance had its full weight again.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// message explains what the rollback waits for, or why it failed.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// failed is set when the store could not be replaced by an intact one, so that
	// manual action is required.
	// +optional
	Failed bool `json:"failed,omitempty"`
}

// StoreCheckStatus is the result of a check of a store.
type StoreCheckStatus struct {
	// verdict of the check. Only Corrupt quarantines the instance.
	// +required
	Verdict Verdict `json:"verdict"`
	// completionTime of the check, by the clock of the operator.
	// +required
	CompletionTime metav1.Time `json:"completionTime"`
	// modules is the number of module versions in the store.
	// +optional
	Modules int64 `json:"modules,omitempty"`
	// withdrawn is how many entries the check removed from the store because they
	// were damaged or contradicted trust data. The instance fetches them again. The
	// verdict is of what is left.
	// +optional
	Withdrawn int64 `json:"withdrawn,omitempty"`
	// message reports the findings; empty: there are none.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// Quarantine is why and since when an instance must not serve.
type Quarantine struct {
	// reason for the quarantine.
	// +kubebuilder:validation:MaxLength=64
	// +required
	Reason string `json:"reason"`
	// message with the evidence.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
	// time of the quarantine.
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

// FailbackStatus is the progress of returning a recovered instance to service.
type FailbackStatus struct {
	// step in effect; 0: none yet.
	// +optional
	Step int32 `json:"step,omitempty"`
	// since when the step is in effect.
	// +required
	Since metav1.Time `json:"since"`
	// relapses is the number of failures after a fail-back; each doubles the
	// hold-down.
	// +optional
	Relapses int32 `json:"relapses,omitempty"`
}

// WeightChangeStatus is a change of weights.
type WeightChangeStatus struct {
	// from names the instances that served before.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	From string `json:"from,omitempty"`
	// to names the instances that serve after it.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	To string `json:"to,omitempty"`
	// reason for the change.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
	// detectedTime is when the cause was detected.
	// +optional
	DetectedTime *metav1.Time `json:"detectedTime,omitempty"`
	// appliedTime is when the weights were written.
	// +optional
	AppliedTime *metav1.Time `json:"appliedTime,omitempty"`
	// confirmedTime is when the weights were read back from the router.
	// +optional
	ConfirmedTime *metav1.Time `json:"confirmedTime,omitempty"`
}
