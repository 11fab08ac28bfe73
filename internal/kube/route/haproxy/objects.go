package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/certificate"
	"gocache.dev/operator/internal/router/weights"
)

// Ports inside a router's pod.
const (
	// ClientPort takes clients.
	ClientPort = 8080
	// PagesPort has HAProxy's /metrics and /healthz.
	PagesPort = 8404
	// SidecarPort has the sidecar's /metrics, /healthz and /readyz.
	SidecarPort = 9778

	agentAddress    = "127.0.0.1:9777"
	answersAddress  = "127.0.0.1:9779"
	attemptsAddress = "127.0.0.1:9780"
)

const (
	configDir      = "/etc/gocache/haproxy"
	configKey      = "haproxy.cfg"
	weightsDir     = "/etc/gocache/weights"
	certificateDir = "/etc/gocache/certificate"
	runDir         = "/run/gocache"
	spoolDir       = "/var/spool/gocache"
	// certificateFile is what the sidecar made of the Secret.
	certificateFile = runDir + "/tls.pem"
	clientsDir      = "/etc/gocache/clients"
	// clientsFile is what the sidecar made of the Secret with the credentials.
	clientsFile = runDir + "/clients"

	// hashAnnotation on the router's pods is the hash of their configuration, so
	// that they are replaced when it changes.
	hashAnnotation = "cache.gocache.dev/router-config-hash"
	nameLabel      = "app.kubernetes.io/name"
	instanceLabel  = "app.kubernetes.io/instance"
	componentLabel = "app.kubernetes.io/component"
)

// Params describe one router in a cluster.
type Params struct {
	// Name of the proxy; the objects are called after it.
	Name, Namespace string
	// Labels are added to all objects, and to the pods.
	Labels map[string]string
	// Annotations are added to the pods.
	Annotations map[string]string
	// Instances that the router chooses from.
	Instances []Instance
	// Replicas of the router.
	Replicas int32
	// HAProxyImage holds the program haproxy on its PATH; a soft stop needs its
	// STOPSIGNAL to be SIGUSR1, as in the official image.
	HAProxyImage string
	// RouterImage holds the sidecar, /gocache-router.
	RouterImage      string
	ImagePullSecrets []corev1.LocalObjectReference
	// Service is what users choose of the router's Service.
	Service route.Service
	// PassModules lets modules pass without the sidecar looking at them.
	PassModules bool
	// DatabaseUpstreams are the URLs of GOPROXY servers that are asked for the
	// checksum database before the instances are, but not with the names of
	// Private modules, in the syntax of GOPRIVATE.
	DatabaseUpstreams []string
	Private           string
	// TLSSecret, a kubernetes.io/tls Secret, makes the router serve HTTPS. Its
	// content may change at any time; that rolls nothing.
	TLSSecret string
	// ClientsSecret, with the keys username and password, makes the router serve
	// only clients that send them. Its content may change at any time; that rolls
	// nothing.
	ClientsSecret string
	// ClientsWithheld: ClientsSecret may not be used. The router does not mount it, and
	// serves no client.
	ClientsWithheld bool
	// RunAsUser, RunAsGroup and FSGroup; nil where the platform assigns them.
	RunAsUser, RunAsGroup, FSGroup *int64
	HAProxyResources               corev1.ResourceRequirements
	SidecarResources               corev1.ResourceRequirements
	NodeSelector                   map[string]string
	Tolerations                    []corev1.Toleration
	// Affinity replaces the preferred spreading over nodes.
	Affinity                  *corev1.Affinity
	TopologySpreadConstraints []corev1.TopologySpreadConstraint
	PriorityClassName         string
	// Network restricts the connections to the router's pods; nil: they are not
	// restricted.
	Network *Network
}

// Network is what may connect to the router's pods.
type Network struct {
	// Clients are the rules for ClientPort, as netpolicy.AdmitClients returns them.
	Clients []networkingv1.NetworkPolicyIngressRule
	// ManagerNamespace may read what the router reports.
	ManagerNamespace string
}

// RouterName is the name of the Deployment, of its Service and of the rest.
func RouterName(proxy string) string { return proxy + "-router" }

// WeightsName is the name of the ConfigMap that Set writes.
func WeightsName(proxy string) string { return proxy + "-router-weights" }

func configName(proxy string) string { return proxy + "-router-config" }

// defaultPort of the router's Service is that of the scheme of its URL.
func (p Params) defaultPort() int32 {
	if p.TLSSecret != "" {
		return 443
	}
	return 80
}

// ServicePort is the port of the router's Service.
func (p Params) ServicePort() int32 { return p.Service.PortOr(p.defaultPort()) }

// Host is the router's name inside the cluster.
func (p Params) Host() string { return fmt.Sprintf("%s.%s.svc", RouterName(p.Name), p.Namespace) }

// URL is the router's address inside the cluster; GOPROXY(URL()) is what
// clients are to use.
func (p Params) URL() string {
	scheme := "http"
	if p.TLSSecret != "" {
		scheme = "https"
	}
	return scheme + "://" + p.Service.Authority(p.Host(), p.defaultPort())
}

// Selector are the labels that the router's pods have and nothing else has.
func Selector(proxy string) map[string]string {
	return map[string]string{nameLabel: "gocache-router", instanceLabel: proxy}
}

// Objects returns everything that a router is made of, but for the ConfigMap
// of the weights, which Set writes, and the Secret. Ensure applies them in this
// order.
func Objects(p Params) ([]client.Object, error) {
	config, err := p.render()
	if err != nil {
		return nil, err
	}
	var objects []client.Object
	if p.Network != nil { // first: no pod runs without it
		objects = append(objects, p.networkPolicy())
	}
	objects = append(objects, p.serviceAccount(), p.role(), p.roleBinding(), p.configMap(config), p.deployment(config), p.service())
	if p.Replicas > 1 {
		objects = append(objects, p.disruptionBudget())
	}
	return objects, nil
}

// InstanceService gives an instance an address that stays while its pod
// comes and goes: haproxy.cfg holds its cluster IP. It publishes pods that
// are not ready, too: whether an instance is used is the router's decision.
func InstanceService(namespace, name string, labels, selector map[string]string, port, targetPort int32) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			Selector:                 selector,
			PublishNotReadyAddresses: true,
			Ports:                    []corev1.ServicePort{{Name: "http", Port: port, TargetPort: intstr.FromInt32(targetPort), Protocol: corev1.ProtocolTCP}},
		},
	}
}

func (p Params) render() (string, error) {
	certificate := ""
	if p.TLSSecret != "" {
		certificate = certificateFile
	}
	clients := ""
	if p.ClientsSecret != "" {
		clients = clientsFile
	}
	return Render(Config{
		Name: p.Name, Instances: p.Instances, Bind: ":" + strconv.Itoa(ClientPort), PagesBind: ":" + strconv.Itoa(PagesPort),
		CertificateFile: certificate, ClientsFile: clients, Agent: agentAddress, RunDir: runDir, Answers: answersAddress, Attempts: attemptsAddress, PassModules: p.PassModules,
	})
}

func (p Params) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: p.Namespace, Name: name, Labels: p.labels()}
}

func (p Params) labels() map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, p.Labels)
	maps.Copy(labels, Selector(p.Name))
	labels[componentLabel] = "router"
	labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	return labels
}

func (p Params) serviceAccount() client.Object {
	return &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   p.meta(RouterName(p.Name)),
		AutomountServiceAccountToken: ptr.To(false), // the Deployment mounts it for the sidecar
	}
}

// role lets the sidecar watch the one ConfigMap. list and watch with a
// resourceName are allowed for requests with the matching field selector.
func (p Params) role() client.Object {
	return &rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"},
		ObjectMeta: p.meta(RouterName(p.Name)),
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{WeightsName(p.Name)},
			Verbs: []string{"get", "list", "watch"},
		}},
	}
}

func (p Params) roleBinding() client.Object {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
		ObjectMeta: p.meta(RouterName(p.Name)),
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: RouterName(p.Name)},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: p.Namespace, Name: RouterName(p.Name)}},
	}
}

func (p Params) configMap(config string) client.Object {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: p.meta(configName(p.Name)),
		Data:       map[string]string{configKey: config},
	}
}

func (p Params) service() client.Object {
	return p.Service.Object(p.meta(RouterName(p.Name)), Selector(p.Name), p.defaultPort(), "goproxy")
}

func (p Params) networkPolicy() client.Object {
	pages := netpolicy.Admit([]int32{PagesPort, SidecarPort}, netpolicy.Manager(p.Network.ManagerNamespace), netpolicy.Scrapers())
	return netpolicy.Policy(p.meta(RouterName(p.Name)), metav1.LabelSelector{MatchLabels: Selector(p.Name)}, slices.Concat(p.Network.Clients, pages))
}

func (p Params) disruptionBudget() client.Object {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: p.meta(RouterName(p.Name)),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             ptr.To(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: Selector(p.Name)},
			UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
		},
	}
}

func (p Params) deployment(config string) client.Object {
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: p.labels(), Annotations: maps.Clone(p.Annotations)},
		Spec:       p.podSpec(),
	}
	if template.Annotations == nil {
		template.Annotations = map[string]string{}
	}
	template.Annotations[hashAnnotation] = hash(config)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: p.meta(RouterName(p.Name)),
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(p.Replicas),
			Selector: &metav1.LabelSelector{MatchLabels: Selector(p.Name)},
			Template: template,
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
				},
			},
		},
	}
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// endpointGrace is how long a stopping router goes on taking connections, so
// that every node has received the change of its endpoints.
const endpointGrace = 5 * time.Second

func (p Params) podSpec() corev1.PodSpec {
	var config Config
	config.setDefaults()
	affinity := p.Affinity
	if affinity == nil {
		affinity = podspec.Apart(&metav1.LabelSelector{MatchLabels: Selector(p.Name)})
	}
	pod := corev1.PodSpec{
		ServiceAccountName:           RouterName(p.Name),
		AutomountServiceAccountToken: ptr.To(false),
		ImagePullSecrets:             p.ImagePullSecrets,
		NodeSelector:                 p.NodeSelector,
		Tolerations:                  p.Tolerations,
		Affinity:                     affinity,
		TopologySpreadConstraints:    p.TopologySpreadConstraints,
		PriorityClassName:            p.PriorityClassName,
		OS:                           &corev1.PodOS{Name: corev1.Linux},
		EnableServiceLinks:           ptr.To(false),
		// The kubelet must not end what HAProxy still lets finish.
		TerminationGracePeriodSeconds: ptr.To(int64((config.Timeouts.Stop + 2*endpointGrace).Seconds())),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: p.RunAsUser, RunAsGroup: p.RunAsGroup, FSGroup: p.FSGroup,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{p.sidecar()},
		Containers:     []corev1.Container{p.haproxy()},
		Volumes:        p.volumes(),
	}
	podspec.Bound(&pod, nil) // its containers have resources
	return pod
}

// sidecar is a native one: it answers before HAProxy starts, and until it has
// stopped.
func (p Params) sidecar() corev1.Container {
	c := corev1.Container{
		Name:          "agent",
		Image:         p.RouterImage,
		RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		Command:       []string{"/gocache-router"},
		Args: []string{
			"--listen=" + agentAddress,
			"--servers=" + strings.Join(p.servers(), ","),
			"--answers-listen=" + answersAddress,
			"--answers-attempt=" + strings.Join(Attempts(attemptsAddress), ","),
			"--answers-spool=" + spoolDir,
			"--pages-listen=" + net.JoinHostPort("", strconv.Itoa(SidecarPort)),
			"--weights-file=" + weightsDir + "/" + weights.File,
			"--configmap=" + WeightsName(p.Name),
			"--namespace=" + p.Namespace,
		},
		Ports:           []corev1.ContainerPort{{Name: "agent-pages", ContainerPort: SidecarPort, Protocol: corev1.ProtocolTCP}},
		LivenessProbe:   probe("/healthz", SidecarPort, 10, 3),
		ReadinessProbe:  probe("/readyz", SidecarPort, 2, 2),
		Resources:       p.SidecarResources,
		SecurityContext: podspec.Restricted(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "weights", MountPath: weightsDir, ReadOnly: true},
			{Name: "spool", MountPath: spoolDir},
			{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true},
		},
	}
	if len(p.DatabaseUpstreams) > 0 {
		c.Args = append(c.Args, "--answers-database="+strings.Join(p.DatabaseUpstreams, ","), "--answers-private="+p.Private)
	}
	if p.TLSSecret != "" {
		c.Args = append(c.Args, "--certificate-dir="+certificateDir, "--certificate-host="+p.Host())
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "run", MountPath: runDir},
			corev1.VolumeMount{Name: "certificate", MountPath: certificateDir, ReadOnly: true})
		// HAProxy starts when there is a certificate, be it a day later.
		c.StartupProbe = probe(certificate.Path, SidecarPort, 2, 43200)
	}
	if p.ClientsSecret != "" {
		c.Args = append(c.Args, "--clients-dir="+clientsDir, "--clients-file="+clientsFile)
		if p.TLSSecret == "" {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "run", MountPath: runDir})
			// HAProxy starts when the file for it is there.
			c.StartupProbe = probe("/healthz", SidecarPort, 1, 60)
		}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "clients", MountPath: clientsDir, ReadOnly: true})
	}
	return c
}

// servers that HAProxy is configured with.
func (p Params) servers() []string {
	names := make([]string, len(p.Instances))
	for i := range p.Instances {
		names[i] = p.Instances[i].Name
	}
	return names
}

func (p Params) haproxy() corev1.Container {
	c := corev1.Container{
		Name:    "haproxy",
		Image:   p.HAProxyImage,
		Command: []string{"haproxy"},
		Args:    []string{"-db", "-f", configDir + "/" + configKey},
		Ports: []corev1.ContainerPort{
			{Name: "goproxy", ContainerPort: ClientPort, Protocol: corev1.ProtocolTCP},
			{Name: "metrics", ContainerPort: PagesPort, Protocol: corev1.ProtocolTCP},
		},
		LivenessProbe:  probe("/healthz", PagesPort, 10, 3),
		ReadinessProbe: probe("/healthz", PagesPort, 2, 2),
		// Accept connections until every node has the new endpoints; then the
		// image's stop signal, SIGUSR1, lets downloads finish.
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			Sleep: &corev1.SleepAction{Seconds: int64(endpointGrace.Seconds())},
		}},
		Resources:       p.HAProxyResources,
		SecurityContext: podspec.Restricted(),
		VolumeMounts:    []corev1.VolumeMount{{Name: "config", MountPath: configDir, ReadOnly: true}},
	}
	if p.hasRunDir() {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "run", MountPath: runDir})
	}
	return c
}

func (p Params) volumes() []corev1.Volume {
	volumes := []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: configName(p.Name)}, DefaultMode: ptr.To(int32(0o444))}}},
		// Optional: without it the sidecar waits for the watch.
		{Name: "weights", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: WeightsName(p.Name)}, DefaultMode: ptr.To(int32(0o444)),
			Optional: ptr.To(true)}}},
		{Name: "token", VolumeSource: corev1.VolumeSource{Projected: tokenProjection()}},
		// The sidecar bounds what is in it; the kubelet evicts beyond.
		{Name: "spool", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: ptr.To(resource.MustParse("512Mi"))}}},
	}
	if p.hasRunDir() {
		// In memory: it may hold the key.
		volumes = append(volumes, corev1.Volume{Name: "run", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: ptr.To(resource.MustParse("1Mi"))}}})
	}
	if p.TLSSecret != "" {
		// Optional: a pod starts without, and reports what is missing.
		volumes = append(volumes, corev1.Volume{Name: "certificate", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: p.TLSSecret, DefaultMode: ptr.To(int32(0o440)), Optional: ptr.To(true),
			Items: []corev1.KeyToPath{{Key: corev1.TLSCertKey, Path: corev1.TLSCertKey}, {Key: corev1.TLSPrivateKeyKey, Path: corev1.TLSPrivateKeyKey}},
		}}})
	}
	switch {
	case p.ClientsSecret == "":
	case p.ClientsWithheld:
		volumes = append(volumes, corev1.Volume{Name: "clients", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: ptr.To(resource.MustParse("1Mi"))}}})
	default:
		// Optional: a pod starts without, serves no client, and is not ready.
		volumes = append(volumes, corev1.Volume{Name: "clients", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: p.ClientsSecret, DefaultMode: ptr.To(int32(0o440)), Optional: ptr.To(true),
			Items: []corev1.KeyToPath{{Key: corev1.BasicAuthUsernameKey, Path: corev1.BasicAuthUsernameKey}, {Key: corev1.BasicAuthPasswordKey, Path: corev1.BasicAuthPasswordKey}},
		}}})
	}
	return volumes
}

// hasRunDir reports whether the router has sockets of its own.
func (p Params) hasRunDir() bool {
	return p.TLSSecret != "" || p.ClientsSecret != "" || slices.ContainsFunc(p.Instances, Instance.isExternal)
}

// tokenProjection is what the kubelet mounts into pods by default, for the
// sidecar alone.
func tokenProjection() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{DefaultMode: ptr.To(int32(0o444)), Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To(int64(3607))}},
		{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
			Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
			Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
	}}
}

func probe(path string, port, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromInt32(port), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds: period, FailureThreshold: failures, SuccessThreshold: 1, TimeoutSeconds: 2,
	}
}
