package gauges_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
)

var (
	verdict = gauges.NewMetric("test_verdict", "x", []string{"name", "verdict"})
	when    = gauges.NewMetric("test_time_seconds", "x", []string{"name"})
	size    = gauges.NewMetric("test_bytes", "x", []string{"name"})
)

// scrape is what a handler answers.
func scrape(t *testing.T, h http.Handler, accept string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// served is what a handler answers over a connection.
func served(t *testing.T, h http.Handler, compressed bool) *http.Response {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := &http.Client{Transport: &http.Transport{DisableCompression: !compressed}}
	res, err := c.Get(s.URL) //nolint:noctx // on this machine
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func text(t *testing.T, h http.Handler) string {
	t.Helper()
	b, err := io.ReadAll(scrape(t, h, "").Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestExport holds what is exported, that nothing is while another replica leads, and
// that a kind that cannot be read, or panics, does not take the others with it.
func TestExport(t *testing.T) {
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci"}}
	good := gauges.Part{Metrics: []*gauges.Metric{verdict, when, size}, Collect: func(ctx context.Context, _ gauges.Objects, emit gauges.Emit) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a scrape is not bounded")
		}
		emit.Object("GoCache", cache, true, []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Error"}})
		emit.Verdict(verdict, v1alpha1.VerdictCorrupt, "ci")
		emit.Verdict(verdict, "", "none")
		emit.Time(when, ptr.To(metav1.NewTime(time.UnixMilli(1500))), "ci")
		emit.Time(when, nil, "none")
		emit.Time(when, &metav1.Time{}, "none")
		emit.Bytes(size, ptr.To(resource.MustParse("1Ki")), "ci")
		emit.Bytes(size, nil, "none")
		return nil
	}}
	broken := gauges.Part{Collect: func(context.Context, gauges.Objects, gauges.Emit) error { return errors.New("no cache") }}
	defect := gauges.Part{Collect: func(context.Context, gauges.Objects, gauges.Emit) error { panic("what an object contains") }}
	wrong := gauges.Part{Collect: func(_ context.Context, _ gauges.Objects, emit gauges.Emit) error {
		emit(when, 1, "ci", "one too many")
		return nil
	}}
	registry, elected := prometheus.NewPedanticRegistry(), make(chan struct{})
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "test_total", Help: "x"})
	registry.MustRegister(other)
	e := &gauges.Exporter{}
	h := e.Handler(registry)
	const always = "# HELP test_total x\n# TYPE test_total counter\ntest_total 0\n"
	if diff := cmp.Diff(always, text(t, h)); diff != "" {
		t.Errorf("before the manager is there (-want +got):\n%s", diff)
	}
	e.Export(nil, elected, broken, defect, wrong, good)
	if diff := cmp.Diff(always, text(t, h)); diff != "" {
		t.Errorf("before the election (-want +got):\n%s", diff)
	}
	close(elected)
	want := always + `# HELP gocache_object_condition 1 for each condition of an object, with its present status and reason.
# TYPE gocache_object_condition gauge
gocache_object_condition{kind="GoCache",name="ci",namespace="n",reason="Error",status="False",type="Ready"} 1
# HELP gocache_object_suspended 1 for an object with spec.suspend, 0 for others.
# TYPE gocache_object_suspended gauge
gocache_object_suspended{kind="GoCache",name="ci",namespace="n"} 1
# HELP test_bytes x
# TYPE test_bytes gauge
test_bytes{name="ci"} 1024
# HELP test_time_seconds x
# TYPE test_time_seconds gauge
test_time_seconds{name="ci"} 1.5
# HELP test_verdict x
# TYPE test_verdict gauge
test_verdict{name="ci",verdict="Intact"} 0
test_verdict{name="ci",verdict="Corrupt"} 1
test_verdict{name="ci",verdict="Inconclusive"} 0
`
	if diff := cmp.Diff(want, text(t, h)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMany holds that all series of a metric, of which there are more than are encoded at
// once, stand under one head, whatever format is asked for, compressed and not.
func TestMany(t *testing.T) {
	const n = 2500
	part := gauges.Part{Collect: func(_ context.Context, _ gauges.Objects, emit gauges.Emit) error {
		for i := range n {
			emit(verdict, float64(i), fmt.Sprintf("\"%d\"\n\\", i), fmt.Sprint(i%3))
		}
		return nil
	}}
	e := &gauges.Exporter{}
	e.Export(nil, closed(), part)
	want := &dto.MetricFamily{Name: ptr.To("test_verdict"), Help: ptr.To("x"), Type: dto.MetricType_GAUGE.Enum()}
	for i := range n {
		want.Metric = append(want.Metric, &dto.Metric{Gauge: &dto.Gauge{Value: ptr.To(float64(i))}, Label: []*dto.LabelPair{
			{Name: ptr.To("name"), Value: ptr.To(fmt.Sprintf("\"%d\"\n\\", i))}, {Name: ptr.To("verdict"), Value: ptr.To(fmt.Sprint(i % 3))},
		}})
	}
	h := e.Handler(prometheus.NewPedanticRegistry())
	for _, compressed := range []bool{true, false} {
		res := served(t, h, compressed)
		parser := expfmt.NewTextParser(model.LegacyValidation)
		got, err := parser.TextToMetricFamilies(res.Body)
		_ = res.Body.Close()
		if err != nil || res.Uncompressed != compressed || len(got) != 1 {
			t.Fatal(compressed, res.Uncompressed, len(got), err)
		}
		if diff := cmp.Diff(want.String(), got["test_verdict"].String()); diff != "" {
			t.Errorf("compressed %t (-want +got):\n%s", compressed, diff)
		}
	}
	if n := strings.Count(text(t, h), "#"); n != 2 {
		t.Errorf("%d comments, want 2", n)
	}
	if kind := scrape(t, h, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited").Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("of protobuf: %s", kind)
	}
}

// TestHostileLabels holds that a label with what no scraper accepts, or a long one, does not
// take the others with it: names of objects that do not exist are not checked by the API
// server.
func TestHostileLabels(t *testing.T) {
	part := gauges.Part{Collect: func(_ context.Context, _ gauges.Objects, emit gauges.Emit) error {
		emit(when, 1, "a\xffb")
		emit(when, 2, strings.Repeat("x", 1<<20))
		emit(when, 3, strings.Repeat("x", 1023)+"é")
		return nil
	}}
	e := &gauges.Exporter{}
	e.Export(nil, closed(), part)
	got := text(t, e.Handler(prometheus.NewPedanticRegistry()))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(got)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(got, "{name=\"a\uFFFDb\"} 1\n") || len(got) > 4<<10 {
		t.Errorf("%d bytes: %.200s", len(got), got)
	}
}

// TestNamed holds that a request for some metrics gets no others.
func TestNamed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"test_a", "test_b"} {
		registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name}))
	}
	e := &gauges.Exporter{}
	e.Export(nil, closed(), gauges.Part{Metrics: []*gauges.Metric{when, size}, Collect: func(_ context.Context, _ gauges.Objects, emit gauges.Emit) error {
		emit(when, 1, "x")
		emit(size, 2, "x")
		return nil
	}}, gauges.Part{Metrics: []*gauges.Metric{verdict}, Collect: func(context.Context, gauges.Objects, gauges.Emit) error {
		t.Error("objects are read of which no metric is named")
		return nil
	}})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics?name[]=test_b&name[]=test_bytes", nil)
	w := httptest.NewRecorder()
	e.Handler(registry).ServeHTTP(w, r)
	const want = "# HELP test_b \n# TYPE test_b gauge\ntest_b 0\n# HELP test_bytes x\n# TYPE test_bytes gauge\ntest_bytes{name=\"x\"} 2\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// refused is a collector that fails.
type refused struct{}

func (refused) Describe(ch chan<- *prometheus.Desc) {
	ch <- prometheus.NewDesc("test_total", "x", nil, nil)
}

func (refused) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("test_total", "x", nil, nil), errors.New("unknown"))
}

// TestUnreadableRegistry holds that a scraper gets an error and not a part of all.
func TestUnreadableRegistry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(refused{})
	res := scrape(t, (&gauges.Exporter{}).Handler(registry), "")
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), "unknown") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// unnamed is a registry with a metric that no format can express, after many that all can.
type unnamed struct{}

func (unnamed) Gather() ([]*dto.MetricFamily, error) {
	complete := &dto.MetricFamily{Name: ptr.To("test_bytes"), Type: dto.MetricType_GAUGE.Enum()}
	for i := range 20_000 {
		complete.Metric = append(complete.Metric, &dto.Metric{Gauge: &dto.Gauge{Value: ptr.To(float64(i))}})
	}
	return []*dto.MetricFamily{complete, {Type: dto.MetricType_GAUGE.Enum(), Metric: complete.GetMetric()}}, nil
}

// TestBrokenOff holds that what was sent before an error is not taken for all.
func TestBrokenOff(t *testing.T) {
	for _, compressed := range []bool{true, false} {
		res := served(t, (&gauges.Exporter{}).Handler(unnamed{}), compressed)
		sent, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Uncompressed != compressed || len(sent) < 64<<10 {
			t.Errorf("compressed %t: %d, %t, %d bytes; it ended before the error", compressed, res.StatusCode, res.Uncompressed, len(sent))
		}
		if err == nil {
			t.Errorf("compressed %t: a part is taken for all", compressed)
		}
	}
}
