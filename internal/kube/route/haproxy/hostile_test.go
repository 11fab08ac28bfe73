package haproxy

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// TestHostileExporter holds what a pod with the labels of a router can make the manager keep: a
// few of the metrics it answers with.
func TestHostileExporter(t *testing.T) {
	usual := "# TYPE haproxy_server_status gauge\n" +
		"haproxy_server_status{proxy=\"instances\",server=\"blue\",state=\"UP\"} 1\n" +
		"haproxy_server_status{proxy=\"last-resort\",server=\"blue\",state=\"UP\"} 1\n" +
		"# TYPE haproxy_server_weight gauge\n" +
		"haproxy_server_weight{proxy=\"instances\",server=\"blue\"} 7\n" +
		"haproxy_server_weight{proxy=\"last-resort\",server=\"blue\"} 100\n"
	for _, tt := range []struct {
		name, text string
		fails      string
	}{
		{"usual", usual, ""},
		{"others beside it", strings.Repeat("haproxy_process_uptime_seconds{a=\"b\"} 1\n", 100_000) + usual, ""},
		{"many servers", strings.Repeat("haproxy_server_status{proxy=\"instances\",server=\"x\"} 1\n", 100_000), "more than 128 KiB"},
		{"one line", "haproxy_server_status{" + strings.Repeat("x", 4<<20), "too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			observed, err := parseExporter(io.LimitReader(strings.NewReader(tt.text), maxExporterAnswer))
			runtime.ReadMemStats(&after)
			switch {
			case tt.fails == "" && (err != nil || observed["blue"].Weight != 7):
				t.Errorf("%v, %v", observed, err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("error %v, want %s", err, tt.fails)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
				t.Errorf("%d bytes were allocated for %d", allocated, len(tt.text))
			}
		})
	}
	pods := &corev1.PodList{}
	for i := range maxReplicas + 1 {
		pods.Items = append(pods.Items, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprint(i), Labels: Selector("proxy")}, Status: corev1.PodStatus{PodIP: "192.0.2.1"},
		})
	}
	all := Pods{Reader: fake.NewClientBuilder().WithLists(pods).Build(), Namespace: "n", Labels: Selector("proxy")}
	if replicas, err := all.All(t.Context()); err == nil {
		t.Errorf("%d replicas, and no error", len(replicas))
	}
	// Pods that were evicted are none of the router any more.
	for i := range pods.Items[1:] {
		pods.Items[1+i].Status.Phase = corev1.PodFailed
	}
	all.Reader = fake.NewClientBuilder().WithLists(pods).Build()
	if replicas, err := all.All(t.Context()); err != nil || len(replicas) != 1 {
		t.Errorf("%d replicas beside failed pods, %v", len(replicas), err)
	}
}
