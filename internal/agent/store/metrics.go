package store

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
)

type metrics struct {
	registry  *prometheus.Registry
	verdict   *prometheus.GaugeVec
	findings  *prometheus.GaugeVec
	bytes     prometheus.Counter
	withdrawn *prometheus.CounterVec
	duration  prometheus.Gauge
	checked   prometheus.Gauge
}

func newMetrics(u *usage) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.verdict = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gocache_store_verdict", Help: "1 for the verdict of the last check of the store, 0 for the others.",
	}, []string{"verdict"})
	m.findings = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gocache_store_findings", Help: "Findings of the last check of the store, by class.",
	}, []string{"class"})
	m.bytes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocache_store_checked_bytes_total", Help: "Bytes hashed by checks of the store.",
	})
	m.withdrawn = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocache_store_withdrawn_total", Help: "Entries that a check removed from the store because they were wrong, by class of finding.",
	}, []string{"class"})
	m.duration = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gocache_store_check_duration_seconds", Help: "Duration of the last check of the store.",
	})
	m.checked = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gocache_store_check_timestamp_seconds", Help: "Time of the last check of the store.",
	})
	space := func(name, help string, of func(volume.Space) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s, err := u.space()
			if err != nil {
				return -1
			}
			return float64(of(s))
		})
	}
	m.registry.MustRegister(m.verdict, m.findings, m.bytes, m.withdrawn, m.duration, m.checked,
		space(probe.StoreUsedMetric, "Bytes used on the store's volume.", func(s volume.Space) int64 { return s.Used }),
		space("gocache_store_capacity_bytes", "Size of the store's volume.", func(s volume.Space) int64 { return s.Capacity }),
		space(probe.StoreAvailableMetric, "Bytes that can still be written to the store's volume.", func(s volume.Space) int64 { return s.Available }),
	)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) publish(v integrity.Verdict, now time.Time) {
	for _, o := range []integrity.Outcome{integrity.Intact, integrity.OutcomeCorrupt, integrity.Inconclusive} {
		value := 0.0
		if v.Verdict == o {
			value = 1
		}
		m.verdict.WithLabelValues(string(o)).Set(value)
	}
	m.findings.Reset()
	for class, n := range v.Findings {
		m.findings.WithLabelValues(string(class)).Set(float64(n))
	}
	m.bytes.Add(float64(v.Bytes))
	m.duration.Set(v.DurationSeconds)
	m.checked.Set(float64(now.Unix()))
}
