package read_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/kube/read"
)

// TestObject holds that nil means "does not exist" and nothing else: a read that
// fails is an error.
func TestObject(t *testing.T) {
	broken := errors.New("the server is down")
	kind := schema.GroupResource{Resource: "configmaps"}
	for _, tt := range []struct {
		name      string
		namespace string
		object    string
		fails     error
		found     bool
		want      error
	}{
		{name: "it exists", namespace: "n", object: "c", found: true},
		{name: "it does not exist", namespace: "n", object: "d"},
		{name: "it exists in another namespace", namespace: "m", object: "c"},
		{name: "no name", namespace: "n", fails: broken},
		{name: "the server says that it does not exist", namespace: "n", object: "c", fails: apierrors.NewNotFound(kind, "c")},
		{name: "the read fails", namespace: "n", object: "c", fails: broken, want: broken},
		{name: "the read is forbidden", namespace: "n", object: "c", fails: apierrors.NewForbidden(kind, "c", broken), want: apierrors.NewForbidden(kind, "c", broken)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fake.NewClientBuilder().
				WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c"}, Data: map[string]string{"k": "v"}}).
				WithInterceptorFuncs(interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if tt.fails != nil {
						o.SetName("half read")
						return tt.fails
					}
					return c.Get(ctx, key, o, options...)
				}}).Build()
			got, err := read.Object[corev1.ConfigMap](t.Context(), c, tt.namespace, tt.object)
			if (err != nil) != (tt.want != nil) || tt.want != nil && apierrors.ReasonForError(err) != apierrors.ReasonForError(tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if errors.Is(tt.want, broken) && !errors.Is(err, broken) {
				t.Errorf("error %v does not wrap %v", err, broken)
			}
			if (got != nil) != tt.found || tt.found && got.Data["k"] != "v" {
				t.Errorf("got %+v", got)
			}
		})
	}
}
