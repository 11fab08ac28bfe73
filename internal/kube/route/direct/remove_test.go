package direct_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
)

// TestAddress holds that the go command asks the only URL again after a failure, and
// that there is no address without a URL.
func TestAddress(t *testing.T) {
	want := route.Address{URL: "http://p.n.svc", GOPROXY: "http://p.n.svc|http://p.n.svc|http://p.n.svc"}
	if got := direct.Address("http://p.n.svc"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := direct.Address(""); got != (route.Address{}) {
		t.Errorf("without a URL: %+v", got)
	}
}

// TestRemove holds that the object of the owner is deleted, that another's is left, and
// that a kind which the cluster does not have needs nothing.
func TestRemove(t *testing.T) {
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "proxy", UID: "1"}}
	of := func(uid types.UID) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: "proxy", UID: uid, Controller: ptr.To(true)},
		}}}
	}
	failing := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return err
		}}
	}
	for name, tt := range map[string]struct {
		client client.Client
		err    error
		left   bool // or it cannot be read
	}{
		"the owner's":          {fakeClient(interceptor.Funcs{}, of("1")), nil, false},
		"another's":            {fakeClient(interceptor.Funcs{}, of("2")), nil, true},
		"none":                 {fakeClient(interceptor.Funcs{}), nil, false},
		"no such kind":         {fakeClient(failing(&meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "HTTPRoute"}})), nil, true},
		"it cannot be read":    {fakeClient(failing(errBroken)), errBroken, true},
		"it cannot be deleted": {fakeClient(interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return errBroken }}, of("1")), errBroken, true},
	} {
		a := apply.Applier{Client: tt.client, Live: tt.client}
		if err := direct.Remove(t.Context(), a, owner, &corev1.Service{}, "n", "p"); !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := tt.client.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "p"}, &corev1.Service{}); apierrors.IsNotFound(err) == tt.left {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}
