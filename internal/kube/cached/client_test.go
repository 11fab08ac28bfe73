package cached_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/cached"
)

// TestNew holds that the client of a manager reads from its cache, and past it what the
// cache has reduced.
func TestNew(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"namespace":"n","name":"large"},"data":{"a":"live"}}`))
	}))
	defer server.Close()
	large := &corev1.ConfigMap{ObjectMeta: meta(cached.MaxBytes + 1)}
	reduced, err := cached.Trim(large)
	if err != nil {
		t.Fatal(err)
	}
	small := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "small"}, Data: map[string]string{"a": "cached"}}
	trimmed := reduced.(*corev1.ConfigMap)
	trimmed.Name, trimmed.Data = "large", map[string]string{"b": "left over"}
	of := fake.NewClientBuilder().WithObjects(trimmed, small).Build()
	mapper := apimeta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), apimeta.RESTScopeNamespace)
	c, err := cached.New(&rest.Config{Host: server.URL}, client.Options{Scheme: clientgoscheme.Scheme, Mapper: mapper, Cache: &client.CacheOptions{Reader: of}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		want  map[string]string
		asked int
	}{"small": {map[string]string{"a": "cached"}, 0}, "large": {map[string]string{"a": "live"}, 1}} {
		asked = 0
		var got corev1.ConfigMap
		err := c.Get(context.Background(), client.ObjectKey{Namespace: "n", Name: name}, &got)
		if diff := cmp.Diff(tt.want, got.Data); err != nil || diff != "" || asked != tt.asked {
			t.Errorf("%s: %v, asked the API server %d times (-want +got):\n%s", name, err, asked, diff)
		}
	}
	if _, err := cached.New(&rest.Config{Host: "http://[bad"}, client.Options{Scheme: clientgoscheme.Scheme}); err == nil {
		t.Error("a client of an API server without an address")
	}
}
