package gauges_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
)

// heaviest is a response that looks, at each write, what the process holds.
type heaviest struct {
	http.ResponseWriter
	header http.Header
	most   int64
	bytes  int
}

func (h *heaviest) Header() http.Header { return h.header }

func (*heaviest) WriteHeader(int) {}

func (h *heaviest) Write(b []byte) (int, error) {
	if h.bytes>>22 != (h.bytes+len(b))>>22 || h.bytes == 0 { // every 4 MiB
		h.most = max(h.most, live())
	}
	h.bytes += len(b)
	return len(b), nil
}

// TestMemoryOfAScrape bounds what a scrape holds for each series: the manager of a large
// cluster has a million.
func TestMemoryOfAScrape(t *testing.T) {
	const objects, limit = 20_000, 60
	conditions := []metav1.Condition{
		{Type: "SnapshotReady", Status: metav1.ConditionTrue, Reason: "SnapshotCreated"},
		{Type: "Verified", Status: metav1.ConditionTrue, Reason: "Intact"},
		{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Intact"},
	}
	cached := make([]*v1alpha1.CacheSnapshot, objects)
	for i := range cached {
		cached[i] = &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("team-", i%500), Name: fmt.Sprint("cache-20261130-", i)}}
	}
	series := 0
	part := gauges.Part{Collect: func(_ context.Context, _ gauges.Objects, emit gauges.Emit) error {
		counted := gauges.Emit(func(metric *gauges.Metric, value float64, labels ...string) {
			series++
			emit(metric, value, labels...)
		})
		for _, s := range cached {
			counted.Object("CacheSnapshot", s, false, conditions)
			counted.Verdict(verdict, v1alpha1.VerdictIntact, s.Name)
		}
		return nil
	}}
	e := &gauges.Exporter{}
	e.Export(nil, closed(), part)
	h := e.Handler(prometheus.NewPedanticRegistry())
	w := &heaviest{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	before := live()
	h.ServeHTTP(w, r)
	if series != 7*objects || w.bytes < 100*objects {
		t.Fatalf("%d series, %d bytes; want %d series", series, w.bytes, 7*objects)
	}
	held := (w.most - before) / int64(series)
	t.Logf("%d bytes for each of %d series", held, series)
	if held > limit {
		t.Errorf("a scrape holds %d bytes for each series, want %d at most", held, limit)
	}
	runtime.KeepAlive(cached)
}

// live is the size of all objects that are reachable.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // less than 2^63
}
