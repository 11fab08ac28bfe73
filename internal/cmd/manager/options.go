package manager

import (
	"os"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spf13/pflag"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/cached"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/pushes"
)

// leaderElectionID names the Lease; two operators of this project in one
// cluster, watching the same namespaces, must agree on it.
const leaderElectionID = "manager.cache.gocache.dev"

// options are the flags of the manager, and what serves its metrics.
type options struct {
	exporter gauges.Exporter

	images                         images.Images
	namespace                      string
	watchNamespaces                []string
	leaderElect                    bool
	leaderElectionNamespace        string
	metricsAddress                 string
	metricsSecure                  bool
	metricsCertDir                 string
	probeAddress                   string
	push                           pushes.Server
	maxSnapshots, maxVerifications int
	allowLoopback, refusePrivate   bool
}

// bind declares the flags. Images may also come from the environment, which a
// Deployment can fill from one place; a flag wins over it.
func (o *options) bind(f *pflag.FlagSet) {
	f.StringVar(&o.images.Operator, "operator-image", os.Getenv("OPERATOR_IMAGE"),
		"image of the operator's own programs in the pods it makes: best the one it runs in itself [OPERATOR_IMAGE]")
	f.StringVar(&o.images.Toolchain, "toolchain-image", envOr("TOOLCHAIN_IMAGE", images.DefaultToolchain),
		"pattern of the Go toolchain's images; "+images.VersionPlaceholder+" becomes a release such as 1.26.8 [TOOLCHAIN_IMAGE]")
	f.StringVar(&o.images.HAProxy, "haproxy-image", envOr("HAPROXY_IMAGE", images.DefaultHAProxy),
		"image of HAProxy, 2.6 or newer [HAPROXY_IMAGE]")
	f.StringVar(&o.images.Athens, "athens-image", os.Getenv("ATHENS_IMAGE"),
		"image of Athens for proxy instances with server.type Athens that name none (default: none) [ATHENS_IMAGE]")
	f.StringSliceVar(&o.watchNamespaces, "watch-namespace", nil,
		"namespaces to work in, repeated or separated by commas (default: all)")
	f.StringVar(&o.namespace, "manager-namespace", ownNamespace(serviceAccountNamespace),
		"namespace that this process runs in, which the NetworkPolicies of ModProxies admit [POD_NAMESPACE] (default: that of the pod)")
	f.BoolVar(&o.leaderElect, "leader-elect", false,
		"work only while holding the lease; needed with more than one replica")
	f.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "",
		"namespace of the lease (default: the namespace this process runs in)")
	f.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443",
		"address that serves /metrics; 0 serves none")
	f.BoolVar(&o.metricsSecure, "metrics-secure", true,
		"serve metrics over TLS, to authenticated and authorized callers only")
	f.StringVar(&o.metricsCertDir, "metrics-cert-dir", "",
		"directory with tls.crt and tls.key for metrics (default: a self-signed certificate)")
	o.push.Bind(f)
	f.IntVar(&o.maxSnapshots, "max-concurrent-snapshots", 8,
		"CSI snapshots that are being created at once, in all namespaces; 0 is no bound")
	f.IntVar(&o.maxVerifications, "max-concurrent-verifications", 4,
		"snapshots that are verified at once, in all namespaces; 0 is no bound")
	f.BoolVar(&o.allowLoopback, "allow-loopback-addresses", false,
		"connect to git servers, external instances and webhooks on loopback addresses too; for development only")
	f.BoolVar(&o.refusePrivate, "refuse-private-addresses", false,
		"connect to no git server, external instance or webhook at a private address, such as one in the cluster")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081",
		"address that serves /healthz and /readyz")
}

// manager returns the controller-runtime options that the flags ask for.
func (o *options) manager() ctrl.Options {
	return ctrl.Options{
		Scheme: newScheme(), NewCache: newCache, NewClient: cached.New,
		Cache: cache.Options{
			DefaultNamespaces: namespaces(o.watchNamespaces),
			ByObject:          onlyOurs(),
			DefaultTransform:  cached.Trim,
		},
		Client: client.Options{Cache: &client.CacheOptions{
			DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}},
		}},
		Metrics:                       o.metrics(),
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       o.leaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
	}
}

// namespaces converts the flag into the option of the cache; nil is all
// namespaces.
func namespaces(names []string) map[string]cache.Config {
	if len(names) == 0 {
		return nil
	}
	m := make(map[string]cache.Config, len(names))
	for _, name := range names {
		m[name] = cache.Config{}
	}
	return m
}

// newScheme has every kind that the operator reads or writes. Registering a
// kind fails only when two packages register the same one: a mistake in the
// program that no caller can fix.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(snapshotv1.AddToScheme(s))
	utilruntime.Must(gatewayv1.Install(s))
	return s
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
