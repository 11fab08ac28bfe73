package manager

import (
	"github.com/prometheus/client_golang/prometheus"

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
