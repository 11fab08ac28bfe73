package router

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// How a request ends that has waited for an instance.
const waitServed, waitFailed = "served", "failed"

type metrics struct {
	registry   *prometheus.Registry
	generation prometheus.Gauge
	errors     *prometheus.CounterVec
	answers    *prometheus.CounterVec
	spoiled    *prometheus.CounterVec
	waits      *prometheus.CounterVec

	certificateExpiry prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry:          prometheus.NewRegistry(),
		certificateExpiry: newCertificateExpiry(),
		generation: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gocache_router_weights_generation", Help: "Generation of the weights in force."}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_router_weights_errors_total", Help: "Weights that could not be read, by source."}, []string{"source"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_router_agent_answers_total", Help: "Answers to HAProxy, by server and state."}, []string{"server", "state"}),
		spoiled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_router_spoiled_answers_total", Help: "Answers that broke off, stopped, or did not match the checksum database, by instance and reason."}, []string{"instance", "reason"}),
		waits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_router_waits_total", Help: "Requests that waited because no instance accepted them, by outcome: served (an instance came back) or failed."}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.generation, m.errors, m.answers, m.spoiled, m.waits, m.certificateExpiry)
	for _, outcome := range []string{waitServed, waitFailed} {
		m.waits.WithLabelValues(outcome) // increase() of Prometheus misses the first event of a series that it begins
	}
	return m
}

// waited counts how a request ended that has waited for an instance.
func (m *metrics) waited(resp *http.Response, err error) {
	outcome := waitServed
	if err != nil || resp.Header.Get(absentHeader) != "" {
		outcome = waitFailed
	}
	m.waits.WithLabelValues(outcome).Inc()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
