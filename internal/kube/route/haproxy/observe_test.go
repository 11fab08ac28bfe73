package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/router/weights"
)

// exporter answers like HAProxy for one server.
func exporter(t *testing.T, instances, lastResort string, weight, lastWeight int) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintln(&text, "# TYPE haproxy_server_status gauge")
	for proxy, status := range map[string]string{"instances": instances, "last-resort": lastResort, "other": "UP"} {
		for _, state := range []string{"DOWN", "UP", "MAINT", "DRAIN", "NOLB"} {
			value := 0
			if state == status {
				value = 1
			}
			fmt.Fprintf(&text, "haproxy_server_status{proxy=%q,server=\"blue\",state=%q} %d\n", proxy, state, value)
		}
	}
	fmt.Fprintln(&text, "# TYPE haproxy_server_weight gauge")
	fmt.Fprintf(&text, "haproxy_server_weight{proxy=\"instances\",server=\"blue\"} %d\n", weight)
	fmt.Fprintf(&text, "haproxy_server_weight{proxy=\"last-resort\",server=\"blue\"} %d\n", lastWeight)
	return serveText(t, http.StatusOK, text.String())
}

func serveText(t *testing.T, status int, text string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func observe(t *testing.T, urls ...string) route.Observation {
	t.Helper()
	router := haproxy.Router{HTTP: &http.Client{}, Replicas: func(context.Context) ([]haproxy.Replica, error) {
		var replicas []haproxy.Replica
		for i, url := range urls {
			replicas = append(replicas, haproxy.Replica{Name: fmt.Sprint("pod-", i), Metrics: url})
		}
		return replicas, nil
	}}
	observation, err := router.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return observation
}

func TestObserve(t *testing.T) {
	tests := []struct {
		name                  string
		instances, lastResort string
		weight, lastWeight    int
		want                  route.Observed
	}{
		{"open", "UP", "UP", 40, 100, route.Observed{State: route.Ready, Weight: 40, Healthy: true}},
		{"open and dead", "DOWN", "UP", 40, 100, route.Observed{State: route.Ready, Weight: 40}},
		{"drained", "DRAIN", "UP", 40, 1, route.Observed{State: route.Drain, Healthy: true}},
		{"drained and dead", "DOWN", "UP", 40, 1, route.Observed{State: route.Drain}},
		{"convicted", "DOWN", "DOWN", 40, 100, route.Observed{State: route.Down}},
		{"never opened", "MAINT", "MAINT", 100, 100, route.Observed{State: route.Down}},
		{"to be convicted: still serves", "UP", "DOWN", 40, 100, route.Observed{State: route.Ready, Weight: 40, Healthy: true}},
		{"to be convicted: still the last resort", "DOWN", "UP", 40, 100, route.Observed{State: route.Ready, Weight: 40}},
		{"to be drained: still serves", "UP", "UP", 40, 1, route.Observed{State: route.Ready, Weight: 40, Healthy: true}},
		{"to be opened", "MAINT", "UP", 100, 100, route.Observed{State: route.Down}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			observation := observe(t, exporter(t, test.instances, test.lastResort, test.weight, test.lastWeight))
			if diff := cmp.Diff(map[string]route.Observed{"blue": test.want}, observation.Replicas[0].Servers); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllReplicasMustAgree(t *testing.T) {
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 40}}
	open, half := exporter(t, "UP", "UP", 40, 100), exporter(t, "UP", "UP", 20, 100)
	for _, test := range []struct {
		name       string
		urls       []string
		ok         bool
		difference string
	}{
		{"both", []string{open, open}, true, ""},
		{"one lags", []string{open, half}, false, "pod-1: blue has weight 20, want 40"},
		{"one is silent", []string{open, "http://127.0.0.1:1"}, false, "pod-1: ask HAProxy"},
		{"one answers 500", []string{serveText(t, 500, ""), open}, false, "500"},
		{"one answers nonsense", []string{serveText(t, 200, "<html>"), open}, false, "pod-0"},
		{"one knows no servers", []string{serveText(t, 200, ""), open}, false, "blue is not configured"},
		{"none", nil, false, "no replica"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ok, difference := observe(t, test.urls...).Confirms(want)
			if ok != test.ok || !strings.Contains(difference, test.difference) {
				t.Errorf("Confirms = %v %q, want %v %q", ok, difference, test.ok, test.difference)
			}
		})
	}
	if got := observe(t, exporter(t, "DOWN", "UP", 1, 100), open).Unhealthy(); !cmp.Equal(got, map[string][]string{"blue": {"pod-0"}}) {
		t.Errorf("Unhealthy = %v", got)
	}
}

func TestOnlyReadyPodsCount(t *testing.T) {
	pod := func(name, ip string, ready corev1.ConditionStatus, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, Labels: haproxy.Selector("goproxy")},
			Status:     corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
		if change != nil {
			change(p)
		}
		return p
	}
	c := fake.NewClientBuilder().WithObjects(
		pod("a", "10.0.0.1", corev1.ConditionTrue, nil),
		pod("b", "fd00::1", corev1.ConditionTrue, nil),
		pod("starting", "10.0.0.3", corev1.ConditionFalse, nil),
		pod("pending", "", corev1.ConditionTrue, nil),
		pod("leaving", "10.0.0.5", corev1.ConditionTrue, func(p *corev1.Pod) {
			p.Finalizers, p.DeletionTimestamp = []string{"x/y"}, &metav1.Time{Time: metav1.Now().Time}
		}),
		pod("other", "10.0.0.6", corev1.ConditionTrue, func(p *corev1.Pod) { p.Labels = haproxy.Selector("else") }),
		pod("elsewhere", "10.0.0.7", corev1.ConditionTrue, func(p *corev1.Pod) { p.Namespace = "other" }),
	).Build()
	got, err := haproxy.Pods{Reader: c, Namespace: "ci", Labels: haproxy.Selector("goproxy")}.Replicas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []haproxy.Replica{{Name: "a", Metrics: "http://10.0.0.1:8404/metrics", Certificate: "http://10.0.0.1:9778/certificate"}, {Name: "b", Metrics: "http://[fd00::1]:8404/metrics", Certificate: "http://[fd00::1]:9778/certificate"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSetPublishesChangesOnly(t *testing.T) {
	writes := 0
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			writes++
			return c.Apply(ctx, o, opts...)
		},
	}).Build()
	set := func(owner string, servers ...route.Server) error {
		router := haproxy.Router{Owner: owner, Publisher: &haproxy.ConfigMap{
			Client: c, Reader: c, FieldOwner: "test", Namespace: "ci", Name: "w", Labels: map[string]string{"a": "b"},
			Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "owner", UID: "u"},
		}}
		return router.Set(t.Context(), servers)
	}
	read := func() (weights.Weights, *corev1.ConfigMap) {
		t.Helper()
		var cm corev1.ConfigMap
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "w"}, &cm); err != nil {
			t.Fatal(err)
		}
		w, err := weights.Parse([]byte(cm.Data[weights.Key]))
		if err != nil {
			t.Fatal(err)
		}
		return w, &cm
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	blue := func(weight int) route.Server { return route.Server{Name: "blue", State: route.Ready, Weight: weight} }

	must(set("u", blue(100)))
	must(set("u", blue(100)))
	if w, cm := read(); w.Generation != 1 || writes != 1 || len(cm.OwnerReferences) != 1 || cm.Labels["a"] != "b" {
		t.Errorf("generation %d after %d writes, %+v", w.Generation, writes, cm.ObjectMeta)
	}
	must(set("u", blue(50)))
	if w, _ := read(); w.Generation != 2 || w.Servers["blue"].Weight != 50 {
		t.Errorf("%+v", w)
	}
	must(set("another", blue(50)))
	if w, _ := read(); w.Generation != 1 || w.Owner != "another" {
		t.Errorf("%+v", w)
	}
	if err := set("another", route.Server{Name: "blue", State: "odd"}); err == nil {
		t.Error("an unknown state is published")
	}
	_, cm := read()
	cm.Data[weights.Key] = "spoiled"
	must(c.Update(t.Context(), cm))
	must(set("another", blue(10)))
	if w, _ := read(); w.Servers["blue"].Weight != 10 {
		t.Errorf("%+v", w)
	}
}

// TestSetKeepsForeignObjects: a ConfigMap of the weights' name that was not
// made for this proxy is neither trusted nor written to.
func TestSetKeepsForeignObjects(t *testing.T) {
	ours := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ProxyLabel: "goproxy"}
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "goproxy", UID: "u", Controller: ptr.To(true)}
	other := owner
	other.Name, other.UID = "somebody", "else"
	for name, tt := range map[string]struct {
		labels  map[string]string
		owners  []metav1.OwnerReference
		refused string
	}{
		"without our label":  {nil, nil, "without label"},
		"of another owner":   {ours, []metav1.OwnerReference{other}, "controlled by Pod somebody"},
		"for another proxy":  {map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ProxyLabel: "b"}, nil, "with label"},
		"ours":               {ours, []metav1.OwnerReference{owner}, ""},
		"ours, left without": {ours, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			there := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "w", Labels: tt.labels, OwnerReferences: tt.owners},
				Data: map[string]string{"theirs": "kept"}}
			c := fake.NewClientBuilder().WithObjects(there).Build()
			router := haproxy.Router{Owner: "u", Publisher: &haproxy.ConfigMap{
				Client: c, Reader: c, FieldOwner: "test", Namespace: "ci", Name: "w",
				Labels: map[string]string{v1alpha1.ProxyLabel: "goproxy"}, Owner: owner,
			}}
			err := router.Set(t.Context(), []route.Server{{Name: "blue", State: route.Ready, Weight: 100}})
			var after corev1.ConfigMap
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "w"}, &after); err != nil {
				t.Fatal(err)
			}
			_, written := after.Data[weights.Key]
			if tt.refused == "" {
				if err != nil || !written {
					t.Errorf("published: %t, error %v", written, err)
				}
				return
			}
			var conflict *apply.ConflictError
			if !errors.As(err, &conflict) || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("got %v, want a conflict with %q", err, tt.refused)
			}
			if written {
				t.Error("it was taken over")
			}
		})
	}
}

// TestSetYieldsToOthers: two managers must not publish one generation twice.
func TestSetYieldsToOthers(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	publisher := func() *haproxy.ConfigMap {
		return &haproxy.ConfigMap{Client: c, Reader: c, FieldOwner: "test", Namespace: "ci", Name: "w"}
	}
	w := weights.Weights{Owner: "u", Generation: 1, Servers: map[string]weights.Server{"blue": {State: weights.Drain}}}
	first, second := publisher(), publisher()
	if err := first.Publish(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*haproxy.ConfigMap{first, second} {
		if _, _, err := p.Current(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.Generation = 2
	if err := first.Publish(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	w.Servers["blue"] = weights.Server{State: weights.Down}
	if err := second.Publish(t.Context(), w); !apierrors.IsConflict(err) {
		t.Errorf("the second writer got %v, want a conflict", err)
	}
}
