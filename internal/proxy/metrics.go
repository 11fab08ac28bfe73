package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gocache.dev/operator/internal/domain/policy"
	"gocache.dev/operator/internal/domain/probe"
)

// metrics are the instance's own; each has a registry so that tests and
// several servers in one process do not meet.
type metrics struct {
	registry         *prometheus.Registry
	requests         *prometheus.CounterVec
	durations        *prometheus.HistogramVec
	inFlight         prometheus.Gauge
	upstreamRequests *prometheus.CounterVec
	upstreamDuration prometheus.Histogram
	upstreamBytes    prometheus.Counter
	peerRequests     *prometheus.CounterVec
	peerBytes        prometheus.Counter
	storeReads       *prometheus.CounterVec
	storeWrites      *prometheus.CounterVec
	policyDecisions  *prometheus.CounterVec
	policyHash       *prometheus.GaugeVec
	evictions        prometheus.Counter
	evictedBytes     prometheus.Counter

	mu    sync.Mutex
	rules map[string]bool // of the policy in force
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_proxy_requests_total", Help: "Requests answered, by kind of file and status."}, []string{"kind", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gocache_proxy_request_duration_seconds", Help: "Time until a request was answered in full.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)}, []string{"kind"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gocache_proxy_requests_in_flight", Help: "Requests being answered."}),
		upstreamRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_proxy_upstream_requests_total", Help: "Requests sent upstream, by result."}, []string{"result"}),
		upstreamDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gocache_proxy_upstream_duration_seconds", Help: "Time until an upstream began its answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 8)}),
		upstreamBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gocache_proxy_upstream_received_bytes_total", Help: "Bytes of files received from the upstream."}),
		peerRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_proxy_peer_requests_total", Help: "Requests to other instances of the proxy for what they have stored, by result: hit, miss, failed."}, []string{"result"}),
		peerBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gocache_proxy_peer_received_bytes_total", Help: "Bytes of files received from other instances of the proxy, in place of the upstream."}),
		storeReads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_proxy_store_reads_total", Help: "Files looked for in the store, by what was found."}, []string{"result"}),
		policyDecisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_proxy_policy_decisions_total", Help: "Requests that the policy decided on, by rule (deny/NAME, advisory/ID, allow, minimumAge) and result: refused, left_out (an answer without such versions) or dry_run (served all the same)."}, []string{"rule", "result"}),
		policyHash: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gocache_proxy_policy_info", Help: "1 for the policy in force, by the beginning of its SHA-256 and its mode."}, []string{"hash", "mode"}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gocache_proxy_store_evictions_total", Help: "Archives removed from the store to make room for others."}),
		evictedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gocache_proxy_store_evicted_bytes_total", Help: "Bytes of these archives."}),
		storeWrites: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocache_proxy_store_writes_total", Help: "Files written to the store, by result."}, []string{"result"}),
	}
	m.registry.MustRegister(m.requests, m.durations, m.inFlight, m.upstreamRequests, m.upstreamDuration, m.upstreamBytes, m.peerRequests, m.peerBytes, m.storeReads,
		m.storeWrites, m.policyDecisions, m.policyHash, m.evictions, m.evictedBytes, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watchStore publishes the figures of the last completed check.
func (m *metrics) watchStore(latest func() Report, full func() bool) {
	gauge := func(name, help string, value func(Report) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(latest()) })
	}
	m.registry.MustRegister(
		gauge("gocache_proxy_volume_used_bytes", "Bytes used on the store's volume.",
			func(r Report) float64 { return float64(r.Used) }),
		gauge("gocache_proxy_volume_available_bytes", "Bytes that the store can still use.",
			func(r Report) float64 { return float64(r.Free) }),
		gauge("gocache_proxy_volume_capacity_bytes", "Size of the store's volume.",
			func(r Report) float64 { return float64(r.Capacity) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: probe.StoreFullMetric,
			Help: "1 while the store is full: within a quarter of an hour a file could not be stored for lack of space, or the removal of archives cannot bring the volume below its limit."},
			func() float64 {
				if full() {
					return 1
				}
				return 0
			}),
		gauge("gocache_proxy_ready", "1 when the store is fit to serve from.", func(r Report) float64 {
			if r.Problem != "" {
				return 0
			}
			return 1
		}))
}

// watchMoved publishes how many versions were moved.
func (m *metrics) watchMoved(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: probe.MovedMetric,
		Help: "Versions of private modules whose tag was moved to another commit after they were stored, since the start of the instance, 16 at most. The stored version is served."},
		func() float64 { return float64(count()) }))
}

// proxies is the checksum database that clients reach through this instance;
// "": none.
func (m *metrics) proxies(database string) {
	if database == "" {
		return
	}
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: probe.DatabaseMetric, Help: "1 for the checksum database that clients reach through this instance."}, []string{probe.DatabaseLabel})
	gauge.WithLabelValues(database).Set(1)
	m.registry.MustRegister(gauge)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

func (m *metrics) request(kind string, code int, took time.Duration) {
	m.requests.WithLabelValues(kind, strconv.Itoa(code)).Inc()
	m.durations.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *metrics) upstream(status int, err error, took time.Duration) {
	result := "ok"
	switch {
	case errors.Is(err, context.Canceled):
		result = "canceled"
	case isTimeout(err):
		result = "timeout"
	case err != nil:
		result = "unreachable"
	case status == http.StatusNotFound || status == http.StatusGone:
		result = "not_found"
	case status >= http.StatusInternalServerError:
		result = "server_error"
	case status >= http.StatusBadRequest:
		result = "refused"
	}
	m.upstreamRequests.WithLabelValues(result).Inc()
	m.upstreamDuration.Observe(took.Seconds())
}

func (m *metrics) peer(result string) { m.peerRequests.WithLabelValues(result).Inc() }

func (m *metrics) policy(rule, result string) { m.policyDecisions.WithLabelValues(rule, result).Inc() }

// policyInForce publishes which policy is, and forgets the rules of the one before.
func (m *metrics) policyInForce(hash string, p *policy.Policy) {
	m.policyHash.Reset()
	m.policyHash.WithLabelValues(hash, string(p.Mode)).Set(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	rules := p.Rules()
	for rule := range m.rules {
		if !rules[rule] {
			m.policyDecisions.DeletePartialMatch(prometheus.Labels{"rule": rule})
		}
	}
	m.rules = rules
}

func (m *metrics) received(n int) { m.upstreamBytes.Add(float64(n)) }

func (m *metrics) receivedFromPeer(n int) { m.peerBytes.Add(float64(n)) }

func (m *metrics) evicted(size int64) {
	m.evictions.Inc()
	m.evictedBytes.Add(float64(size))
}

func (m *metrics) storeRead(verdict readVerdict) {
	m.storeReads.WithLabelValues(string(verdict)).Inc()
}

func (m *metrics) storeWrite(err error) {
	result := "ok"
	switch {
	case isFull(err):
		result = "full"
	case err != nil:
		result = "failed"
	}
	m.storeWrites.WithLabelValues(result).Inc()
}

// isFull reports whether there was no space for a file.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
