package gauges

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/untrusted"
)

// scrapeTimeout is how long a scrape waits for the cache, which answers at once
// when it is in sync.
const scrapeTimeout = 3 * time.Second

// condition is exported for the objects of all kinds.
var condition = prometheus.NewDesc("gocache_object_condition",
	"1 for each condition of an object, with its present status and reason.",
	[]string{"kind", "namespace", "name", "type", "status", "reason"}, nil)

// suspended is exported for the objects of all kinds that have spec.suspend.
var suspended = prometheus.NewDesc("gocache_object_suspended",
	"1 for an object with spec.suspend, 0 for others.",
	[]string{"kind", "namespace", "name"}, nil)

// Emit exports one value. The labels are in the order of the description.
type Emit func(metric *prometheus.Desc, value float64, labels ...string)

// Part is the gauges of one kind.
type Part struct {
	// Metrics that Collect may emit, except those of [Emit.Object].
	Metrics []*prometheus.Desc
	// Collect emits the gauges of all objects. It must not change what it reads.
	Collect func(ctx context.Context, r client.Reader, emit Emit) error
}

// Object emits what objects of all kinds have: their conditions, and whether they
// are suspended.
func (e Emit) Object(kind string, o client.Object, suspend bool, conditions []metav1.Condition) {
	for i := range conditions {
		c := &conditions[i]
		e(condition, 1, kind, o.GetNamespace(), o.GetName(), c.Type, string(c.Status), c.Reason)
	}
	e(suspended, Bool(suspend), kind, o.GetNamespace(), o.GetName())
}

// Time emits the seconds since 1970 of a time, if there is one.
func (e Emit) Time(metric *prometheus.Desc, t *metav1.Time, labels ...string) {
	if !t.IsZero() {
		e(metric, float64(t.UnixMilli())/1000, labels...)
	}
}

// Bytes emits a quantity, if there is one.
func (e Emit) Bytes(metric *prometheus.Desc, q *resource.Quantity, labels ...string) {
	if q != nil {
		e(metric, q.AsApproximateFloat64(), labels...)
	}
}

// Verdict emits 1 for the verdict and 0 for the others, once there is one.
func (e Emit) Verdict(metric *prometheus.Desc, verdict v1alpha1.Verdict, labels ...string) {
	if verdict == "" {
		return
	}
	for _, v := range Verdicts {
		e(metric, Bool(v == string(verdict)), append(append([]string(nil), labels...), v)...)
	}
}

// Bool is 1 for true and 0 for false.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Register exports the parts from a manager, in place of those that another
// manager of this process has registered.
func Register(registry prometheus.Registerer, mgr ctrl.Manager, parts ...Part) error {
	c := New(mgr.GetClient(), mgr.Elected(), parts...)
	err := registry.Register(c)
	if earlier, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		registry.Unregister(earlier.ExistingCollector)
		err = registry.Register(c)
	}
	if err != nil {
		return fmt.Errorf("register the gauges of objects: %w", err)
	}
	return nil
}

// New returns a collector of the parts. It emits nothing before elected is closed.
func New(r client.Reader, elected <-chan struct{}, parts ...Part) prometheus.Collector {
	return &collector{reader: r, elected: elected, parts: parts}
}

type collector struct {
	reader  client.Reader
	elected <-chan struct{}
	parts   []Part
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- condition
	ch <- suspended
	for _, p := range c.parts {
		for _, m := range p.Metrics {
			ch <- m
		}
	}
}

// Collect implements prometheus.Collector. A part that cannot be read is left out,
// and does not keep the scraper from the others. The registry runs it in a goroutine of
// its own, so that a panic over what an object contains would end the process.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-c.elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all := pairs{}
	emit := func(metric *prometheus.Desc, value float64, labels ...string) {
		ch <- all.share(prometheus.MustNewConstMetric(metric, prometheus.GaugeValue, value, labels...))
	}
	for _, p := range c.parts {
		var err error
		if panicked := untrusted.Read(func() { err = p.Collect(ctx, c.reader, emit) }); panicked != nil {
			ctrl.Log.WithName("metrics").Error(panicked.Cause, "Gauges are missing in this scrape", "stack", panicked.Stack)
			continue
		}
		if err != nil {
			ctrl.Log.WithName("metrics").Error(err, "Gauges are missing in this scrape")
		}
	}
}
