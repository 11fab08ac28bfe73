package gauges_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
)

var (
	verdict = prometheus.NewDesc("test_verdict", "x", []string{"name", "verdict"}, nil)
	when    = prometheus.NewDesc("test_time_seconds", "x", []string{"name"}, nil)
	size    = prometheus.NewDesc("test_bytes", "x", []string{"name"}, nil)
)

// TestCollect holds what is exported, that nothing is while another replica leads, and
// that a kind that cannot be read, or panics, does not take the others with it.
func TestCollect(t *testing.T) {
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci"}}
	good := gauges.Part{Metrics: []*prometheus.Desc{verdict, when, size}, Collect: func(ctx context.Context, _ client.Reader, emit gauges.Emit) error {
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
	broken := gauges.Part{Collect: func(context.Context, client.Reader, gauges.Emit) error { return errors.New("no cache") }}
	defect := gauges.Part{Collect: func(context.Context, client.Reader, gauges.Emit) error { panic("what an object contains") }}
	elected := make(chan struct{})
	c := gauges.New(nil, elected, broken, defect, good)
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("%d series before the election", n)
	}
	close(elected)
	want := `
# HELP gocache_object_condition 1 for each condition of an object, with its present status and reason.
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
test_verdict{name="ci",verdict="Corrupt"} 1
test_verdict{name="ci",verdict="Inconclusive"} 0
test_verdict{name="ci",verdict="Intact"} 0
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	described := make(chan *prometheus.Desc, 10)
	if c.Describe(described); len(described) != 5 {
		t.Errorf("%d metrics are described, want 5", len(described))
	}
}
