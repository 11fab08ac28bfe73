package gauges_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
)

// manager is the part of a manager that the gauges need.
type manager struct {
	ctrl.Manager
	cache  cache.Cache
	scheme *runtime.Scheme
}

func (m manager) GetCache() cache.Cache { return m.cache }

func (m manager) GetScheme() *runtime.Scheme { return m.scheme }

func (manager) Elected() <-chan struct{} { return closed() }

// held is a cache with the informer of one kind, and lists of all.
type held struct {
	cache.Cache
	lists    client.Reader
	informer cache.Informer
	err      error
}

func (h held) GetInformer(context.Context, client.Object, ...cache.InformerGetOption) (cache.Informer, error) {
	return h.informer, h.err
}

func (h held) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return h.lists.List(ctx, list, options...)
}

// several are the informers of chosen namespaces, which have no store.
type several struct{ cache.Informer }

// TestExportManager holds that the objects of a manager's cache are exported, in place of
// those of another manager of the process, also from a cache of chosen namespaces.
func TestExportManager(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	informer := toolscache.NewSharedIndexInformer(nil, &v1alpha1.GoCache{}, 0, nil)
	if err := informer.GetStore().Add(&v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "stored"}}); err != nil {
		t.Fatal(err)
	}
	lists := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "listed"}}).Build()
	unserved := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build()
	one := gauges.Part{Collect: func(ctx context.Context, objects gauges.Objects, emit gauges.Emit) error {
		return gauges.Each(ctx, objects, func(c *v1alpha1.GoCache) { emit(size, 1, c.Name) })
	}}
	foreign := gauges.Part{Collect: func(ctx context.Context, objects gauges.Objects, _ gauges.Emit) error {
		err := gauges.Each(ctx, objects, func(*corev1.Pod) {})
		if err == nil {
			t.Error("a kind that the scheme does not have is read")
		}
		return err
	}}
	const head = "# HELP test_bytes x\n# TYPE test_bytes gauge\n"
	e := &gauges.Exporter{}
	h := e.Handler(prometheus.NewPedanticRegistry())
	for _, tt := range []struct {
		of   held
		part gauges.Part
		want string
	}{
		{held{informer: informer, lists: lists}, one, head + "test_bytes{name=\"stored\"} 1\n"},
		{held{informer: several{}, lists: lists}, one, head + "test_bytes{name=\"listed\"} 1\n"},
		{held{informer: several{}, lists: lists}, foreign, ""},
		{held{informer: several{}, lists: unserved}, one, ""},
		{held{err: errors.New("not synced")}, one, ""},
	} {
		e.ExportManager(manager{cache: tt.of, scheme: scheme}, tt.part)
		if got := text(t, h); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.of, got, tt.want)
		}
	}
}
