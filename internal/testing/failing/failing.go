package failing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// ErrCall is what the call that fails returns.
var ErrCall = errors.New("this call fails")

// tooMany calls are those of an operation that does not end.
const tooMany = 200

// Each runs an operation with a client whose first call fails, then with one whose second
// call does, and so on until none is left. fresh makes a client for each run. Every run
// must return [ErrCall], except for those of calls in ignored, such as "get *v1.Service":
// an operation goes on without them. It returns the calls of the last run, in which
// none failed.
func Each(t *testing.T, fresh func() client.WithWatch, operation func(client.Client) error, ignored ...string) []string {
	t.Helper()
	for n := 1; n <= tooMany; n++ {
		r := &run{fail: n}
		err := operation(r.client(fresh()))
		if len(r.calls) < n {
			if err != nil {
				t.Errorf("without a failure: %v", err)
			}
			return r.calls
		}
		failed := r.calls[n-1]
		if slices.Contains(ignored, failed) {
			if errors.Is(err, ErrCall) {
				t.Errorf("call %d, %s, fails: returned, although it is one to go on without", n, failed)
			}
		} else if !errors.Is(err, ErrCall) {
			t.Errorf("call %d, %s, fails: returned %v", n, failed, err)
		}
	}
	t.Errorf("more than %d calls", tooMany)
	return nil
}

// run is one run of an operation.
type run struct {
	fail  int // the call that fails, counted from 1
	calls []string
}

// call records one, and fails it or passes it on.
func (r *run) call(verb string, of any, pass func() error) error {
	r.calls = append(r.calls, fmt.Sprintf("%s %T", verb, of))
	if len(r.calls) == r.fail {
		return ErrCall
	}
	return pass()
}

func (r *run) client(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return r.call("get", o, func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return r.call("list", l, func() error { return c.List(ctx, l, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return r.call("create", o, func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return r.call("update", o, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return r.call("patch", o, func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return r.call("apply", o, func() error { return c.Apply(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return r.call("delete", o, func() error { return c.Delete(ctx, o, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, s client.Object, opts ...client.SubResourceCreateOption) error {
			return r.call("create "+sub+" of", o, func() error { return c.SubResource(sub).Create(ctx, o, s, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return r.call("patch "+sub+" of", o, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return r.call("update "+sub+" of", o, func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	})
}
