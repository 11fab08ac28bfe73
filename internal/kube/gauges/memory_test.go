package gauges_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
)

// TestMemoryOfAScrape bounds what a scrape holds for each series. The registry keeps all of
// them until they are written, and the manager of a large cluster has a million.
func TestMemoryOfAScrape(t *testing.T) {
	const objects, limit = 20_000, 300
	conditions := []metav1.Condition{
		{Type: "SnapshotReady", Status: metav1.ConditionTrue, Reason: "SnapshotCreated"},
		{Type: "Verified", Status: metav1.ConditionTrue, Reason: "Intact"},
		{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Intact"},
	}
	part := gauges.Part{Metrics: []*prometheus.Desc{verdict}, Collect: func(_ context.Context, _ client.Reader, emit gauges.Emit) error {
		for i := range objects {
			s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("team-", i%500), Name: fmt.Sprint("cache-20261130-", i)}}
			emit.Object("CacheSnapshot", s, false, conditions)
			emit.Verdict(verdict, v1alpha1.VerdictIntact, s.Name)
		}
		return nil
	}}
	elected := make(chan struct{})
	close(elected)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(gauges.New(nil, elected, part))
	before := live()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	held, series := live()-before, 0
	for _, f := range families {
		series += len(f.GetMetric())
	}
	if series != 7*objects {
		t.Fatalf("%d series, want %d", series, 7*objects)
	}
	t.Logf("%d bytes for each of %d series", held/int64(series), series)
	if held/int64(series) > limit {
		t.Errorf("a scrape holds %d bytes for each series, want %d at most", held/int64(series), limit)
	}
	runtime.KeepAlive(families)
}

// live is the size of all objects that are reachable.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // less than 2^63
}
