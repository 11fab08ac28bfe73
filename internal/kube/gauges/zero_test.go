package gauges_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/gauges"
)

// TestZero holds that a series of each combination of values is there before the first
// event, and that a number of values which is not that of the labels is a defect.
func TestZero(t *testing.T) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "test_total", Help: "x"}, []string{"kind", "outcome"})
	gauges.Zero(counter.MetricVec, []string{"a", "b"}, []string{"c", "d"})
	want := `
# HELP test_total x
# TYPE test_total counter
test_total{kind="a",outcome="c"} 0
test_total{kind="a",outcome="d"} 0
test_total{kind="b",outcome="c"} 0
test_total{kind="b",outcome="d"} 0
`
	if err := testutil.CollectAndCompare(counter, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("values of a label that does not exist are accepted")
		}
	}()
	gauges.Zero(counter.MetricVec, []string{"a"})
}

// manager is elected from the start.
type manager struct {
	ctrl.Manager
	elected chan struct{}
}

func (m manager) GetClient() client.Client { return nil }

func (m manager) Elected() <-chan struct{} { return m.elected }

// registry refuses to register.
type registry struct {
	*prometheus.Registry
	err error
}

func (r registry) Register(c prometheus.Collector) error {
	if r.err != nil {
		return r.err
	}
	return r.Registry.Register(c)
}

// TestRegister holds that the gauges of the manager that was made last are exported, and
// that a registry which refuses them is an error.
func TestRegister(t *testing.T) {
	desc := prometheus.NewDesc("test_registered", "x", nil, nil)
	elected := make(chan struct{})
	close(elected)
	r := prometheus.NewRegistry()
	for _, value := range []float64{1, 2} {
		part := gauges.Part{Metrics: []*prometheus.Desc{desc}, Collect: func(_ context.Context, _ client.Reader, emit gauges.Emit) error {
			emit(desc, value)
			return nil
		}}
		if err := gauges.Register(r, manager{elected: elected}, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := testutil.GatherAndCompare(r, strings.NewReader("# HELP test_registered x\n# TYPE test_registered gauge\ntest_registered 2\n")); err != nil {
		t.Error(err)
	}
	broken := errors.New("no room")
	if err := gauges.Register(registry{prometheus.NewRegistry(), broken}, manager{elected: elected}); !errors.Is(err, broken) {
		t.Errorf("a registry that refuses: %v", err)
	}
}
