package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/gateway"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/service"
)

// PortName is the name of an instance's port in its pod, whatever its server.
const PortName = "http"

// Maker makes routers.
type Maker struct {
	// Applier of the routers' objects.
	Applier apply.Applier
	// Images of the routers' pods.
	Images images.Images
	// HTTP asks the routers' replicas.
	HTTP *http.Client
	// ManagerNamespace is where the manager runs; empty: outside of the cluster.
	ManagerNamespace string
	// ClientsWithheld: the Secret of spec.router.clientAuth may not be used, so that a
	// router of type HAProxy serves no client.
	ClientsWithheld bool
}

// Host is where clients of a router of type HAProxy connect to, with its port unless
// that is the default one.
func (m Maker) Host(p *v1alpha1.ModProxy) (string, error) {
	u, err := url.Parse(m.haproxy(p, nil).Params.URL())
	if err != nil {
		return "", fmt.Errorf("the address of the router: %w", err)
	}
	return u.Host, nil
}

// Router is the router of a ModProxy for one pass. It implements route.Router
// by the backend of spec.router.type, and looks after those of other types.
type Router struct {
	route.Router
	// httpRoute is the name that has to be recorded; empty: nothing is made that
	// has to.
	httpRoute string
	former    former
}

// Router of a ModProxy with its instances.
func (m Maker) Router(p *v1alpha1.ModProxy, instances []route.Instance) *Router {
	r := &Router{}
	switch p.Spec.Router.Type {
	case v1alpha1.RouterService:
		r.Router, r.former.haproxy = m.service(p), m.haproxy(p, nil)
	case v1alpha1.RouterGateway:
		r.Router, r.former.haproxy, r.former.service = m.gateway(p, instances), m.haproxy(p, nil), m.service(p)
		r.httpRoute = haproxy.RouterName(p.Name)
	case v1alpha1.RouterHAProxy:
		r.Router = m.haproxy(p, instances)
	default: // what a router of type Service leaves is the Service, which HAProxy takes over
		r.Router = m.haproxy(p, instances)
	}
	if p.Spec.Router.Type != v1alpha1.RouterGateway && p.Status.HTTPRoute != "" {
		r.former.gateway = m.gateway(p, nil)
		r.former.gateway.Name = p.Status.HTTPRoute
	}
	return r
}

// Record writes into the status what has to be stored there before Set, and
// reports whether it changed anything.
func (r *Router) Record(status *v1alpha1.ModProxyStatus) (changed bool) {
	if r.httpRoute == "" || status.HTTPRoute == r.httpRoute {
		return false
	}
	status.HTTPRoute = r.httpRoute
	return true
}

// Set implements route.Router. The intent holds for a router of another type
// that clients may still use, too, until it is removed.
func (r *Router) Set(ctx context.Context, servers []route.Server) error {
	return errors.Join(r.Router.Set(ctx, servers), r.former.set(ctx, servers))
}

// certifying is a backend that serves a certificate.
type certifying interface {
	Certificates(ctx context.Context) ([]route.Certificate, error)
}

// Certificates are the reports of the router's replicas on the certificate that
// they serve; nil: the backend serves none.
func (r *Router) Certificates(ctx context.Context) ([]route.Certificate, error) {
	if c, ok := r.Router.(certifying); ok {
		return c.Certificates(ctx)
	}
	return nil, nil
}

// RemoveFormer removes what routers of other types have left. What clients may
// still use goes when the present router has settled.
func (r *Router) RemoveFormer(ctx context.Context, status *v1alpha1.ModProxyStatus, settled bool) error {
	return r.former.remove(ctx, status, settled)
}

func (m Maker) service(p *v1alpha1.ModProxy) *service.Router {
	// Its Service has the name of HAProxy's, so that the address stays when one
	// takes the other's place.
	return &service.Router{
		Applier: m.Applier, Owner: p, Name: haproxy.RouterName(p.Name), TargetPort: PortName,
		Labels: map[string]string{v1alpha1.ProxyLabel: p.Name}, Service: serviceOf(p),
		Pods: m.pods(p),
	}
}

// pods of the instances.
func (m Maker) pods(p *v1alpha1.ModProxy) direct.Pods {
	return direct.Pods{
		Client: m.Applier.Client, Reader: m.Applier.Live, Namespace: p.Namespace,
		Labels: map[string]string{v1alpha1.ProxyLabel: p.Name}, Server: v1alpha1.InstanceLabel,
	}
}

func (m Maker) gateway(p *v1alpha1.ModProxy, instances []route.Instance) *gateway.Router {
	applier := m.Applier
	applier.Client = uncached{applier.Client, applier.Live}
	g := &gateway.Router{
		Applier: applier, Owner: p, Name: haproxy.RouterName(p.Name), Labels: map[string]string{v1alpha1.ProxyLabel: p.Name}, Pods: m.pods(p),
	}
	if p.Spec.Router.Gateway != nil {
		g.Spec = *p.Spec.Router.Gateway
	}
	for _, i := range instances {
		g.Backends = append(g.Backends, gateway.Backend{Name: i.Name, Service: i.Service, Port: i.Port})
	}
	return g
}

func (m Maker) haproxy(p *v1alpha1.ModProxy, instances []route.Instance) *haproxy.Router {
	pods := haproxy.Pods{Reader: m.Applier.Live, Namespace: p.Namespace, Labels: haproxy.Selector(p.Name)}
	return &haproxy.Router{
		Owner: string(p.UID),
		Publisher: &haproxy.ConfigMap{
			Client: m.Applier.Client, Reader: m.Applier.Live, FieldOwner: m.Applier.FieldOwner,
			Namespace: p.Namespace, Name: haproxy.WeightsName(p.Name), Labels: labels(p),
			Owner: *metav1.NewControllerRef(p, v1alpha1.GroupVersion.WithKind(v1alpha1.ModProxyKind)),
		},
		Replicas: pods.Replicas, Starting: pods.All, HTTP: m.HTTP,
		Applier: m.Applier, Object: p, Params: m.params(p, instances),
	}
}

func labels(p *v1alpha1.ModProxy) map[string]string {
	return map[string]string{v1alpha1.ProxyLabel: p.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
}

func (m Maker) params(p *v1alpha1.ModProxy, instances []route.Instance) haproxy.Params {
	spec, template := p.Spec, podspec.ForRole(p.Spec.PodTemplate, p.Spec.Router.PodTemplate)
	params := haproxy.Params{
		Name: p.Name, Namespace: p.Namespace, Labels: labels(p),
		Replicas: spec.Router.Replicas, Service: serviceOf(p),
		PassModules:  spec.Router.ResponseVerification == v1alpha1.ResponseVerificationDisabled,
		HAProxyImage: m.Images.HAProxy, RouterImage: m.Images.Operator,
		HAProxyResources: podspec.Resources(podspec.Routing, nil, template), SidecarResources: podspec.Helper(template, "2", "512Mi"),
	}
	if athens(p) {
		params.DatabaseUpstreams = databaseUpstreams(p)
		if spec.PrivateModules != nil {
			params.Private = strings.Join(spec.PrivateModules.Patterns, ",")
		}
	}
	owner := ownership(spec.Instances)
	params.RunAsUser, params.RunAsGroup, params.FSGroup = owner.RunAsUser, owner.RunAsGroup, owner.FSGroup
	for _, i := range instances {
		params.Instances = append(params.Instances, haproxy.Instance{
			Name: i.Name, Address: i.Address, External: i.External, CheckPort: i.CheckPort, Standby: i.Standby,
		})
	}
	if netpolicy.Managed(p, m.ManagerNamespace) {
		params.Network = &haproxy.Network{Clients: netpolicy.AdmitClients(p, []int32{haproxy.ClientPort}), ManagerNamespace: m.ManagerNamespace}
	}
	if spec.Router.TLS != nil {
		params.TLSSecret = spec.Router.TLS.SecretRef.Name
	}
	if spec.Router.ClientAuth != nil {
		params.ClientsSecret, params.ClientsWithheld = spec.Router.ClientAuth.SecretRef.Name, m.ClientsWithheld
	}
	if template != nil {
		var pod corev1.PodSpec
		podspec.Place(&pod, template, "", &metav1.LabelSelector{MatchLabels: haproxy.Selector(p.Name)})
		params.Labels, params.Annotations = podspec.Metadata(template, params.Labels)
		params.NodeSelector, params.Tolerations, params.Affinity = pod.NodeSelector, pod.Tolerations, pod.Affinity
		params.TopologySpreadConstraints = pod.TopologySpreadConstraints
		params.PriorityClassName, params.ImagePullSecrets = pod.PriorityClassName, pod.ImagePullSecrets
	}
	return params
}

// athens reports whether an instance runs Athens, which connects to the checksum
// database itself, whatever its upstream is.
func athens(p *v1alpha1.ModProxy) bool {
	return slices.ContainsFunc(p.Spec.Instances, func(i v1alpha1.ProxyInstance) bool {
		server := cmp.Or(i.Server, p.Spec.Server)
		return i.External == nil && server != nil && server.Type == v1alpha1.ServerAthens
	})
}

// databaseUpstreams are the servers of the upstream through which a checksum
// database is reached. A spec that names the database's URL decides it.
func databaseUpstreams(p *v1alpha1.ModProxy) []string {
	if p.Spec.Upstream == nil || len(strings.Fields(p.Spec.ChecksumDatabase)) > 1 || p.Spec.ChecksumDatabase == "off" {
		return nil
	}
	var all []string
	for _, entry := range strings.FieldsFunc(p.Spec.Upstream.Proxy, func(r rune) bool { return r == ',' || r == '|' }) {
		if u, err := url.Parse(strings.TrimSpace(entry)); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
			all = append(all, u.String())
		}
	}
	return all
}

// serviceOf is what the spec chooses of the router's Service.
func serviceOf(p *v1alpha1.ModProxy) route.Service {
	s := p.Spec.Router.Service
	return route.Service{
		Type: corev1.ServiceType(s.Type), Port: ptr.Deref(s.Port, 0), Labels: s.Labels, Annotations: s.Annotations,
		LoadBalancerClass: s.LoadBalancerClass, LoadBalancerSourceRanges: s.LoadBalancerSourceRanges,
	}
}

// defaultID is the default of every id in an ownership.
const defaultID = 65532

// ownership is the identity of the router's pods: that of the instances. HAProxy's
// public image names its user, which the kubelet cannot check against root, so an id
// is needed unless the platform assigns one. A proxy that has only external
// instances names none and gets the default.
func ownership(instances []v1alpha1.ProxyInstance) v1alpha1.Ownership {
	stores := 0
	for _, i := range instances {
		if i.Storage == nil {
			continue
		}
		if i.Storage.Ownership != nil {
			return *i.Storage.Ownership
		}
		stores++
	}
	if stores > 0 {
		return v1alpha1.Ownership{}
	}
	return v1alpha1.Ownership{RunAsUser: ptr.To[int64](defaultID), RunAsGroup: ptr.To[int64](defaultID), FSGroup: ptr.To[int64](defaultID)}
}
