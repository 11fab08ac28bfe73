package modproxy

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/prober"
)

// TestNamespacesTakeTurns holds that passes of one namespace that take long, as when the
// pods of its routers hold back their answers, leave workers for the others.
func TestNamespacesTakeTurns(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	under, release := make(chan struct{}, workers), make(chan struct{})
	live := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			if key.Namespace == "hostile" {
				under <- struct{}{}
				<-release
			}
			return context.Canceled
		},
	})
	r := &Reconciler{Live: live, prober: prober.New(nil, nil)}
	pass := func(namespace string, n int) (ctrl.Result, error) {
		return r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint("proxy-", n)}})
	}
	var hostile sync.WaitGroup
	for n := range namespaceShare {
		hostile.Go(func() { _, _ = pass("hostile", n) })
		<-under
	}
	if result, err := pass("hostile", workers); err != nil || result.RequeueAfter != turnPause {
		t.Errorf("one more of the namespace: %+v, %v", result, err)
	}
	if result, err := pass("other", 0); err == nil || result.RequeueAfter != 0 {
		t.Errorf("one of another namespace: %+v, %v; want the pass to be made", result, err)
	}
	close(release)
	hostile.Wait()
	if result, err := pass("hostile", 0); err == nil || len(r.turns.begun) > 0 {
		t.Errorf("afterwards: %+v, %v, %v", result, err, r.turns.begun)
	}
}
