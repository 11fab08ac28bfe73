package gauges

import (
	"context"
	"slices"
	"time"

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
var condition = NewMetric("gocache_object_condition",
	"1 for each condition of an object, with its present status and reason.",
	[]string{"kind", "namespace", "name", "type", "status", "reason"})

// suspended is exported for the objects of all kinds that have spec.suspend.
var suspended = NewMetric("gocache_object_suspended",
	"1 for an object with spec.suspend, 0 for others.",
	[]string{"kind", "namespace", "name"})

// Metric is a gauge of objects.
type Metric struct {
	Name, Help string
	Labels     []string
}

// NewMetric describes a gauge.
func NewMetric(name, help string, labels []string) *Metric {
	return &Metric{name, help, labels}
}

// Emit exports one value. The labels are in the order of the description.
type Emit func(metric *Metric, value float64, labels ...string)

// Part is the gauges of one kind.
type Part struct {
	// Metrics that Collect may emit, except those of [Emit.Object].
	Metrics []*Metric
	// Collect emits the gauges of all objects. It must not change what it reads.
	Collect func(ctx context.Context, objects Objects, emit Emit) error
}

// has reports whether Collect may emit a selected metric.
func (p Part) has(selected func(name string) bool) bool {
	is := func(m *Metric) bool { return selected(m.Name) }
	return is(condition) || is(suspended) || slices.ContainsFunc(p.Metrics, is)
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
func (e Emit) Time(metric *Metric, t *metav1.Time, labels ...string) {
	if !t.IsZero() {
		e(metric, float64(t.UnixMilli())/1000, labels...)
	}
}

// Bytes emits a quantity, if there is one.
func (e Emit) Bytes(metric *Metric, q *resource.Quantity, labels ...string) {
	if q != nil {
		e(metric, q.AsApproximateFloat64(), labels...)
	}
}

// Verdict emits 1 for the verdict and 0 for the others, once there is one.
func (e Emit) Verdict(metric *Metric, verdict v1alpha1.Verdict, labels ...string) {
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

// collect returns the series of the selected metrics of all parts. A part that cannot be
// read is left out, and does not keep the scraper from the others, also if it panics over
// what an object contains.
func collect(ctx context.Context, objects Objects, parts []Part, selected func(name string) bool) *table {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	all := newTable(selected)
	for _, p := range parts {
		if !p.has(selected) {
			continue
		}
		var err error
		if panicked := untrusted.Read(func() { err = p.Collect(ctx, objects, all.add) }); panicked != nil {
			ctrl.Log.WithName("metrics").Error(panicked.Cause, "Gauges are missing in this scrape", "stack", panicked.Stack)
			continue
		}
		if err != nil {
			ctrl.Log.WithName("metrics").Error(err, "Gauges are missing in this scrape")
		}
	}
	return all
}
