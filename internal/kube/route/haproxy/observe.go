package haproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/certificate"
)

const (
	// observeTimeout bounds the reading of all replicas together: others wait meanwhile.
	observeTimeout    = 2 * time.Second
	maxExporterAnswer = 8 << 20
	// maxMetrics is the size of those metrics of an exporter that are read, at most: the
	// eight instances that a proxy may have need a tenth of it.
	maxMetrics = 128 << 10
	// maxReplicas is how many pods a router may have: twice the 16 of the schema, while it
	// is updated. Any client that may create pods can add more.
	maxReplicas = 32
)

// Names in haproxy.cfg and of the exporter's metrics.
const (
	instancesBackend  = "instances"
	lastResortBackend = "last-resort"
	statusMetric      = "haproxy_server_status"
	weightMetric      = "haproxy_server_weight"
)

// Replica is a running HAProxy.
type Replica struct {
	Name string
	// Metrics is the URL of its exporter.
	Metrics string
	// Certificate is the URL at which its sidecar reports on the certificate.
	Certificate string
}

// Pods finds the router's ready pods.
type Pods struct {
	Reader    client.Reader
	Namespace string
	// Labels select the router's pods.
	Labels map[string]string
}

// Replicas lists the pods that take clients.
func (p Pods) Replicas(ctx context.Context) ([]Replica, error) { return p.list(ctx, ready) }

// All lists the pods that run, also those that take no clients yet. Evicted ones stay
// until they are collected, and may still have an address.
func (p Pods) All(ctx context.Context) ([]Replica, error) {
	return p.list(ctx, func(pod *corev1.Pod) bool {
		return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded
	})
}

func (p Pods) list(ctx context.Context, desired func(*corev1.Pod) bool) ([]Replica, error) {
	var replicas []Replica
	for pod, err := range read.All[corev1.Pod](ctx, p.Reader, &corev1.PodList{}, client.InNamespace(p.Namespace), client.MatchingLabels(p.Labels)) {
		if err != nil {
			return nil, fmt.Errorf("list the router's pods: %w", err)
		}
		if pod.Status.PodIP == "" || !desired(pod) {
			continue
		}
		if len(replicas) == maxReplicas {
			return nil, fmt.Errorf("more than %d pods have the labels of the router: delete those that are not its own", maxReplicas)
		}
		address := func(port int) string { return "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)) }
		replicas = append(replicas, Replica{
			Name: pod.Name, Metrics: address(PagesPort) + "/metrics", Certificate: address(SidecarPort) + certificate.Path,
		})
	}
	return replicas, nil
}

// ready reports whether clients may reach the pod: a terminating one still
// finishes what it began, but gets nothing new.
func ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// observe asks all replicas at once. What they answer is parsed one after the other, which
// needs many times its size.
func observe(ctx context.Context, client *http.Client, replicas []Replica) route.Observation {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	result := make([]route.Replica, len(replicas))
	var parsing sync.Mutex
	var group sync.WaitGroup
	for i, replica := range replicas {
		group.Go(func() {
			var servers map[string]route.Observed
			err := readAnswer(ctx, replica, func() error {
				text, err := scrape(ctx, client, replica.Metrics)
				if err != nil {
					return err
				}
				parsing.Lock()
				defer parsing.Unlock()
				servers, err = parse(text)
				return err
			})
			result[i] = route.Replica{Name: replica.Name, Servers: servers}
			if err != nil {
				result[i].Problem = err.Error()
			}
		})
	}
	group.Wait()
	return route.Observation{Replicas: result}
}

// readAnswer runs what reads the answer of a replica. Labels make a pod a
// replica, and another one may have them: what it sends must not end the process.
func readAnswer(ctx context.Context, replica Replica, answer func() error) (err error) {
	panicked := untrusted.Read(func() { err = answer() })
	if panicked == nil {
		return err
	}
	log.FromContext(ctx).Error(panicked.Cause, "Reading the answer of a router failed", "pod", replica.Name, "stack", panicked.Stack)
	return panicked
}

// scrape reads those of a replica's metrics that are needed.
func scrape(ctx context.Context, client *http.Client, url string) (io.Reader, error) {
	resp, err := get(ctx, client, url, http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read only
	return selected(io.LimitReader(resp.Body, maxExporterAnswer))
}

// get asks a replica. Labels make a pod a replica, and any client that may create pods can
// set them: the error holds nothing that was sent, as users read it in a status.
func get(ctx context.Context, client *http.Client, url string, expected ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %s", url, untrusted.Cause(err))
	}
	if !slices.Contains(expected, resp.StatusCode) {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("GET %s: status %d", url, resp.StatusCode)
	}
	return resp, nil
}

// server is the exporter's metrics of a server in one backend.
type server struct {
	status string // UP, DOWN, DRAIN, MAINT or NOLB
	weight int
}

// parse reads the selected metrics of HAProxy's Prometheus exporter.
func parse(text io.Reader) (map[string]route.Observed, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("read HAProxy's metrics: %w", err)
	}
	backends := map[string]map[string]*server{instancesBackend: {}, lastResortBackend: {}}
	each(families[statusMetric], func(labels map[string]string, value float64) {
		if s := entry(backends, labels); s != nil && value == 1 {
			s.status = labels["state"]
		}
	})
	each(families[weightMetric], func(labels map[string]string, value float64) {
		if s := entry(backends, labels); s != nil {
			s.weight = int(value)
		}
	})
	observed := make(map[string]route.Observed, len(backends[instancesBackend]))
	for name, s := range backends[instancesBackend] {
		last := backends[lastResortBackend][name]
		if last == nil || s.status == "" || last.status == "" {
			return nil, fmt.Errorf("read HAProxy's metrics: they lack the status of server %s", name)
		}
		observed[name] = conclude(*s, *last)
	}
	return observed, nil
}

// selected are the metrics that are needed of an exporter's: a pod with the labels of a router
// may answer anything, and parsed, metrics need many times their size.
func selected(text io.Reader) (io.Reader, error) {
	var left bytes.Buffer
	for lines := bufio.NewScanner(text); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return nil, fmt.Errorf("read HAProxy's metrics: %w", err)
			}
			return &left, nil
		}
		line := lines.Bytes()
		of := bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("# TYPE ")), []byte("# HELP "))
		if !bytes.HasPrefix(of, []byte(statusMetric)) && !bytes.HasPrefix(of, []byte(weightMetric)) {
			continue
		}
		if left.Len()+len(line) >= maxMetrics {
			return nil, fmt.Errorf("read HAProxy's metrics: more than %d KiB are about servers", maxMetrics>>10)
		}
		left.Write(line)
		left.WriteByte('\n')
	}
}

// conclude derives what HAProxy does with a server. In the first backend DOWN
// may mean quarantined or dead; the second, which has no health checks, shows
// which, and by its weight also whether the server is to be used or drained:
// the sidecar answers there 100 % or 1 %. While the two disagree the change is
// under way, and what the first does is what counts.
func conclude(instances, lastResort server) route.Observed {
	intent := route.Down
	if lastResort.status == "UP" || lastResort.status == "NOLB" {
		intent = route.Ready
		if lastResort.weight <= 1 {
			intent = route.Drain
		}
	}
	switch instances.status {
	case "UP", "NOLB":
		return route.Observed{State: route.Ready, Weight: instances.weight, Healthy: true}
	case "DRAIN":
		return route.Observed{State: route.Drain, Healthy: true}
	case "MAINT": // no agent has opened it yet
		return route.Observed{State: route.Down}
	}
	if intent != route.Ready {
		return route.Observed{State: intent}
	}
	return route.Observed{State: route.Ready, Weight: instances.weight}
}

func entry(backends map[string]map[string]*server, labels map[string]string) *server {
	backend, ok := backends[labels["proxy"]]
	if !ok {
		return nil
	}
	name := labels["server"]
	if backend[name] == nil {
		backend[name] = &server{}
	}
	return backend[name]
}

func each(family *dto.MetricFamily, do func(labels map[string]string, value float64)) {
	for _, metric := range family.GetMetric() {
		labels := map[string]string{}
		for _, pair := range metric.GetLabel() {
			labels[pair.GetName()] = pair.GetValue()
		}
		do(labels, metric.GetGauge().GetValue())
	}
}
