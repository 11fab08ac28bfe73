package manager

import (
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gocache.dev/operator/internal/domain/version"
)

// buildInfo is constant: its labels name the build.
func buildInfo(i version.Info) prometheus.Collector {
	m := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gocache_build_info", Help: "1, labelled with the version, commit and Go release of the manager.",
	}, []string{"version", "commit", "go"})
	m.WithLabelValues(i.Version, i.Commit, i.Go).Set(1)
	return m
}

// metrics returns how metrics are served.
func (o *options) metrics() metricsserver.Options {
	m := metricsserver.Options{
		BindAddress:   o.metricsAddress,
		SecureServing: o.metricsSecure,
		CertDir:       o.metricsCertDir,
		TLSOpts:       []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }},
	}
	m.FilterProvider = func(c *rest.Config, client *http.Client) (metricsserver.Filter, error) {
		if !o.metricsSecure {
			return func(_ logr.Logger, served http.Handler) (http.Handler, error) { return o.withObjects(served), nil }, nil
		}
		authorize, err := filters.WithAuthenticationAndAuthorization(c, client)
		if err != nil {
			return nil, fmt.Errorf("make the authorization of metrics: %w", err)
		}
		return func(log logr.Logger, served http.Handler) (http.Handler, error) {
			return authorize(log, o.withObjects(served))
		}, nil
	}
	return m
}

// withObjects serves the metrics itself, with those of objects, and leaves all other paths to
// what is served there. The server takes no handler of metrics but in a filter; its
// HandlerOpts are those of the handler that this one replaces.
func (o *options) withObjects(served http.Handler) http.Handler {
	all := o.exporter.Handler(metrics.Registry)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			all.ServeHTTP(w, r)
			return
		}
		served.ServeHTTP(w, r)
	})
}
